# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The notice of coming maintenance, which the site itself shows: put up, taken down and read by its own commands."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from ansible_collections.coralnet.server.plugins.module_utils._moment import UTC

Dialogue = Callable[[list[str], str], tuple[int, str, str]]
"""Takes a command as words and what is typed into it; returns its exit code, output and errors."""

ANSWER = "coralnet-notice "
# Django is asked once for all that is to be known: in its own process, as the account that shows the pages
PROBE = f"""
import json
from django.apps import apps
from django.conf import settings
from django.core.management import get_commands, load_command_class
known = get_commands()
def options(name):
    if name not in known:
        return None
    app = known[name]
    command = load_command_class(app, name) if isinstance(app, str) else app
    return [option for action in command.create_parser("manage.py", name)._actions for option in action.option_strings]
found = {{"zone": settings.TIME_ZONE}}
found["options"] = {{name: options(name) for name in ("maintenanceon", "maintenanceoff", "maintenance_mode")}}
found["path"] = str(getattr(settings, "MAINTENANCE_DETAILS_FILE_PATH", ""))
if found["path"]:
    try:
        with open(found["path"], encoding="utf-8") as file:
            found["content"] = file.read()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        found["problem"] = str(error)
if apps.is_installed("maintenance_mode"):
    from maintenance_mode import core
    found["pinned"] = settings.MAINTENANCE_MODE is not None
    try:
        found["mode"] = core.get_maintenance_mode_backend().get_value()
    except Exception as error:
        found["problem"] = str(error)
print()
print("{ANSWER}" + json.dumps(found))
"""


class NoticeError(Exception):
    """The notice is not what was asked; the message says why and what to do."""


@dataclass(frozen=True)
class Notice:
    """What the site tells its visitors of maintenance."""

    active: bool = False
    start: datetime | None = None
    end: datetime | None = None
    message: str = ""
    broken: str = ""

    def __str__(self) -> str:
        if self.broken:
            return f"notice: broken ({self.broken})\n"
        if not self.active:
            return "notice: none\n"
        lines = {"notice": "up", "start": iso(self.start), "end": iso(self.end), "message": self.message}
        return "".join(f"{name}: {value}\n" for name, value in lines.items() if value)

    def fits(self, start: datetime | None, end: datetime | None, message: str) -> bool:
        """Say whether it tells what is wanted; what is not given may be anything."""
        if not self.active or self.broken:
            return False
        wishes = [(start, self.start), (end, self.end), (message or None, self.message)]
        return all(wish in (None, told) for wish, told in wishes)


class Backend(Protocol):
    """A way in which a site shows its notice."""

    zone: ZoneInfo | None
    reads: bool
    """Whether start, end and message can be read back."""

    def state(self) -> Notice: ...

    def wanted(self, start: datetime | None, end: datetime | None, message: str) -> Notice:
        """Say how the notice will read; NoticeError for what the site cannot tell."""

    def put_up(self, notice: Notice) -> str: ...

    def take_down(self) -> str: ...

    @property
    def key(self) -> str: ...


def iso(time: datetime | None) -> str:
    return time.astimezone(UTC).isoformat() if time else ""


def _said(out: str, err: str) -> str:
    return f"{out.strip()}\n{err.strip()}".strip()


class Django:
    """A site's manage.py."""

    def __init__(self, run: Dialogue, manage: list[str]) -> None:
        self._run = run
        self._manage = manage

    def __str__(self) -> str:
        return " ".join(self._manage)

    def ask(self) -> dict[str, Any]:
        rc, out, err = self._run([*self._manage, "shell", "-c", PROBE], "")
        answers = [line for line in out.splitlines() if line.startswith(ANSWER)]
        if rc or not answers:
            last = (_said(out, err).splitlines() or ["it said nothing"])[-1]
            raise NoticeError(f"Django cannot be asked about its notice ({self} shell): {last}")
        found: dict[str, Any] = json.loads(answers[-1].removeprefix(ANSWER))
        return found

    def call(self, words: list[str]) -> tuple[int, str]:
        rc, out, err = self._run([*self._manage, *words], "y\n")
        return rc, _said(out, err)


class MaintenanceOn:
    """The commands `maintenanceon` and `maintenanceoff`, with a JSON file that every process of the site reads."""

    reads = True

    def __init__(self, django: Django) -> None:
        self._django = django
        self._first: dict[str, Any] | None = django.ask()
        found = self._first
        missing = [name for name in ("maintenanceon", "maintenanceoff") if found["options"][name] is None]
        if missing:
            raise NoticeError(f"this site has no command {missing[0]}: set backend to what it has, or to none")
        if not found["path"]:
            raise NoticeError("set MAINTENANCE_DETAILS_FILE_PATH in the site's settings, outside of the release")
        self._options = set(found["options"]["maintenanceon"])
        self._path = found["path"]
        self.zone: ZoneInfo | None = ZoneInfo(found["zone"])

    @property
    def key(self) -> str:
        return str(self._path)

    def state(self) -> Notice:
        found = self._first or self._django.ask()
        self._first = None
        if "problem" in found:
            return Notice(broken=f"the site cannot read {self._path}: {found['problem']}")
        return read_details(found["content"], self._path) if "content" in found else Notice()

    def wanted(self, start: datetime | None, end: datetime | None, message: str) -> Notice:
        if end:
            told = end.astimezone(self.zone).strftime("%-d %B %Y, %H:%M %Z")
            message = f"{message} The site is expected to be back by {told}.".strip()
        if message and "--message" not in self._options:
            raise NoticeError("maintenanceon of this site takes no --message: leave text and end empty")
        return Notice(True, start, None, message)

    def put_up(self, notice: Notice) -> str:
        words = ["maintenanceon"]
        if notice.start:
            local = notice.start.astimezone(self.zone)
            words.append(local.strftime("%H:%M"))
            if "--date" in self._options:
                words += ["--date", local.strftime("%Y-%m-%d")]
            elif not timedelta(0) < notice.start - datetime.now(UTC) <= timedelta(days=1):
                raise NoticeError("maintenanceon of this site takes no --date: give a start within 24 hours")
        if notice.message:
            words.append(f"--message={notice.message}")
        rc, said = self._django.call(words)
        if rc or "Maintenance mode on." not in said:
            raise NoticeError(f"maintenanceon put no notice up: {said or 'it said nothing'}")
        return said

    def take_down(self) -> str:
        rc, said = self._django.call(["maintenanceoff"])
        if rc or not any(line in said for line in ("Maintenance mode off.", "Maintenance mode is already off.")):
            raise NoticeError(f"maintenanceoff took no notice down: {said or 'it said nothing'}")
        return said


def read_details(content: str, path: str) -> Notice:
    """Read the file as the site's pages do, which fail where it is broken."""
    try:
        details = json.loads(content)
        return Notice(True, datetime.fromtimestamp(details["timestamp"], UTC), None, str(details.get("message") or ""))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError) as exc:
        return Notice(broken=f"{path} is no notice, every page fails on it: {type(exc).__name__}: {exc}")


class MaintenanceMode:
    """The package django-maintenance-mode, whose notice is a page in place of the site."""

    reads = True

    def __init__(self, django: Django) -> None:
        self._django = django
        self._first: dict[str, Any] | None = django.ask()
        options = self._first["options"]["maintenance_mode"]
        if options is None or "pinned" not in self._first:
            raise NoticeError("the site has no django-maintenance-mode: set backend, or add it to INSTALLED_APPS")
        if self._first["pinned"]:
            raise NoticeError("the setting MAINTENANCE_MODE rules here: set it to None, so that the command can")
        self._plans = "--start" in options
        self.zone: ZoneInfo | None = ZoneInfo(self._first["zone"])

    @property
    def key(self) -> str:
        return f"maintenance_mode {self._django}"

    def state(self) -> Notice:
        found = self._first or self._django.ask()
        self._first = None
        if "problem" in found:
            return Notice(broken=found["problem"])
        mode = found["mode"]
        if not isinstance(mode, dict):
            return Notice(active=bool(mode))
        start, end = (datetime.fromisoformat(mode[key]) if mode.get(key) else None for key in ("start", "end"))
        return Notice(end is None or end > datetime.now(UTC), start, end)

    def wanted(self, start: datetime | None, end: datetime | None, message: str) -> Notice:
        if message:
            raise NoticeError("django-maintenance-mode takes no text: leave it empty, edit its 503.html")
        if (start or end) and not self._plans:
            raise NoticeError("this django-maintenance-mode plans nothing: leave start and end empty")
        return Notice(True, start, end)

    def put_up(self, notice: Notice) -> str:
        times = [("--start", notice.start), ("--end", notice.end)]
        words = [word for option, time in times if time for word in (option, iso(time))]
        return self._switch(["on", *words])

    def take_down(self) -> str:
        return self._switch(["off"])

    def _switch(self, words: list[str]) -> str:
        rc, said = self._django.call(["maintenance_mode", *words, "--verbosity=3"])
        if rc:
            raise NoticeError(f"maintenance_mode {words[0]} failed: {said}")
        return said


class Commands:
    """Commands of the site's own choosing."""

    zone: ZoneInfo | None = None
    reads = False

    def __init__(self, run: Dialogue, on: list[str], off: list[str], status: list[str]) -> None:
        self._run = run
        self._on, self._off, self._status = on, off, status

    @property
    def key(self) -> str:
        return json.dumps([self._on, self._off, self._status])

    def state(self) -> Notice:
        rc, out, err = self._run(self._status, "")
        if rc not in (0, 1):
            raise NoticeError(f"{self._status[0]} ended with {rc}, and not with 0 (up) or 1 (none): {_said(out, err)}")
        return Notice(active=rc == 0)

    def wanted(self, start: datetime | None, end: datetime | None, message: str) -> Notice:
        words = " ".join(self._on)
        given = {"start": start, "end": end, "message": message}
        for name, value in given.items():
            if value and f"{{{name}}}" not in words:
                raise NoticeError(f"on_command has no {{{name}}}: add it, or do not give that")
        return Notice(True, start, end, message)

    def put_up(self, notice: Notice) -> str:
        values = {"{start}": iso(notice.start), "{end}": iso(notice.end), "{message}": notice.message}
        return self._call([_filled(word, values) for word in self._on])

    def take_down(self) -> str:
        return self._call(self._off)

    def _call(self, words: list[str]) -> str:
        rc, out, err = self._run(words, "")
        if rc:
            raise NoticeError(f"{words[0]} ended with {rc}: {_said(out, err)}")
        return _said(out, err)


def _filled(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word


class Record:
    """What was put up last, so that a notice which somebody else has put up is known by its difference."""

    def __init__(self, directory: str, key: str) -> None:
        self._directory = directory
        self._path = os.path.join(directory, hashlib.sha256(key.encode()).hexdigest()[:16])

    def kept(self) -> Notice | None:
        """Give what was put up last; nothing where that is not known."""
        try:
            with open(self._path, encoding="utf-8") as file:
                told = json.load(file)
            start, end = (datetime.fromisoformat(told[key]) if told[key] else None for key in ("start", "end"))
            return Notice(True, start, end, told["message"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def is_of(self, notice: Notice) -> bool:
        return self.kept() == notice

    def keep(self, notice: Notice) -> None:
        os.makedirs(self._directory, mode=0o755, exist_ok=True)
        fresh = f"{self._path}.new"
        with open(fresh, "w", encoding="utf-8") as file:
            json.dump({"start": iso(notice.start), "end": iso(notice.end), "message": notice.message}, file)
        os.replace(fresh, self._path)

    def forget(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


def refuse_anothers(record: Record, before: Notice, take_over: bool) -> None:
    """Leave a notice alone that this module did not put up; a broken one is nobody's."""
    if before.active and not take_over and not record.is_of(before):
        raise NoticeError(f"a notice is up that somebody else put up: set replace to change it.\n{before}")


def announce(backend: Backend, record: Record, wanted: Notice) -> tuple[str, Notice]:
    """Put the notice up, see that the site tells it, and remember it as ours."""
    said = backend.put_up(wanted)
    after = backend.state()
    if after.broken:
        raise NoticeError(f"the notice was put up, but {after.broken}")
    if not after.active or (backend.reads and not after.fits(wanted.start, wanted.end, wanted.message)):
        raise NoticeError(f"the notice reads otherwise than asked for.\n{after}The command said: {said}")
    if not backend.reads:
        after = wanted  # of which the site's command says only that it is up
    record.keep(after)
    return said, after


def withdraw(backend: Backend, record: Record) -> str:
    """Take the notice down, and see that it is gone."""
    said = backend.take_down()
    after = backend.state()
    if after.active or after.broken:
        raise NoticeError(f"the notice is still there.\n{after}The command said: {said}")
    record.forget()
    return said
