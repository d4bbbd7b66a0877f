"""A drawn curtain and a reboot. Its name puts it after the others, which need the host."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import requests
from shared.visitor import Visitor, ad_hoc


def test_it_stays_drawn(host: Any, address: str, inventory_name: str) -> None:
    options = {"site": "reef", "state": "drawn", "text": "After the reboot"}
    assert ad_hoc(inventory_name, "coralnet.server.nginx_curtain", options)["drawn"]
    subprocess.run(["docker", "restart", "--time", "60", host.backend.name], check=True, capture_output=True)
    deadline = time.monotonic() + 120
    while True:
        try:
            answer = Visitor(str(host.check_output("hostname -I").split()[0]), "reef.test").get("/")
            break
        except (requests.ConnectionError, AssertionError):
            assert time.monotonic() < deadline
            time.sleep(0.5)
    assert answer.status_code == 503
    assert "After the reboot" in answer.text
    assert not ad_hoc(inventory_name, "coralnet.server.nginx_curtain", options)["changed"]
    ad_hoc(inventory_name, "coralnet.server.nginx_curtain", {"site": "reef", "state": "open"})
