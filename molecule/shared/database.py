"""What the scenarios' tests ask of a database."""

from __future__ import annotations

import shlex
from typing import Any


def sql(host: Any, account: str, database: str, query: str, password: str = "", user: str = "") -> Any:
    """Ask in SQL, over the unix socket as an account of the host, or over TCP with a password."""
    connection = f"-h 127.0.0.1 -U {user or account}" if password else ""
    command = f"psql -qAt {connection} -c {shlex.quote(query)} {database}"
    return host.run(f"cd / && PGPASSWORD={shlex.quote(password)} runuser -u {account} -- {command}")
