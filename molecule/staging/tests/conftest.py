"""Production and its staging, as one who has both inventories."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

INVENTORY = ("--inventory", str(Path(__file__).parents[1] / "inventory"))


@pytest.fixture
def playbook(playbook: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Any]:
    return partial(playbook, *INVENTORY)
