"""The notice of maintenance: what the site's commands are told, what is taken from them, and what is left alone."""

from __future__ import annotations

import json
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.coralnet.server.plugins.module_utils._notice import read_details
from ansible_collections.coralnet.server.plugins.modules import django_maintenance

# Stands in for a site: the words of the real commands, in the form that is asked for. The real ones are run in the
# scenario `default`.
MANAGE = r"""
import json, os, sys
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo
here = Path(__file__).parent
ways = json.loads((here / "ways.json").read_text())
notice = here / "maintenance.json"
command, *words = sys.argv[1:]
with open(here / "calls", "a") as calls:
    calls.write(json.dumps([command, *words][:6] if command != "shell" else ["shell"]) + "\n")
zone = ZoneInfo(ways["zone"])
if command == "shell":
    options = ways["options"]
    found = {"zone": ways["zone"], "path": ways.get("path", str(notice))}
    modes = ways["mode_options"]
    found["options"] = {"maintenanceon": options, "maintenanceoff": options, "maintenance_mode": modes}
    if "problem" in ways:
        found["problem"] = ways["problem"]
    elif notice.exists():
        found["content"] = notice.read_text()
    if modes is not None:
        mode = here / "mode.json"
        found |= {"pinned": ways["pinned"], "mode": json.loads(mode.read_text()) if mode.exists() else False}
    print("9 objects imported automatically\ncoralnet-notice" + " " + json.dumps(found))
elif ways["does"] == "traceback":
    sys.exit("EOFError: EOF when reading a line")
elif command == "maintenanceon":
    if input() != "y" or ways["does"] == "aborts":
        print("Aborting.")
        sys.exit()
    now = datetime.now(zone)
    start = now.replace(second=0, microsecond=0) + timedelta(minutes=25 - now.minute % 5)
    if words[:1] and not words[0].startswith("-"):
        clock = datetime.strptime(words[0], "%H:%M").time()
        start = datetime.combine(now.date(), clock, zone)
        if "--date" in words:
            start = datetime.fromisoformat(f"{words[words.index('--date') + 1]}T{words[0]}").replace(tzinfo=zone)
        elif start <= now:
            start += timedelta(days=1)
    message = next((word.partition("=")[2] for word in words if word.startswith("--message=")), "")
    details = {"timestamp": int(start.timestamp())} | ({"message": message} if options_known(ways) else {})
    if ways["does"] != "lies":
        notice.write_text(json.dumps(details))
    print("Is this OK? [yN] Maintenance mode on.")
elif command == "maintenanceoff":
    print("Maintenance mode off." if notice.exists() else "Maintenance mode is already off.")
    if ways["does"] != "lies":
        notice.unlink(missing_ok=True)
elif command == "maintenance_mode":
    times = {words[i][2:]: words[i + 1] for i in range(len(words)) if words[i] in ("--start", "--end")}
    value = ({"start": None, "end": None} | times) if times else words[0] == "on"
    (here / "mode.json").write_text(json.dumps(value))
    print("maintenance mode: " + words[0])
""".replace("options_known(ways)", 'ways["options"]')

NEW = ["--help", "--date", "--message"]
WAYS = {"zone": "America/Los_Angeles", "options": NEW, "mode_options": None, "pinned": False, "does": "well"}


class Site:
    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.notice = directory / "maintenance.json"
        self._capsys = capsys
        (directory / "manage.py").write_text(MANAGE)
        self.ways()

    def ways(self, **ways: Any) -> None:
        (self.directory / "ways.json").write_text(json.dumps(WAYS | ways))

    def __call__(self, state: str, **options: Any) -> dict[str, Any]:
        given = {
            "manage": [sys.executable, str(self.directory / "manage.py")],
            "record": str(self.directory / "record"),
            "state": state,
            **options,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            django_maintenance.main()
        answer: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        return answer

    def calls(self) -> list[list[str]]:
        lines = (self.directory / "calls").read_text().splitlines()
        return [call for call in map(json.loads, lines) if call != ["shell"]]


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Site:
    return Site(tmp_path, capsys)


def in_django(later: timedelta) -> datetime:

    return (datetime.now(UTC) + later).replace(second=0, microsecond=0).astimezone(ZoneInfo("America/Los_Angeles"))


def test_on_twice_then_off_twice(site: Site) -> None:
    start = in_django(timedelta(hours=1))
    first = site("on", start=start.strftime("%H:%M"), text="<b>New tools</b>")

    assert (first["changed"], first["active"], first["message"]) == (True, True, "<b>New tools</b>")
    assert datetime.fromisoformat(first["start"]) == start
    assert first["start_epoch"] == start.timestamp()
    assert 3400 < first["seconds_until_start"] <= 3600
    assert "Maintenance mode on." in first["said"]
    date = start.strftime("%Y-%m-%d")
    assert site.calls() == [["maintenanceon", start.strftime("%H:%M"), "--date", date, "--message=<b>New tools</b>"]]
    assert not site("on", start=start.strftime("%H:%M"), text="<b>New tools</b>")["changed"]
    assert site("off")["changed"]
    assert not site.notice.exists()
    assert not site("off")["changed"]
    assert [call[0] for call in site.calls()] == ["maintenanceon", "maintenanceoff"]


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"start": "+45m"}, False),
        ({}, False),
        ({"text": "Words"}, False),
        ({"text": "Other words"}, True),
        ({"start": "2036-01-01T10:00"}, True),
        ({"end": "+10m", "text": "Words"}, True),
    ],
)
def test_what_is_a_change(site: Site, options: dict[str, str], changed: bool) -> None:
    before = site("on", start="+30m", text="Words")
    planned = site("on", **options, _ansible_check_mode=True)
    assert len(site.calls()) == 1, "check mode changed something"
    done = site("on", **options)

    assert planned["changed"] == done["changed"] == changed
    assert planned["diff"] == done["diff"]
    if "start" not in options or not changed:
        assert done["start"] == before["start"]
    assert not site("on", **options)["changed"]


def test_the_end_counts_from_the_start_and_is_told_in_djangos_time(site: Site) -> None:
    told = site("on", start="2036-07-01T18:30", end="+20m", text="Words.")["message"]

    assert told == "Words. The site is expected to be back by 1 July 2036, 18:50 PDT."


def test_the_site_chooses_a_start(site: Site) -> None:
    assert 1200 <= site("on")["seconds_until_start"] <= 1500
    assert site.calls() == [["maintenanceon"]]


def test_the_old_form_has_neither_date_nor_message(site: Site) -> None:
    site.ways(options=["--help"])
    start = in_django(timedelta(hours=2))

    assert datetime.fromisoformat(site("on", start=start.isoformat())["start"]) == start
    assert site.calls() == [["maintenanceon", start.strftime("%H:%M")]]
    assert not site("on", start=start.isoformat())["changed"]
    for options, error in [
        ({"text": "Words"}, "takes no --message: leave text and end empty"),
        ({"start": "+50h", "replace": True}, ""),
        ({"start": (start + timedelta(days=2)).isoformat()}, "takes no --date: give a start within 24 hours"),
    ]:
        answer = site("on", **options)
        assert error in answer["msg"] if error else not answer["changed"]
    assert len(site.calls()) == 1


@pytest.mark.parametrize(
    ("does", "error"),
    [
        ("aborts", "maintenanceon put no notice up: Aborting."),
        ("traceback", "EOFError: EOF when reading a line"),
        ("lies", "the notice reads otherwise than asked for.\nnotice: none"),
    ],
)
def test_only_a_notice_that_is_there_is_a_success(site: Site, does: str, error: str) -> None:
    site.ways(does=does)

    assert error in site("on", start="+30m")["msg"]


def test_off_that_leaves_it_there_is_no_success(site: Site) -> None:
    site("on", start="+30m")
    site.ways(does="lies")

    assert "the notice is still there" in site("off")["msg"]


def test_anothers_notice_is_left_alone(site: Site) -> None:
    site("on", start="+30m")
    theirs = json.dumps({"timestamp": int(datetime.now(UTC).timestamp()) + 60, "message": "Theirs"})
    site.notice.write_text(theirs)

    for state, options in [("on", {"start": "2036-01-01T10:00"}), ("on", {"text": "Ours"}), ("off", {})]:
        for check in (True, False):
            assert "somebody else put up: set replace" in site(state, **options, _ansible_check_mode=check)["msg"]
    assert site.notice.read_text() == theirs
    assert not site("on")["changed"], "what is announced already is good enough"
    assert site("off", replace=True)["changed"]
    assert not site.notice.exists()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"message": "x"}', '{"timestamp": "x"}', '{"timestamp": 1e99}']
)
def test_a_broken_notice_is_replaced_or_removed(site: Site, content: str) -> None:
    assert "every page fails on it" in read_details(content, "/x").broken
    site.notice.write_text(content)
    assert site("on", start="+30m")["changed"]
    site.notice.write_text(content)
    assert site("off")["changed"]
    assert not site.notice.exists()


def test_a_notice_that_pages_cannot_read_is_an_error(site: Site) -> None:
    site.ways(problem="Permission denied")

    assert "the site cannot read" in site("on", start="+30m")["msg"]


@pytest.mark.parametrize(
    ("ways", "options", "error"),
    [
        ({}, {"start": "soon"}, "is no time: give start as 18:30"),
        ({}, {"start": "2026-01-01T10:00"}, "which is over: give a time to come"),
        ({}, {"start": "+2h", "end": "+0m"}, "not after the start: give a later one"),
        ({"options": None}, {}, "this site has no command maintenanceon"),
        ({"path": ""}, {}, "set MAINTENANCE_DETAILS_FILE_PATH"),
        ({}, {"manage": []}, "the backend maintenanceon needs manage"),
        ({}, {"manage": ["false"]}, "Django cannot be asked about its notice (false shell): it said nothing"),
        ({}, {"backend": "commands", "on_command": ["true"]}, "the backend commands needs off_command"),
        ({}, {"backend": "maintenance_mode"}, "has no django-maintenance-mode"),
        ({"mode_options": [], "pinned": True}, {"backend": "maintenance_mode"}, "MAINTENANCE_MODE rules here"),
        ({"mode_options": []}, {"backend": "maintenance_mode", "text": "x"}, "takes no text"),
        ({"mode_options": []}, {"backend": "maintenance_mode", "start": "+1h"}, "plans nothing"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_changes(
    site: Site, ways: dict[str, Any], options: dict[str, Any], error: str
) -> None:
    site.ways(**ways)

    assert error in site("on", **options)["msg"]
    assert not site.notice.exists()


def test_django_maintenance_mode(site: Site) -> None:
    site.ways(mode_options=["--start", "--end"])
    on = {"backend": "maintenance_mode", "start": "2036-01-01T10:00Z", "end": "+30m"}

    assert site("on", **on)["start"] == "2036-01-01T10:00:00+00:00"
    assert site.calls() == [
        ["maintenance_mode", "on", "--start", "2036-01-01T10:00:00+00:00", "--end", "2036-01-01T10:30:00+00:00"]
    ]
    assert not site("on", **on)["changed"]
    assert site("off", backend="maintenance_mode")["changed"]
    assert not site("off", backend="maintenance_mode")["changed"]
    assert site("on", backend="maintenance_mode")["changed"], "at once"


def test_commands_of_the_sites_own(site: Site, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    commands = {
        "backend": "commands",
        "on_command": ["sh", "-c", 'printf "%s" "$1" > ' + str(mark), "sh", "{start} {message}"],
        "off_command": ["rm", str(mark)],
        "status_command": ["test", "-e", str(mark)],
    }
    on = {**commands, "start": "2036-01-01T10:00Z", "text": "$(x)"}

    first = site("on", **on)
    assert first["changed"]
    assert (first["start"], first["message"]) == ("2036-01-01T10:00:00+00:00", "$(x)"), "for this it is waited"
    assert mark.read_text() == "2036-01-01T10:00:00+00:00 $(x)"
    again = site("on", **on)
    assert not again["changed"]
    assert again["start_epoch"] == first["start_epoch"] > 0
    assert site("on", **on | {"start": ""})["start_epoch"] == first["start_epoch"]
    later = site("on", **on | {"start": "2036-01-01T11:00Z"})
    assert (later["changed"], later["start"]) == (True, "2036-01-01T11:00:00+00:00")
    assert mark.read_text() == "2036-01-01T11:00:00+00:00 $(x)"
    assert "on_command has no {end}" in site("on", **on | {"end": "+1h"})["msg"]
    assert site("off", **commands)["changed"]
    assert not site("off", **commands)["changed"]
    mark.write_text("by hand")
    assert "somebody else put up: set replace" in site("on", **on)["msg"]
    assert mark.read_text() == "by hand"
    assert "ended with 2" in site("on", **on | {"status_command": ["sh", "-c", "exit 2"]})["msg"]


def test_a_site_without_a_notice(site: Site) -> None:
    silent = {"backend": "none", "manage": []}
    at_once = site("on", **silent)
    assert (at_once["changed"], at_once["active"], at_once["start_epoch"]) == (False, False, 0)
    waited_for = site("on", **silent, start="2036-01-01T10:00Z")
    assert (waited_for["changed"], waited_for["start"]) == (False, "2036-01-01T10:00:00+00:00")
    assert waited_for["seconds_until_start"] > 0
    assert "is no time" in site("on", **silent, start="noon")["msg"]
    assert "which is over" in site("on", **silent, start="2020-01-01T10:00Z")["msg"]
    assert site("off", **silent)["start_epoch"] == 0


def test_the_zone_of_what_is_typed(site: Site) -> None:
    """Django's, where nobody has set another; the curtain is told of the same end."""
    noon = {"start": "2036-01-01T12:00", "end": "2036-01-01T12:30"}
    for zone, backend, hour in (("", {}, 20), ("Asia/Tokyo", {}, 3), ("Asia/Tokyo", {"backend": "none"}, 3)):
        told = site("on", **noon, **backend, time_zone=zone)
        assert [told[name][11:16] for name in ("start", "end")] == [f"{hour:02}:00", f"{hour:02}:30"]
        assert told["end_epoch"] - told["start_epoch"] == 1800
    assert site("on", start="+1h")["end"] == ""
    assert "knows no time zone 'Reef'" in site("on", **noon, time_zone="Reef")["msg"]
    assert "not after the start" in site("on", **noon | {"end": "2036-01-01T11:00"}, backend="none")["msg"]


def test_what_is_noted_is_readable_and_no_secret(site: Site) -> None:
    site("on", start="+30m", text="Words")
    (noted,) = (site.directory / "record").iterdir()

    assert stat.S_IMODE(noted.stat().st_mode) & 0o022 == 0
    assert "Words" in noted.read_text()
