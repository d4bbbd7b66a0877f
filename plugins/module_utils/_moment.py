# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Times as people type them: 18:30, a date with its time, or a period from now."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

UTC = timezone.utc  # noqa: UP017  # Python 3.10 has no other name for it
PERIOD = re.compile(r"\+(?:(?P<hours>\d{1,3})h)?(?:(?P<minutes>\d{1,4})m)?")
CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
FAR = timedelta(hours=12)


class MomentError(Exception):
    """What was typed is no time, or hardly the one that is meant; the message says what to type."""


def zone(name: str) -> ZoneInfo | None:
    """Find a time zone; none for the host's own, which has no name."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError) as exc:
        raise MomentError(
            f"this host knows no time zone {name!r}: set time_zone to one such as Europe/Amsterdam"
        ) from exc


def moment(text: str, now: datetime, zone: tzinfo | None, option: str) -> datetime | None:
    """Read an option's time, in UTC; one that names no zone is in the given zone, or in the host's. Empty is none."""
    if not text:
        return None
    if (period := PERIOD.fullmatch(text)) and text != "+":
        length = timedelta(hours=int(period["hours"] or 0), minutes=int(period["minutes"] or 0))
        return (now + length).replace(second=0, microsecond=0).astimezone(UTC)
    if clock := CLOCK.fullmatch(text):
        return _next(text, int(clock[1]), int(clock[2]), now.astimezone(zone), option)
    try:
        given = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
    except ValueError as exc:
        raise MomentError(
            f"{text!r} is no time: give {option} as 18:30, as 2026-11-24T18:30+00:00, or as +30m or +1h30m"
        ) from exc
    if given.tzinfo is None and zone:
        given = given.replace(tzinfo=zone)
    return given.astimezone(UTC).replace(microsecond=0)


def _next(text: str, hour: int, minute: int, now: datetime, option: str) -> datetime:
    """Find the next time that a clock shows an hour, which is hardly ever meant when it is nearly a day away."""
    days = [now.date(), now.date() + timedelta(days=1)]
    times = [datetime(day.year, day.month, day.day, hour, minute, tzinfo=now.tzinfo) for day in days]
    found = next((time for time in times if time > now), times[-1])
    if found - now > FAR:
        raise MomentError(
            f"{text} is over 12 hours away: give {option} with its date, {found.isoformat()}, if it is meant"
        )
    return found.astimezone(UTC)
