"""An operator who updates, and the site that is updated."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from shared.deployed import Queue, Site
from shared.visitor import changed

# With what the scenario's hosts are besides
INVENTORY = ("--inventory", str(Path(__file__).parents[1] / "inventory"))


@pytest.fixture
def playbook(playbook: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Any]:
    return partial(playbook, *INVENTORY)


@pytest.fixture
def site(host: Any, address: str) -> Site:
    return Site(host, address)


@pytest.fixture
def queue(host: Any) -> Queue:
    return Queue(host)


@pytest.fixture
def update(playbook: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Any]:
    """`update("v2", "strategy=window")` runs the playbook with these variables."""

    def run(version: str, *variables: str) -> subprocess.CompletedProcess[str]:
        words = [word for variable in (f"version={version}", *variables) for word in ("-e", variable)]
        return playbook(*words, path="playbooks/update.yml")

    return run


@pytest.fixture
def at_v1(site: Site, update: Callable[..., Any]) -> None:
    """Begin with the first version and its schema."""
    changed(update("v1", "take_over=true", "strategy=rolling"))
    site.unmigrate()
    assert site.version == "v1"
