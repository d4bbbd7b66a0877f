"""A certificate got as the manual does it: with the distribution's site in the place of all others for a while."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from shared.acme import Acme, Served
from shared.visitor import changed

SWAP = json.dumps({"letsencrypt_challenge": "swap", "letsencrypt_renew_before_days": 36500, "letsencrypt_tries": 2})


@pytest.fixture
def swapped(playbook: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[[], Any]:
    return lambda: playbook("-e", SWAP, path="molecule/letsencrypt/get.yml")


def sites(host: Any) -> str:
    """List every link to a site, all of which nginx must be able to start with."""
    host.run_expect([0], "nginx -t")
    return str(host.check_output("cd /etc/nginx/sites-enabled && find . -type l -printf '%p %l\n' | sort"))


def test_the_swap_is_undone_after_a_failure(host: Any, acme: Acme, swapped: Callable[[], Any], served: Served) -> None:
    before, certificate = sites(host), served.disk
    acme.restart(domainBlocklist=["reef.test"])
    try:
        result = swapped()
    finally:
        acme.restart()
    assert result.returncode == 2
    assert "this CA gives no certificate for that name" in " ".join(result.stdout.split())
    assert sites(host) == before
    assert served.nginx == served.disk == certificate


def test_the_swap_is_undone(host: Any, swapped: Callable[[], Any], probing: Callable[..., Any], served: Served) -> None:
    before, certificate = sites(host), served.disk
    with probing() as seen:
        assert changed(swapped()) > 0
    print(f"{host.backend.name}: got by swap: {seen[0]} of {seen[1]} answers bad")
    assert sites(host) == before
    assert served.disk != certificate
    host.run_expect([0], "certificates check")
    assert served.nginx == served.postfix == served.disk
    assert served.page("/")[0] == 200
