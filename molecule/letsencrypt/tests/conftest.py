"""The CA beside the host, and what the host serves."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from shared.acme import Acme, Served, result


@pytest.fixture
def acme(host: Any) -> Acme:
    return Acme(host.backend.name)


@pytest.fixture
def served(host: Any, address: str) -> Served:
    return Served(host, address)


@pytest.fixture
def timer(host: Any) -> Callable[[], tuple[str, str]]:
    """Do what the timer does; how certbot and the check after it ended."""

    def run() -> tuple[str, str]:
        host.run_expect([0], "rm -f /run/alert; systemctl reset-failed")
        host.run("systemctl start certbot.service")
        certbot = result(host, "certbot.service")
        # It follows in any case
        for _try in range(100):
            if host.run("systemctl is-active --quiet certificates-check.service").rc != 0:
                break
            time.sleep(0.1)
        return certbot, result(host, "certificates-check.service")

    return run


@pytest.fixture
def renew(host: Any, timer: Callable[[], tuple[str, str]]) -> Callable[[], tuple[str, str]]:
    """Do what the timer does, with all certificates due."""

    def run() -> tuple[str, str]:
        change = 's/"renew_before_days": .*,/"renew_before_days": 36500,/'
        host.run_expect([0], f"sed -i '{change}' /etc/certificates.json")
        return timer()

    return run


@pytest.fixture
def probing(host: Any) -> Callable[..., Any]:
    """Have a visitor come every 50 ms meanwhile.

    After `with probing() as seen: ...`, `seen` has the number of bad answers and that of all.
    """

    @contextmanager
    def probe() -> Iterator[list[int]]:
        command = ["docker", "exec", host.backend.name, "python3", "-c", VISITS]
        seen: list[int] = []
        host.run_expect([0], "rm -f /run/enough")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as visits:
            try:
                yield seen
            finally:
                host.run_expect([0], "touch /run/enough")
                seen += json.loads(visits.communicate(timeout=60)[0])

    return probe


VISITS = """
import http.client, json, os, ssl, time
bad = total = 0
context = ssl._create_unverified_context()
while not os.path.exists("/run/enough"):
    total += 1
    try:
        connection = http.client.HTTPSConnection("reef.test", timeout=10, context=context)
        connection.request("GET", "/")
        bad += b"HTTP_HOST" not in connection.getresponse().read()
    except OSError:
        bad += 1
    time.sleep(0.05)
print(json.dumps([bad, total]))
"""
