# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A site's curtain on disk: nginx answers with the page beside it for as long as the file `drawn` is there."""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
from dataclasses import dataclass
from datetime import datetime

MESSAGE = re.compile(r"<!--message-->(.*?)<!--/message-->", re.DOTALL)
UNTIL = re.compile(r"<!--until-->(.*?)<!--/until-->", re.DOTALL)


class CurtainError(Exception):
    """What was asked makes no sense; the message says what to do."""


def fill(pattern: str, message: str, until: datetime | None) -> tuple[str, str]:
    """Put the message and the end into a page; give the page, and the message that it shows."""
    own = MESSAGE.search(pattern)
    if not own:
        raise CurtainError("the page has no <!--message-->words<!--/message-->, where the message goes")
    shown = message or html.unescape(own[1]).strip()
    page = MESSAGE.sub(lambda _found: html.escape(shown), pattern)
    if until is None:
        return UNTIL.sub("", page), shown
    page = UNTIL.sub(lambda found: found[1], page)
    readable = until.strftime("%-d %B %Y, %H:%M UTC")
    return page.replace("@until@", until.isoformat()).replace("@until_text@", readable), shown


@dataclass(frozen=True)
class State:
    """What visitors see: the curtain with these words, or the site."""

    drawn: bool = False
    message: str = ""
    until: str = ""

    def __str__(self) -> str:
        if not self.drawn:
            return "curtain: open\n"
        return f"curtain: drawn\nmessage: {self.message}\nuntil: {self.until or 'not announced'}\n"


@dataclass(frozen=True)
class File:
    """A file that anybody may read, as it should be."""

    path: str
    content: str
    time: float | None = None

    def is_there(self) -> bool:
        try:
            stat = os.stat(self.path)
            return (
                stat.st_mode & 0o7777 == 0o644
                and self.time in (None, stat.st_mtime)
                and _read(self.path) == self.content
            )
        except FileNotFoundError:
            return False

    def write(self) -> None:
        fresh = f"{self.path}.new"
        with open(fresh, "w", encoding="utf-8", newline="") as file:
            file.write(self.content)
            os.fchmod(file.fileno(), 0o644)
        if self.time is not None:
            os.utime(fresh, (self.time, self.time))
        os.replace(fresh, self.path)


class Curtain:
    """The directory of one site, in which the role has put the pattern of the page."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        if not os.path.isfile(self._path("pattern.html")):
            raise CurtainError(f"there is no curtain in {directory}: set one for the site and run site.yml first")

    def state(self) -> State:
        if not os.path.exists(self._path("drawn")):
            return State()
        try:
            announced = json.loads(_read(self._path("drawn.json")))
            return State(True, str(announced["detail"]), str(announced["until"] or ""))
        except (OSError, ValueError, KeyError, TypeError):
            return State(True)  # whatever it says, it is replaced

    def drawn(self, message: str, until: datetime | None) -> tuple[State, list[File]]:
        """Say what would be seen, and the files for it that are not there yet; the switch is the last."""
        page, shown = fill(_read(self._path("pattern.html")), message, until)
        state = State(True, shown, until.isoformat() if until else "")
        announcement = json.dumps({"status": 503, "detail": shown, "until": state.until or None})
        files = [
            File(self._path("drawn.json"), f"{announcement}\n"),
            File(self._path("drawn.html"), page),
            # nginx counts the seconds until the time of this file
            File(self._path("drawn"), "", until.timestamp() if until else 0),
        ]
        return state, [file for file in files if not file.is_there()]

    def open(self) -> None:
        """Have visitors see the site. The pages stay for the requests that are on their way to them."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path("drawn"))

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()
