"""The two sites on each host."""

from __future__ import annotations

from typing import Any

import pytest
from shared.sites import Site


@pytest.fixture
def tide(host: Any, inventory_name: str, address: str) -> Site:
    return Site("tide", host, inventory_name, address)


@pytest.fixture
def kelp(host: Any, inventory_name: str, address: str) -> Site:
    return Site("kelp", host, inventory_name, address)
