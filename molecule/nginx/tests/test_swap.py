"""Sites enabled, disabled and swapped by the module, as the manual does by hand."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from shared.visitor import Visitor, ad_hoc

ENABLED = ["own", "reef", "refuse", "shore", "survey"]
WELCOME = "Welcome to nginx!"


@pytest.fixture
def site(inventory_name: str) -> Iterator[Callable[..., dict[str, Any]]]:
    """Call the module: `site(["default"], state="only")`; what was enabled is so again afterwards."""

    def call(sites: list[str], *arguments: str, **options: Any) -> dict[str, Any]:
        return ad_hoc(inventory_name, "coralnet.server.nginx_site", {"sites": sites, **options}, *arguments)

    yield call
    assert "msg" not in call(ENABLED, state="only")


def links(host: Any) -> list[str]:
    return sorted(host.check_output("ls /etc/nginx/sites-enabled").split())


def test_the_manuals_swap_and_its_exact_undoing(host: Any, address: str, site: Callable[..., dict[str, Any]]) -> None:
    planned = site(["default"], "--check", state="only")
    assert (planned["changed"], planned["before"], planned["after"]) == (True, ENABLED, ["default"])
    assert links(host) == ENABLED
    swap = site(["default"], state="only")
    assert (swap["changed"], swap["before"], swap["after"], swap["reloaded"]) == (True, ENABLED, ["default"], True)
    assert WELCOME in Visitor(address, "reef.test").get("/").text, "the module returned before nginx had reloaded"
    assert not site(["default"], "--check", state="only")["changed"]
    assert not site(["default"], state="only")["changed"]
    back = site(swap["before"], state="only")
    assert back["after"] == ENABLED
    assert Visitor(address, "reef.test").get("/").json()["HTTP_HOST"] == "reef.test"


def test_one_site_disabled_and_enabled(host: Any, address: str, site: Callable[..., dict[str, Any]]) -> None:
    assert site(["survey"], state="disabled")["after"] == [name for name in ENABLED if name != "survey"]
    with pytest.raises(OSError, match=r"closed|aborted|reset"):
        Visitor(address, "survey.test").get("/")
    assert site(["survey"])["after"] == ENABLED
    assert Visitor(address, "survey.test").get("/").status_code == 502


def test_nobody_waits_during_a_swap(host: Any, address: str, site: Callable[..., dict[str, Any]]) -> None:
    """The site that stays enabled loses nothing while others come and go."""
    command = ["docker", "exec", host.backend.name, "python3", "-c", LOAD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        time.sleep(1)
        for _round in range(3):
            site(["survey"], state="disabled")
            site(["survey"])
        host.run_expect([0], "touch /tmp/enough")
        lost, total = json.loads(load.communicate(timeout=30)[0])
    host.run_expect([0], "rm /tmp/enough")
    print(f"{host.backend.name}: six reloads: {lost} of {total} lost")
    assert total > 500
    assert lost == 0


LOAD = """
import http.client, json, os
lost = total = 0
while not os.path.exists("/tmp/enough"):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=10)
        connection.request("GET", "/static/reef.txt", headers={"Host": "reef.test"})
        lost += connection.getresponse().read() != b"A reef.\\n"
    except OSError:
        lost += 1
    total += 1
print(json.dumps([lost, total]))
"""


@pytest.mark.parametrize(
    ("sites", "content", "message"),
    [
        (["../passwd"], None, "is no name of a site"),
        (["nothing"], None, "there is no site 'nothing': make /etc/nginx/sites-available/nothing first"),
        (["dangling"], "-> /srv/gone.conf", "is a link to /srv/gone.conf, which does not exist"),
        (["broken"], "server { listen 80; nonsense; }", 'unknown directive "nonsense" in /etc/nginx/sites-available'),
        (["default"], None, "two enabled sites claim to be the default server"),
        (["half"], "server {", "unexpected end of file"),
    ],
    ids=["slash", "missing", "dangling", "broken", "two defaults", "half"],
)
def test_what_cannot_be_is_refused_every_time(
    host: Any, site: Callable[..., dict[str, Any]], sites: list[str], content: str | None, message: str
) -> None:
    path = f"/etc/nginx/sites-available/{sites[0]}"
    if content:
        made = f"ln -s {content[3:]} {path}" if content.startswith("->") else f"echo '{content}' > {path}"
        host.run_expect([0], made)
    try:
        for arguments in (["--check"], []):
            answer = site(sites, *arguments)
            assert message in answer["msg"].replace("sites-enabled", "sites-available")
            assert links(host) == ENABLED
        host.run_expect([0], "nginx -t -q && systemctl restart nginx")
    finally:
        if content:
            host.run_expect([0], f"rm {path}")


def test_a_refused_probe_puts_the_set_back(host: Any, address: str, site: Callable[..., dict[str, Any]]) -> None:
    probe = {"url": "http://127.0.0.1", "host": "reef.test", "body": "HTTP_HOST", "timeout": 2}
    answer = site(["default"], state="only", probe=probe)
    assert "the page does not contain" in answer["msg"]
    assert links(host) == ENABLED
    assert Visitor(address, "reef.test").get("/").json()["HTTP_HOST"] == "reef.test"
    assert not site(ENABLED, state="only", probe=probe)["changed"]


def test_a_lost_reload_is_made_up_for(host: Any, address: str, site: Callable[..., dict[str, Any]]) -> None:
    host.run_expect([0], "sed -i 's/1h/2h/' /etc/nginx/sites-available/reef")
    assert site(ENABLED, "--check", state="only")["reloaded"]
    answer = site(ENABLED, state="only")
    assert (answer["changed"], answer["reloaded"], answer["before"] == answer["after"]) == (True, True, True)
    assert Visitor(address, "reef.test").get("/static/reef.txt").headers["Cache-Control"] == "max-age=7200"
    assert not site(ENABLED, state="only")["changed"]
    host.run_expect([0], "sed -i 's/2h/1h/' /etc/nginx/sites-available/reef")


def test_a_file_that_is_no_link_stays(host: Any, site: Callable[..., dict[str, Any]]) -> None:
    host.run_expect([0], "echo '# by hand' > /etc/nginx/sites-enabled/by-hand")
    assert site(["default"], state="only")["before"] == ENABLED
    assert links(host) == ["by-hand", "default"]
    host.run_expect([0], "rm /etc/nginx/sites-enabled/by-hand")


def test_without_nginx_it_says_so(host: Any, site: Callable[..., dict[str, Any]]) -> None:
    host.run_expect([0], "mv /usr/sbin/nginx /usr/sbin/nginx.away")
    try:
        assert site(["reef"])["msg"] == "there is no nginx on this host: install it first"
    finally:
        host.run_expect([0], "mv /usr/sbin/nginx.away /usr/sbin/nginx")


@pytest.mark.parametrize(("call", "count"), [("symlink", 1), ("symlink", 3), ("renameat2", 1), ("unlinkat", 1)])
def test_killed_at_any_step_the_next_run_completes_it(
    host: Any, address: str, site: Callable[..., dict[str, Any]], call: str, count: int
) -> None:
    """The kernel kills the module as it enters the system call for the first or third time."""
    inject = f"/usr/bin/strace -f -o /dev/null -e inject={call}:signal=KILL:when={count} /usr/bin/python3"
    site(["default"], "-e", json.dumps({"ansible_python_interpreter": inject}), state="only")
    host.run_expect([0], "nginx -t -q")
    assert " ".join(links(host)) in ("default", " ".join(ENABLED))
    assert site(["default"], state="only")["after"] == ["default"]
    assert WELCOME in Visitor(address, "reef.test").get("/").text
    assert host.run("ls -d /etc/nginx/sites-enabled.new").rc != 0
