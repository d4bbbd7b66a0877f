"""What stands in front of a site that is not for all: a password, a word to robots, a line on every page."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from shared.visitor import Visitor, ad_hoc, changed

TESTER = ("tester", "reef-tester-0f1e2d3c")
SECOND = ("second", "reef $6$ päss".encode())
CHALLENGE = "/var/www/letsencrypt/.well-known/acme-challenge/token"
BANNERS = {
    "debian-12": "Not opened yet</div></body>",
    "debian-13": "This is staging &amp; nothing &lt;here&gt; is kept</div></body>",
}
# The role nginx by itself is quicker than the whole site
NGINX, NGINX_ALONE = "playbooks/nginx_upgrade.yml", ("-e", '{"nginx_upgrade": false}')
NOINDEX = "noindex, nofollow"


@pytest.mark.parametrize(
    "path", ["/", "/accounts/register/", "/admin/", "/static/css/site.css", "/media/x", "/nothing"]
)
def test_a_password_is_asked_for(visitor: Visitor, path: str) -> None:
    answer = visitor.get(path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="coralnet.test"'
    assert answer.headers["X-Robots-Tag"] == NOINDEX
    assert "site-version" not in answer.text


@pytest.mark.parametrize(
    "auth",
    [("tester", ""), ("tester", "reef-tester-0f1e2d3"), ("Tester", TESTER[1]), ("", ""), ("nobody", TESTER[1])],
)
def test_a_wrong_one_does_not_do(visitor: Visitor, auth: tuple[str, str]) -> None:
    assert visitor.get("/", auth=auth).status_code == 401


def test_the_password_lets_in(visitor: Visitor, inventory_name: str) -> None:
    assert visitor.get("/", auth=TESTER).status_code == 200
    assert visitor.get("/accounts/register/", auth=TESTER).status_code == 200
    assert visitor.get("/nothing", auth=TESTER).status_code == 404
    second = visitor.get("/", auth=SECOND).status_code
    assert second == (200 if inventory_name == "debian-13" else 401)


def test_challenges_get_through(host: Any, address: str, visitor: Visitor) -> None:
    plain = Visitor(address)
    host.run_expect([0], f"mkdir -p {CHALLENGE.rpartition('/')[0]} && echo answer > {CHALLENGE}")
    assert plain.get("/.well-known/acme-challenge/token").text == "answer\n"
    assert plain.get("/.well-known/acme-challenge/other").status_code == 404
    assert visitor.get("/.well-known/acme-challenge/../../admin/").status_code == 401
    assert visitor.get("/.well-known/acme-challenge/%2e%2e/%2e%2e/admin/").status_code == 401
    host.run_expect([0], f"rm {CHALLENGE}")


def test_robots_stay_away(visitor: Visitor) -> None:
    robots = visitor.get("/robots.txt")
    assert (robots.status_code, robots.text) == (200, "User-agent: *\nDisallow: /\n")
    assert robots.headers["Content-Type"] == "text/plain"
    for path in ("/", "/static/css/site.css", "/nothing", "/robots.txt", "/.well-known/acme-challenge/x"):
        assert visitor.get(path, auth=TESTER).headers["X-Robots-Tag"] == NOINDEX, path


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/admin/login/", "/nothing"])
def test_the_banner_is_on_every_page(visitor: Visitor, inventory_name: str, path: str) -> None:
    # Whatever a browser would take
    page = visitor.get(path, auth=TESTER, headers={"Accept-Encoding": "gzip, br"})
    assert page.text.count(BANNERS[inventory_name]) == 1, page.text[-500:]
    assert '<link rel="stylesheet" href="/.banner.css">' in page.text
    style = visitor.get("/.banner.css")
    assert (style.status_code, style.headers["Content-Type"]) == (200, "text/css")
    assert ".site-banner {" in style.text


def test_what_is_no_page_is_left_as_it_is(visitor: Visitor) -> None:
    health = visitor.get("/health/", auth=TESTER)
    assert health.json()["database"] == "ok"
    assert "site-banner" not in visitor.get("/static/css/site.css", auth=TESTER).text


def test_the_curtain_is_for_all(visitor: Visitor, inventory_name: str) -> None:
    def curtain(state: str) -> None:
        ad_hoc(inventory_name, "coralnet.server.nginx_curtain", {"site": "coralnet", "state": state})

    curtain("drawn")
    try:
        answer = visitor.get("/")
        assert answer.status_code == 503
        assert "Under maintenance" in answer.text
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["X-Robots-Tag"] == NOINDEX
        assert visitor.get("/", headers={"Accept": "application/json"}).json()["status"] == 503
        inside = visitor.get("/.curtain/pattern.html")
        assert (inside.status_code, inside.text) == (503, "Not available for the moment.\n")
    finally:
        curtain("open")
    assert visitor.get("/").status_code == 401


@pytest.mark.on("debian-13")
def test_the_hash_is_roots_and_the_password_nowhere(host: Any, playbook: Callable[..., Any]) -> None:
    front = partial(playbook, "--diff", *NGINX_ALONE, path=NGINX)
    file = host.file("/etc/nginx/passwords/coralnet")
    assert (file.user, file.group, file.mode) == ("root", "www-data", 0o640)
    # Written anew, with everything shown that Ansible would show
    host.run_expect([0], f"sed -i '/^tester/d' {file.path}")
    planned = front("--check")
    assert changed(planned) == 2
    assert host.file(file.path).contains("^tester") is False
    result = front("-vvv")
    assert changed(result) == 2, "the file and nginx"
    after = host.file(file.path).content_string
    told = result.stdout + result.stderr + planned.stdout
    hashes = [line.partition(":")[2] for line in after.splitlines() if ":$6$" in line]
    assert len(hashes) == after.count(":")
    for secret in (TESTER[1], *hashes):
        assert secret not in told
        assert secret not in host.check_output("journalctl --no-pager")
        assert secret not in host.run("cat /var/log/nginx/*.log").stdout
    assert host.run(f"grep -rlsF '{TESTER[1]}' /etc /srv /var /tmp /run").stdout == ""
    # What fits is kept
    assert changed(front()) == 0
    assert host.file(file.path).content_string == after


@pytest.mark.on("debian-12")
def test_another_password_is_in_force_at_once(host: Any, visitor: Visitor, playbook: Callable[..., Any]) -> None:
    before = host.file("/etc/nginx/passwords/coralnet").content_string
    others = json.dumps({"site_passwords": {"tester": "another-password"}})
    changed(playbook(*NGINX_ALONE, "-e", others, path=NGINX))
    assert visitor.get("/", auth=("tester", "another-password")).status_code == 200
    assert visitor.get("/", auth=TESTER).status_code == 401
    assert visitor.get("/", auth=SECOND).status_code == 401
    changed(playbook(*NGINX_ALONE, path=NGINX))
    assert visitor.get("/", auth=TESTER).status_code == 200
    assert host.file("/etc/nginx/passwords/coralnet").content_string != before


def test_smoke_gets_through(playbook: Callable[..., Any]) -> None:
    checks = json.dumps({"site_smoke_checks": [{"name": "Front", "visit": "/", "expect": ["site-banner"]}]})
    result = playbook("-e", checks, path="playbooks/smoke.yml")
    assert changed(result) == 0
    assert "Upload an image" in result.stdout
