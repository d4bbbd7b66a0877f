"""Maintenance is announced by the site's own commands and seen by its visitors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from shared.visitor import Visitor, changed


@pytest.mark.on("debian-12")
def test_maintenance_is_announced_and_called_off(playbook: Callable[..., Any], visitor: Visitor) -> None:
    def maintenance(*words: str) -> Any:
        done = playbook(*(word for pair in words for word in ("-e", pair)), path="playbooks/maintenance.yml")
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    on = ("notice=on", "notice_start=+3h", "notice_message=<em>tools</em>")
    assert changed(maintenance(*on)) == 1
    page = visitor.get("/").text
    assert "The site will be under maintenance in" in page
    assert "<em>tools</em>" in page
    assert changed(maintenance(*on)) == 0
    assert changed(maintenance("notice=off")) == 1
    assert "under maintenance" not in visitor.get("/").text
