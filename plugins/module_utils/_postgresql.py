# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A database server, spoken to by PostgreSQL's own programs."""

from __future__ import annotations

import os
import shutil
from typing import Any

from ansible_collections.coralnet.server.plugins.module_utils._run import Run

SPEC: dict[str, dict[str, Any]] = {
    "database": {"type": "str", "required": True},
    "login_host": {"type": "str", "default": ""},
    "login_port": {"type": "int", "default": 5432},
    "login_user": {"type": "str", "default": "postgres"},
    "login_password": {"type": "str", "default": "", "no_log": True},
    "login_database": {"type": "str", "default": "postgres"},
    "ssl_mode": {
        "type": "str",
        "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
        "default": "prefer",
    },
    "ca_certificate": {"type": "str", "default": ""},
    "programs": {"type": "str", "default": ""},
}
"""How the modules are told where the server is; see the fragment of their documentation."""


class PostgresError(Exception):
    """A program of PostgreSQL's refused; the message says what was tried, and its words."""


def environment(params: dict[str, Any]) -> dict[str, str]:
    """Tell libpq where the server is. Its programs read the password from here, where others do not see it."""
    named = {
        "PGHOST": params["login_host"],
        "PGPASSWORD": params["login_password"],
        "PGSSLROOTCERT": params["ca_certificate"],
    }
    fixed = {
        "PGPORT": str(params["login_port"]),
        "PGUSER": params["login_user"],
        "PGSSLMODE": params["ssl_mode"],
    }
    return {**fixed, **{name: value for name, value in named.items() if value}}


class Server:
    """The server, asked in SQL or by a program."""

    def __init__(self, run: Run, maintenance: str, programs: str = "") -> None:
        self._run = run
        self._maintenance = maintenance
        self._programs = programs

    def sql(self, *statements: str, database: str = "", terse: bool = False) -> str:
        """Run statements, each a transaction of its own, and give what they answer.

        What PostgreSQL says of a refusal may have values of rows in it, unless it is to be terse.
        """
        words = [word for statement in statements for word in ("--command", statement)]
        quiet = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--no-password", "--set=ON_ERROR_STOP=1"]
        quiet += ["--set=VERBOSITY=terse"] if terse else []
        return self.program("psql", *quiet, f"--dbname={database or self._maintenance}", *words).strip()

    def program(self, name: str, *words: str) -> str:
        path = os.path.join(self._programs, name) if self._programs else shutil.which(name)
        if not path or not os.path.exists(path):
            raise PostgresError(f"{path or name} is not there: site.yml installs PostgreSQL's programs with this role")
        rc, out, err = self._run([path, *words])
        if rc != 0:
            raise PostgresError(f"{name} failed: {last_words(err)}")
        return out


def last_words(text: str, lines: int = 3) -> str:
    """Give the end of what a program has said, in one line."""
    return " ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def readable(count: float) -> str:
    """Say a number of bytes as people do."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def free(directory: str) -> int:
    """Count the bytes that are free where a directory is, or will be."""
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    stat = os.statvfs(directory)
    return stat.f_bavail * stat.f_frsize
