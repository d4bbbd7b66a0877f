"""Debian's own browser, for the tests of the page. It takes a while to come, and does so beside the other tests."""

from __future__ import annotations

import time
from typing import Any

import pytest

BROWSER_ON = "debian-13"


@pytest.fixture(scope="module", autouse=True)
def _chromium_is_coming(host: Any) -> None:
    if host.backend.name.endswith(BROWSER_ON) and not host.file("/usr/bin/chromium").exists:
        host.run(
            "systemd-run --quiet --unit=chromium --setenv=DEBIAN_FRONTEND=noninteractive --property=CPUWeight=20"
            " apt-get install --yes --quiet --no-install-recommends chromium"
        )  # refused where it is coming already


@pytest.fixture
def chromium(host: Any) -> None:
    """Wait for the browser."""
    if not host.backend.name.endswith(BROWSER_ON):
        pytest.skip(f"the browser is on {BROWSER_ON}")
    deadline = time.monotonic() + 400
    while host.run("systemctl is-active --quiet chromium").rc == 0:
        assert time.monotonic() < deadline, "chromium has not come"
        time.sleep(1)
    host.run_expect([0], "chromium --version")
