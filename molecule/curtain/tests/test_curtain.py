"""The curtain as visitors, programs and operators meet it."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest
from shared.visitor import Visitor, ad_hoc, changed

COOKIE = "reef-operators-0f1e2d3c"
MESSAGE = "New <disks>"
DRAWN, DOWN = "<h1>Under maintenance</h1>", "<h1>Not available for a moment</h1>"
JSON = {"Accept": "application/json"}

Curtain = Callable[..., dict[str, Any]]


@pytest.fixture
def reef(address: str) -> Visitor:
    return Visitor(address, "reef.test")


@pytest.fixture
def curtain(inventory_name: str) -> Curtain:
    """Draw or open the curtain by the module alone, which is quicker than the playbook."""

    def call(state: str, **options: str) -> dict[str, Any]:
        return ad_hoc(inventory_name, "coralnet.server.nginx_curtain", {"site": "reef", "state": state, **options})

    return call


@pytest.fixture
def drawn(host: Any, curtain: Curtain) -> datetime:
    """Have the curtain drawn, by an earlier test or now, and say until when."""
    announced = host.file("/var/lib/nginx-curtain/reef/drawn.json")
    if not host.file("/var/lib/nginx-curtain/reef/drawn").exists or MESSAGE not in announced.content_string:
        curtain("drawn", until=(datetime.now(UTC) + timedelta(hours=3)).isoformat(), text=MESSAGE)
    return datetime.fromisoformat(json.loads(announced.content_string)["until"])


def test_drawn_by_the_playbook(reef: Visitor, playbook: Callable[..., Any]) -> None:
    def maintenance(*arguments: str) -> Any:
        return playbook("-e", "site_name=reef", *arguments, path="playbooks/maintenance.yml")

    until = (datetime.now(UTC) + timedelta(hours=4)).replace(microsecond=0).isoformat()
    words = ["-e", "curtain=drawn", "-e", f"curtain_until={until}", "-e", json.dumps({"curtain_message": MESSAGE})]
    planned = maintenance(*words, "--check", "--diff")
    assert changed(planned) == 1
    assert f"+message: {MESSAGE}\n+until: {until}" in planned.stdout
    assert reef.get("/").status_code == 200
    assert changed(maintenance(*words)) == 1
    assert reef.get("/").status_code == 503
    assert changed(maintenance(*words)) == 0
    assert changed(maintenance("-e", "curtain=open", "--check")) == 1
    assert "-e curtain=drawn or -e curtain=open" in maintenance().stdout


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/static/reef.txt", "/versions?x=y"])
def test_visitors_see_the_page(reef: Visitor, drawn: datetime, method: str, path: str) -> None:
    answer = reef.request(method, path, data=b"x" * 2_000_000 if method in ("POST", "PUT") else None)
    left = (drawn - datetime.now(UTC)).total_seconds()

    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert left - 5 <= int(answer.headers["Retry-After"]) <= left + 5
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not {"ETag", "Last-Modified"} & set(answer.headers)
    if method != "HEAD":
        assert DRAWN in answer.text
        assert "Coral &amp; Reef" in answer.text
        assert "New &lt;disks&gt;" in answer.text
        assert f'<time datetime="{drawn.isoformat()}">' in answer.text


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    ("path", "headers"),
    [("/", JSON), ("/", {"X-Requested-With": "XMLHttpRequest"}), ("/api/sources/?page=2", {"Accept": "*/*"})],
    ids=["accept", "script", "path"],
)
def test_programs_get_json(reef: Visitor, drawn: datetime, method: str, path: str, headers: dict[str, str]) -> None:
    answer = reef.request(method, path, headers=headers)

    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert int(answer.headers["Retry-After"]) > 3600
    assert answer.json() == {"status": 503, "detail": MESSAGE, "until": drawn.isoformat()}


@pytest.mark.usefixtures("drawn")
def test_what_is_let_through(reef: Visitor) -> None:
    assert reef.get("/.well-known/acme-challenge/token").text == "A reef.\n"
    for path in ("/health/", "/health/database", "/version"):
        assert reef.get(path).json()["HTTP_HOST"] == "reef.test"


@pytest.mark.usefixtures("drawn")
def test_operators(host: Any, reef: Visitor) -> None:
    assert reef.get("/", headers={"Cookie": f"other=1; curtain={COOKIE}"}).status_code == 200
    assert reef.get("/static/reef.txt", headers={"Cookie": f"curtain={COOKIE}"}).text == "A reef.\n"
    for wrong in ("", COOKIE.upper(), f"{COOKIE}x", COOKIE[:-1]):
        assert reef.get("/", headers={"Cookie": f"curtain={wrong}"}).status_code == 503
    # The host itself is among the operators' addresses; who says that it is, is not
    assert host.check_output(f'python3 -c "{ASK_AS_THE_HOST}"') == "200"
    assert reef.get("/", headers={"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"}).status_code == 503


ASK_AS_THE_HOST = """import http.client
connection = http.client.HTTPConnection('127.0.0.1')
connection.request('GET', '/', headers={'Host': 'reef.test'})
print(connection.getresponse().status)
"""


@pytest.mark.usefixtures("drawn")
def test_another_run_leaves_it_drawn_and_tells_no_secret(
    host: Any, reef: Visitor, playbook: Callable[..., Any]
) -> None:
    file = host.file("/etc/nginx/curtain/reef.cookie.conf")
    assert (file.mode, file.user) == (0o600, "root")
    # Written anew, with everything shown that Ansible would show, and found nowhere but in files of root's
    host.run_expect([0], "rm /etc/nginx/curtain/reef.cookie.conf")
    result = playbook("--diff", "-vvv")
    assert changed(result) == 2, "the file and nginx"
    assert COOKIE not in result.stdout + result.stderr
    assert reef.get("/").status_code == 503
    found = host.run(f"grep -rslE '{COOKIE}' /etc /var /srv /tmp /run").stdout.split()
    assert file.path in found
    for path in found:
        assert host.run(f"su www-data -s /bin/sh -c 'cat {path}'").rc != 0, path
    assert COOKIE not in host.check_output("journalctl --no-pager")
    assert COOKIE not in host.run("cat /var/log/nginx/*.log").stdout


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("harm", ["chmod 600 {}", "mv {} {}.away", "truncate --size 0 {}"])
def test_a_damaged_page_is_a_503_all_the_same(host: Any, reef: Visitor, harm: str) -> None:
    page = "/var/lib/nginx-curtain/reef/drawn.html"
    host.run_expect([0], f"cp -p {page} {page}.kept && {harm.format(page, page)}")
    try:
        answers = [reef.request(method, "/") for method in ("GET", "POST")]
    finally:
        host.run_expect([0], f"rm -f {page}.away && mv {page}.kept {page}")
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Retry-After" in answer.headers
    assert DRAWN in reef.get("/").text


@pytest.mark.usefixtures("drawn")
def test_without_an_end_and_after_it(host: Any, reef: Visitor, curtain: Curtain) -> None:
    assert "changed" in curtain("drawn")
    answer = reef.get("/", headers=JSON)
    assert answer.headers["Retry-After"] == "90"
    assert answer.json() == {
        "status": 503,
        "detail": "The site is being worked on and will be back soon.",
        "until": None,
    }
    assert "<time" not in reef.get("/").text
    soon = datetime.now(UTC) + timedelta(seconds=20)
    curtain("drawn", until=soon.isoformat(), text=MESSAGE)
    host.run_expect([0], "touch -d '2 seconds ago' /var/lib/nginx-curtain/reef/drawn")
    assert reef.get("/").headers["Retry-After"] == "90"
    curtain("open")


@contextmanager
def visitors(address: str) -> Iterator[Counter[str]]:
    """Have four visitors ask all the time; count what they get, and what is not as it should be."""
    seen: Counter[str] = Counter()
    enough = Event()

    def visit() -> None:
        connection = http.client.HTTPConnection(address, timeout=30)
        while not enough.is_set():
            try:
                connection.request("GET", "/", headers={"Host": "reef.test"})
                answer = connection.getresponse()
                body = answer.read().decode()
            except (OSError, http.client.HTTPException) as exc:
                seen[f"lost: {exc!r}"] += 1
                connection.close()
                continue
            whole = {200: '"HTTP_HOST": "reef.test"', 503: DRAWN}.get(answer.status, "nothing")
            seen[str(answer.status) if whole in body else f"{answer.status}: {body[:80]}"] += 1
            time.sleep(0.005)

    with ThreadPoolExecutor(4) as pool:
        for _visitor in range(4):
            pool.submit(visit)
        try:
            yield seen
        finally:
            enough.set()


def test_nobody_is_lost_as_it_is_drawn_and_opened(host: Any, address: str, curtain: Curtain) -> None:
    with visitors(address) as seen:
        for _round in range(3):
            assert curtain("drawn")["changed"]
            assert curtain("open")["changed"]
    print(f"{host.backend.name}: drawn and opened three times: {dict(seen)}")
    assert set(seen) == {"200", "503"}
    assert min(seen.values()) > 50


def test_an_application_that_is_down(host: Any, reef: Visitor, curtain: Curtain) -> None:
    curtain("open")
    host.run_expect([0], "systemctl stop echo")
    try:
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
            answer = reef.request(method, "/x?y=z", data=b"x" * 100_000 if method in ("POST", "PUT") else None)
            assert answer.status_code == 503
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert answer.headers["Retry-After"] == "90"
            assert answer.headers["Cache-Control"] == "no-store"
            assert method == "HEAD" or DOWN in answer.text
            assert reef.request(method, "/x", headers=JSON).status_code == 503
        assert reef.post("/api/", data=b"x").json()["detail"].startswith("The site does not answer")
        assert reef.get("/static/reef.txt").text == "A reef.\n"
    finally:
        host.run_expect([0], "systemctl start echo")
    deadline = time.monotonic() + 60
    while (status := reef.get("/").status_code) != 200:
        assert (status, time.monotonic() < deadline) == (503, True)
        time.sleep(0.2)


def test_an_application_that_takes_too_long(reef: Visitor) -> None:
    answer = reef.get("/?wait=4")
    assert (answer.status_code, DOWN in answer.text) == (503, True)


@pytest.mark.parametrize("status", [404, 500, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_sites_own_errors_go_through(reef: Visitor, status: int, method: str) -> None:
    answer = reef.request(method, f"/?status={status}")
    assert answer.status_code == status
    assert answer.json()["HTTP_HOST"] == "reef.test"
    assert "Retry-After" not in answer.headers
