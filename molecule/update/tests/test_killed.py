"""The operator's machine dies in the middle of an update."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from shared.deployed import ROOT, Site
from shared.visitor import changed, start_ansible


def test_begin(at_v1: None, site: Site) -> None:
    assert site.version == "v1"


# Each on one of the hosts, in turns, and the one with most at stake on both
@pytest.mark.parametrize("phase", ["plan", "build", "prepare", "database", "switch"])
def test_killed_in_the_phase(site: Site, inventory_name: str, phase: str) -> None:
    elsewhere = {"plan": "debian-12", "build": "debian-13", "prepare": "debian-12", "database": "debian-13"}
    if elsewhere.get(phase) == inventory_name and not os.environ.get("LAB_HOSTS"):
        pytest.skip("it is on the other host")
    words = ["--limit", inventory_name, "-e", "version=v2", "-e", "take_over=true", "playbooks/update.yml"]
    with start_ansible("ansible-playbook", *words, PYTHONUNBUFFERED="1") as run:
        assert run.stdout
        for line in run.stdout:
            if f"TASK [Phase: {phase}]" in line:
                break
        os.killpg(run.pid, signal.SIGKILL)
    assert site.version in ({"v1"} if phase != "switch" else {"v1", "v2"})
    site.restart()
    assert site.version in ({"v1"} if phase != "switch" else {"v1", "v2"})
    assert site.host.file(f"{ROOT}/lock.json").exists


def test_the_next_run_is_told_and_completes(site: Site, update: Callable[..., Any]) -> None:
    refused = update("v2")
    assert refused.returncode != 0
    assert "if that run is dead, take the lock over with -e take_over=true" in " ".join(refused.stdout.split())
    changed(update("v2", "take_over=true"))
    assert site.version == "v2"
    assert changed(update("v2")) == 0
    assert not site.host.file(f"{ROOT}/lock.json").exists
    site.host.run_expect([0], f"systemctl is-active coralnet@{site.release}.service")
