"""Updates by playbooks/update.yml: one at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shared.visitor import ad_hoc, changed

LOCK = "/srv/www/coralnet/lock.json"


@pytest.mark.on("debian-12")
def test_two_updates_at_once(host: Any, playbook: Callable[..., Any], inventory_name: str) -> None:
    # Other tests leave other settings behind
    changed(playbook(path="playbooks/update.yml"))
    words = {"path": LOCK, "state": "held", "owner": "anna", "reason": "update to v2"}
    lock = ad_hoc(inventory_name, "coralnet.server.deploy_lock", words, "--become")
    try:
        refused = playbook("-e", "version=v2", path="playbooks/update.yml")
        assert refused.returncode != 0
        assert "anna has held the lock since" in refused.stdout
        assert "(update to v2), and was seen alive" in refused.stdout
    finally:
        words = {"path": LOCK, "state": "released", "run": lock["run"]}
        ad_hoc(inventory_name, "coralnet.server.deploy_lock", words, "--become")
    assert changed(playbook(path="playbooks/update.yml")) == 0
    assert not host.file(LOCK).exists


@pytest.mark.on("debian-12")
def test_where_one_host_refuses_none_stays_locked(
    host: Any, playbook: Callable[..., Any], inventory_name: str, tmp_path: Path
) -> None:
    """Here it is one server under two names, of which the second to come is refused."""
    names = {f"{inventory_name}-{number}": {"ansible_host": host.backend.name} for number in (1, 2)}
    groups = {group: {"hosts": names} for group in ("web", "database", "cache", "worker")}
    (tmp_path / "twice.json").write_text(json.dumps({"lab": {"children": groups}}))

    words = ["--inventory", str(tmp_path / "twice.json"), "--limit", ",".join(names), "-e", "version=v2"]
    refused = playbook(*words, path="playbooks/update.yml")

    assert refused.returncode != 0
    assert "has held the lock since" in refused.stdout
    assert "Another host could not be locked: see there" in refused.stdout
    assert not host.file(LOCK).exists
