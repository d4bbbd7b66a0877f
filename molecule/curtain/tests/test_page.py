"""The page in a browser, on one of the hosts: it is the same page on the other."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from shared.visitor import ad_hoc

DRAWN = "Under maintenance \N{EN DASH} Coral & Reef"
ZONE = "America/Los_Angeles"
CHROMIUM = "chromium --headless --no-sandbox --disable-gpu"


@pytest.fixture
def curtain(inventory_name: str) -> Callable[..., None]:
    def call(state: str, **options: str) -> None:
        answer = ad_hoc(inventory_name, "coralnet.server.nginx_curtain", {"site": "reef", "state": state, **options})
        assert answer["drawn"] is (state == "drawn")

    return call


@pytest.fixture
def browser(host: Any, address: str, chromium: None) -> Iterator[Callable[[str], None]]:
    """Open a page in a browser that lives in California, and go on living there."""

    def go(url: str) -> None:
        # With a description, because else the journal has the operator's address in it
        host.run_expect(
            [0],
            "systemd-run --quiet --collect --unit=browser --description=browser"
            f" --setenv=TZ={ZONE} --setenv=HOME=/root {CHROMIUM} --remote-debugging-port=9222"
            # A new one each time, which has no cookie yet
            f" --user-data-dir=/tmp/browser-{time.time_ns()} --host-resolver-rules='MAP reef.test {address}' '{url}'",
        )

    yield go
    host.run("systemctl stop browser")


def tab(host: Any) -> dict[str, str]:
    """Look at the browser's one tab: its title and address."""
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9222/json/list').read().decode())"
    answer = host.run(f'python3 -c "{ask}"')
    tabs = json.loads(html.unescape(answer.stdout)) if answer.rc == 0 else []
    return next((each for each in tabs if each["type"] == "page"), {"title": "", "url": ""})


def wait_for(host: Any, what: str, condition: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    deadline = time.monotonic() + 120
    while not condition(seen := tab(host)):
        assert time.monotonic() < deadline, f"{what}: last seen {seen}"
        time.sleep(0.5)
    return seen


def asked(host: Any, request: str) -> int:
    return int(host.run(f"grep --count --fixed-strings '{request} HTTP' /var/log/nginx/access.log").stdout)


def wait_until_asked(host: Any, request: str, times: int) -> None:
    """Wait for the log, which nginx writes a little later."""
    deadline = time.monotonic() + 120
    while (seen := asked(host, request)) < times:
        assert time.monotonic() < deadline, f"{request}: {seen} times"
        time.sleep(0.5)


def test_the_page_tells_the_end_in_the_visitors_own_time(
    host: Any, address: str, chromium: None, curtain: Callable[..., None]
) -> None:
    # Another day in California, where it is eight hours earlier
    until = (datetime.now(UTC) + timedelta(days=40)).replace(month=12, hour=20, minute=30, second=0, microsecond=0)
    curtain("drawn", until=until.isoformat())
    seen = host.check_output(
        f"TZ={ZONE} {CHROMIUM} --host-resolver-rules='MAP reef.test {address}' --dump-dom http://reef.test/"
    )
    assert f'<time datetime="{until.isoformat()}">' in seen
    assert f"{until:%A}, December {until.day} at 12:30" in seen
    assert "PST</time>" in seen


def test_the_page_opens_the_site_by_itself(
    host: Any, browser: Callable[[str], None], curtain: Callable[..., None]
) -> None:
    path = f"/sources/?page={time.time_ns()}"
    curtain("drawn")
    browser(f"http://reef.test{path}#list")
    wait_for(host, "drawn", lambda seen: seen["title"] == DRAWN)
    wait_until_asked(host, f"HEAD {path}", 2)  # it stays as long as the answer is the curtain
    assert tab(host)["title"] == DRAWN
    assert asked(host, f"GET {path}") == 1
    curtain("open")
    seen = wait_for(host, "open", lambda seen: seen["title"] != DRAWN)
    assert seen["url"] == f"http://reef.test{path}"
    wait_until_asked(host, f"GET {path}", 2)
    assert asked(host, f"GET {path}") == 2


def test_an_operators_link(host: Any, browser: Callable[[str], None], curtain: Callable[..., None]) -> None:
    path = f"/operator/{time.time_ns()}"
    curtain("drawn")
    browser(f"http://reef.test{path}#curtain=reef-operators-0f1e2d3c")
    seen = wait_for(host, "the operator's site", lambda seen: bool(seen["title"]) and seen["title"] != DRAWN)
    assert seen["url"] == f"http://reef.test{path}"
    wait_until_asked(host, f"GET {path}", 2)
    # What is behind # has not been sent
    assert asked(host, f"GET {path}") == 2
    assert host.run("grep 0f1e2d3c /var/log/nginx/access.log").rc == 1
    curtain("open")
