# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Dumps of a site's database: files whose names say when, before which release and for which they were made."""

from __future__ import annotations

import contextlib
import os
import re
import time
from calendar import timegm
from dataclasses import dataclass

from ansible_collections.coralnet.server.plugins.module_utils._postgresql import (
    PostgresError,
    Server,
    free,
    literal,
    readable,
)

STAMP = "%Y%m%dT%H%M%SZ"
NAME = re.compile(r"(\d{8}T\d{6}Z)_([^_/]*)_([^_/]*)\.pgc")
UNFINISHED = ".new"
# Somebody who changes a table keeps a dump waiting, behind which visitors would wait: a minute at most (in ms)
OPTIONS = ["--format=custom", "--no-password", "--lock-wait-timeout=60000"]


@dataclass(frozen=True)
class Dump:
    """A finished dump: it gets its name last."""

    path: str
    made: float
    running: str
    coming: str


def known(path: str) -> Dump | None:
    """Read a dump's name; nothing for a file that is not one."""
    found = NAME.fullmatch(os.path.basename(path))
    if not found:
        return None
    return Dump(path, float(timegm(time.strptime(found[1], STAMP))), found[2], found[3])


def path_of(directory: str, running: str, coming: str, now: float) -> str:
    name = f"{time.strftime(STAMP, time.gmtime(now))}_{running}_{coming}.pgc"
    if not NAME.fullmatch(name):
        raise PostgresError(f"a release's name has no '_' and no '/': {running!r}, {coming!r}")
    return os.path.join(directory, name)


class Dumper:
    """The dumps of one database in their directory."""

    def __init__(self, server: Server, database: str, directory: str) -> None:
        self._server = server
        self._database = database
        self._directory = directory

    def dumps(self) -> list[Dump]:
        """List them, oldest first."""
        names = sorted(os.listdir(self._directory)) if os.path.isdir(self._directory) else []
        found = [known(os.path.join(self._directory, name)) for name in names]
        return [dump for dump in found if dump]

    def check_space(self, factor: float) -> None:
        size = int(self._server.sql(f"select pg_database_size({literal(self._database)})"))
        available = free(self._directory)
        if available < size * factor:
            last = [os.path.getsize(dump.path) for dump in self.dumps()[-1:]]
            hint = f" (the last dump has {readable(last[0])})" if last else ""
            raise PostgresError(
                f"the dump of {self._database} needs {readable(size * factor)}, and {readable(available)} are free in"
                f" {self._directory}: make room there, set postgresql_dump_directory to another place, or lower"
                f" postgresql_dump_space{hint}"
            )

    def take(self, path: str) -> int:
        """Dump, read the whole dump back, and only then give it its name; give its size."""
        fresh = f"{path}{UNFINISHED}"
        self._clean()
        try:
            self._server.program("pg_dump", *OPTIONS, f"--file={fresh}", self._database)
            # A list would be read from the beginning of the file alone
            self._server.program("pg_restore", f"--file={os.devnull}", fresh)
            os.rename(fresh, path)
        except PostgresError as exc:
            raise PostgresError(f"{self._database} could not be dumped to {self._directory}: {exc}") from exc
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fresh)
        return os.path.getsize(path)

    def prune(self, keep: int) -> list[str]:
        """Remove the oldest beyond the number to keep."""
        gone = [dump.path for dump in self.dumps()][:-keep]
        for path in gone:
            os.unlink(path)
        return gone

    def _clean(self) -> None:
        """Remove what runs that were killed have left."""
        for name in os.listdir(self._directory):
            if name.endswith(UNFINISHED) and NAME.fullmatch(name[: -len(UNFINISHED)]):
                os.unlink(os.path.join(self._directory, name))
