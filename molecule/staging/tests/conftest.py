"""Production and its staging, as one who has both inventories, and visitors of either."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from shared.visitor import Visitor

INVENTORY = ("--inventory", str(Path(__file__).parents[1] / "inventory"))
TESTER = ("tester", "reef-tester-0f1e2d3c")


class Named(HTTPAdapter):
    """TLS to an address under the site's name, whoever made the certificate."""

    def init_poolmanager(self, *words: Any, **options: Any) -> None:
        super().init_poolmanager(*words, server_hostname="coralnet.test", **options)


class SecureVisitor(Visitor):
    """Somebody who opens the site by https."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        urllib3.disable_warnings()
        self.mount(f"https://{address}", Named())
        self.headers["Referer"] = "https://coralnet.test/"

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]  # a path is enough
        options = {"timeout": 30, **options, "allow_redirects": False, "verify": False}
        return requests.Session.request(self, method, f"https://{self._address}{url}", **options)


@pytest.fixture
def playbook(playbook: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Any]:
    return partial(playbook, *INVENTORY)


@pytest.fixture
def visitor(address: str, inventory_name: str) -> Visitor:
    """Somebody who opens the site: staging has TLS, production has none yet."""
    return SecureVisitor(address) if inventory_name == "debian-13" else Visitor(address)


@pytest.fixture
def tester(visitor: Visitor) -> Visitor:
    """Somebody who knows the password in front of it."""
    visitor.auth = TESTER
    return visitor
