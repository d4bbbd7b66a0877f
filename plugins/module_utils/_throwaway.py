# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a walk makes in a site, and how it is removed again, whoever dies on the way."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.coralnet.server.plugins.module_utils._smoke import SmokeError

RUN = re.compile(r"smoke[0-9a-f]{10}")

Program = Callable[[list[str], str], tuple[int, str, str]]
"""Takes a command as words and its standard input; returns its exit code, output and errors."""


class ThrowawayError(SmokeError):
    """An account could not be made, or something could not be removed."""


class Slip:
    """A file that says what a walk may have left, and keeps two from walking at a time; without a path, nothing."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        self.left = ""
        """The run that was killed before it could remove what it had made."""

    def __enter__(self) -> Slip:
        if self._path:
            try:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as exc:
                raise ThrowawayError(
                    f"what a walk may leave cannot be written to {self._path}: {exc.strerror}"
                ) from exc
            self._take()
        return self

    def __exit__(self, *_failure: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _take(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ThrowawayError(f"another walk is under way, which holds {self._path}") from exc
        self.left = os.read(self._descriptor, 100).decode("ascii", "replace").strip()
        if self.left and not RUN.fullmatch(self.left):
            raise ThrowawayError(f"{self._path} is no slip of a walk: it says {self.left!r}")

    def write(self, run: str) -> None:
        """Say whose things there may be; empty is nobody's."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{run}\n".encode() if run else b"", 0)
            os.fsync(self._descriptor)


class Accounts:
    """The site's command that makes accounts, and removes them with what is theirs."""

    def __init__(self, command: Sequence[str], program: Program, objects: Sequence[Mapping[str, str]] = ()) -> None:
        self._command = list(command)
        self._program = program
        self._objects = [dict(each) for each in objects]

    def make(self, run: str, accounts: Sequence[Mapping[str, Any]]) -> None:
        if accounts:
            self._call({"run": run, "make": list(accounts)}, "make the account")

    def remove(self, run: str, cookies: Mapping[str, set[str]] | None = None) -> dict[str, int]:
        """Remove everything with the run's name; returns how many of what there were."""
        kept = {name: sorted(values) for name, values in (cookies or {}).items()}
        said = self._call({"run": run, "remove": self._objects, "cookies": kept}, "remove what the walk has made")
        return {str(kind): int(count) for kind, count in said.items()}

    def _call(self, task: dict[str, Any], what: str) -> dict[str, Any]:
        if not self._command:
            return {}
        rc, out, err = self._program(self._command, json.dumps(task))
        if rc:
            words = (err or out).strip().splitlines()[-1:] or [f"exit code {rc}"]
            raise ThrowawayError(f"the site's command could not {what}: {words[0]}")
        lines = out.strip().splitlines()
        return dict(json.loads(lines[-1])) if lines else {}
