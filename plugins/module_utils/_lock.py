# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One deployment of a site at a time: a file on the host that says whose, what for, and when it was last seen alive.

The same file keeps a time that was announced for the one who announced it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

RESERVED = ""
"""The run of a lock that nobody holds yet: it is kept for its owner."""

QUIET = 900
"""Seconds without a sign of life after which a run is most likely dead; the longest steps have a task each."""


class LockError(Exception):
    """Somebody else holds the lock; the message says who, and what to do."""


@dataclass(frozen=True)
class Holder:
    """Who deploys, and in which run."""

    run: str
    owner: str
    reason: str
    since: float
    seen: float
    closed: bool = False
    """A run has drawn the curtain, which is to be opened by whoever comes next."""
    torn: bool = False
    """A run has left code and database that may not fit, which is to be put right by whoever comes next."""

    @property
    def reserved(self) -> bool:
        return self.run == RESERVED

    def __str__(self) -> str:
        reason = self.reason or "no reason given"
        reason += ", the site is closed" if self.closed else ""
        reason += ", code and database may not fit" if self.torn else ""
        if self.reserved:
            return f"{self.owner} is to deploy ({reason})"
        began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.since))
        return f"{self.owner} has held the lock since {began} ({reason})"


class Lock:
    """The file; all that is done with it is done by one process at a time."""

    def __init__(self, path: str) -> None:
        self._path = path

    def holder(self) -> Holder | None:
        try:
            with open(self._path, encoding="utf-8") as file:
                return Holder(**json.load(file))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            return Holder("?", "somebody", f"{self._path} cannot be read", 0, 0)  # written whole: not by us

    def take(
        self,
        run: str,
        owner: str,
        reason: str,
        take_over: bool = False,
        closed: bool | None = None,
        torn: bool | None = None,
    ) -> Holder | None:
        """Hold the lock for a run, or keep it for its owner's next (RESERVED); give who had it before.

        LockError says that another run holds it, or that it is kept for another owner. What nobody says anew stays,
        as that the site is closed: whoever takes the lock over may die as well.
        """
        with self._alone():
            now = time.time()
            before = self.holder()
            own_time = before is not None and before.reserved and before.owner == owner
            same = before is not None and before.run == run and (not before.reserved or own_time)
            if before and not (same or own_time or take_over):
                raise LockError(self.refusal(before, now))
            since = before.since if before and same else now
            closed, torn = _still(before, closed, torn)
            self._write(Holder(run, owner, reason, since, now, closed, torn))
            return None if same else before

    def keep(self, run: str, owner: str, reason: str, closed: bool | None = None, torn: bool | None = None) -> None:
        """Give it back as release() does, and keep it for its owner's next run."""
        with self._alone():
            now = time.time()
            before = self.holder()
            if before and before.run == run:
                closed, torn = _still(before, closed, torn)
                self._write(Holder(RESERVED, owner, reason, now, now, closed, torn))

    def release(self, run: str, owner: str = "", take_over: bool = False) -> None:
        """Give it back; one that was taken over is another's, and so is one that is kept for another owner.

        One that is kept for opening the site, see opened(), or for putting it right, stays.
        """
        with self._alone():
            before = self.holder()
            kept = before is not None and (before.closed or before.torn or not (before.owner == owner or take_over))
            if before and before.reserved and kept:
                return
            if before and before.run == run:
                os.unlink(self._path)

    def opened(self) -> None:
        """Somebody has opened the site: what was kept so that the next run does is not kept any more.

        What is to be put right is to be put right all the same.
        """
        with self._alone():
            before = self.holder()
            if before and before.reserved and before.closed:
                if before.torn:
                    self._write(replace(before, closed=False))
                else:
                    os.unlink(self._path)

    @staticmethod
    def refusal(holder: Holder, now: float) -> str:
        if holder.reserved:
            return f"{holder}: wait until that is done, or ask, or take it over with -e take_over=true"
        quiet = int(now - holder.seen)
        seen = (
            f"was seen alive {quiet} s ago: wait for it to end, or ask; if"
            if quiet < QUIET
            else f"was not seen alive for {quiet // 60} minutes: if"
        )
        return f"{holder}, and {seen} that run is dead, take the lock over with -e take_over=true"

    def _write(self, holder: Holder) -> None:
        fresh = f"{self._path}.new"
        with open(fresh, "w", encoding="utf-8") as file:
            json.dump(asdict(holder), file)
        os.replace(fresh, self._path)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with open(f"{self._path}.flock", "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _still(before: Holder | None, closed: bool | None, torn: bool | None) -> tuple[bool, bool]:
    """Say of both what was said before, where nothing new is said."""
    if closed is None:
        closed = before is not None and before.closed
    if torn is None:
        torn = before is not None and before.torn
    return closed, torn


def remember(path: str, record: dict[str, Any]) -> None:
    """Add a line of JSON to a file, or nothing at all: the next line would be added to half of one."""
    line = json.dumps(record).encode() + b"\n"
    with open(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640), "ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
            line = b"\n" + line  # what a power cut has left of a line is no part of this one
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        except OSError:
            file.truncate(size)
            raise
