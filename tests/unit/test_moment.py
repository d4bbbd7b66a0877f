"""Times as people type them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._moment import MomentError, moment

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
NOON = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("", UTC, None),
        ("18:30", UTC, "2026-11-24T18:30:00+00:00"),
        ("18:30", AMSTERDAM, "2026-11-24T17:30:00+00:00"),
        ("0:00", UTC, "2026-11-25T00:00:00+00:00"),
        ("00:15", AMSTERDAM, "2026-11-24T23:15:00+00:00"),
        ("+30m", UTC, "2026-11-24T12:30:00+00:00"),
        ("+1h30m", AMSTERDAM, "2026-11-24T13:30:00+00:00"),
        ("+2h", None, "2026-11-24T14:00:00+00:00"),
        ("2026-11-24T18:30+00:00", AMSTERDAM, "2026-11-24T18:30:00+00:00"),
        ("2026-11-24T18:30Z", AMSTERDAM, "2026-11-24T18:30:00+00:00"),
        ("2026-11-24T18:30", AMSTERDAM, "2026-11-24T17:30:00+00:00"),
        ("2026-11-24 18:30:59.5+01:00", UTC, "2026-11-24T17:30:59+00:00"),
        # The day on which clocks are put back
        ("2026-10-25T12:00", AMSTERDAM, "2026-10-25T11:00:00+00:00"),
    ],
)
def test_times(text: str, zone: Any, expected: str | None) -> None:
    found = moment(text, NOON, zone, "start")

    assert (found.isoformat() if found else None) == expected


def test_the_hosts_own_zone_is_the_default() -> None:
    local = (NOON.astimezone() + timedelta(hours=2)).replace(second=0)

    assert moment(local.strftime("%H:%M"), NOON, None, "start") == local
    assert moment(local.strftime("%Y-%m-%dT%H:%M"), NOON, None, "start") == local


@pytest.mark.parametrize(
    "text", ["soon", "25:00", "18:60", "18.30", "+", "+30", "-30m", "30m", "2026-13-01", "tomorrow"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(MomentError, match="is no time: give start as 18:30"):
        moment(text, NOON, UTC, "start")


@pytest.mark.parametrize(("text", "meant"), [("12:00", "2026-11-25T12:00:00"), ("00:01", "2026-11-25T00:01:00")])
def test_a_time_that_was_is_hardly_tomorrows(text: str, meant: str) -> None:
    with pytest.raises(MomentError, match=f"over 12 hours away: give start with its date, {meant}"):
        moment(text, NOON, UTC, "start")
