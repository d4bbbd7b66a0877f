"""What an update says before anything happens, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from shared.deployed import Site
from shared.visitor import changed


@pytest.mark.on("debian-13")
def test_migrations_are_explained(at_v1: None, update: Callable[..., Any], playbook: Callable[..., Any]) -> None:
    foreseen = playbook("-e", "version=v2", "--check", "--diff", path="playbooks/update.yml")
    assert changed(foreseen) >= 1
    for line in (
        "adds the field image.file_size (PositiveBigIntegerField)",
        "ACCESS EXCLUSIVE on sources.image: reads and writes wait, for as long as the table is large",
        "the older code can go on with it",
    ):
        assert line in " ".join(foreseen.stdout.split())


@pytest.mark.on("debian-12")
def test_what_somebody_changed_on_the_server_is_not_left_behind(
    host: Any, at_v1: None, site: Site, update: Callable[..., Any], playbook: Callable[..., Any]
) -> None:
    by_hand = "/srv/www/coralnet/current/src/by-hand.txt"
    host.run_expect([0], f"touch {by_hand}")
    try:
        for mode in ([], ["--check"]):
            refused = playbook("-e", "version=v2", *mode, path="playbooks/update.yml")
            assert refused.returncode != 0
            assert "has changes that are in no commit: by-hand.txt. Commit or undo them" in refused.stdout
        assert site.version == "v1"
        changed(update("v1"))
        kept = '{"django_app_keep_files": ["by-*"]}'
        changed(playbook("-e", "version=v2", "-e", kept, "--check", path="playbooks/update.yml"))
    finally:
        host.run_expect([0], f"rm {by_hand}")
