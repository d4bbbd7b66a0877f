"""What a plan says of migrations, compared with the PostgreSQL that the host has."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from shared.visitor import ROOT

NAMES = {
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
    "ShareLock": "SHARE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE",
}


@pytest.fixture
def seen(host: Any) -> list[dict[str, Any]]:
    for path in ("plugins/module_utils/_migrations.py", "molecule/default/files/locks.py"):
        target = f"{host.backend.name}:/srv/{path.rpartition('/')[2]}"
        subprocess.run(["docker", "cp", "--quiet", ROOT / path, target], check=True)
    out = host.check_output("/srv/www/coralnet/run python /srv/locks.py /srv/_migrations.py")
    host.run_expect([0], "rm /srv/locks.py /srv/_migrations.py")
    return [json.loads(line) for line in out.splitlines()]


def test_locks(seen: list[dict[str, Any]]) -> None:
    assert len(seen) > 30
    for case in seen:
        told = {table: lock for table, (lock, _lasts) in case["told"].items()}
        assert told == {table: NAMES[lock] for table, lock in case["locks"].items()}, case
        waited = {table for table, (_lock, lasts) in case["told"].items() if lasts == "size"}
        assert set(case["read"]) <= waited, f"more is read than is told: {case}"
    assert {table for case in seen for table in case["read"]} >= {"shop_item", "shop_target"}, "nothing was seen"
