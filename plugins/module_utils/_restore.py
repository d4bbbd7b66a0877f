# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A dump put in the place of a database: restored beside it, and exchanged by renaming both in one transaction."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from typing import Any

from ansible_collections.coralnet.server.plugins.module_utils._postgresql import (
    PostgresError,
    Server,
    free,
    identifier,
    literal,
    readable,
)

TRIES = 5
"""How often clients are sent away before the exchange is given up; they may come back in between."""

SHAPE = """
select to_jsonb(d) || jsonb_build_object('owner', pg_get_userbyid(datdba), 'charset', pg_encoding_to_char(encoding),
  'tablespace', spcname)
from pg_database d join pg_tablespace t on t.oid = dattablespace where datname = {}
"""
# A server's log has the row with which a statement failed, unless a superuser says otherwise
TELL_NO_ROWS = """
select set_config('log_error_verbosity', 'terse', false) from pg_roles where rolname = current_user and rolsuper
"""
SEND_AWAY = "select pg_terminate_backend(pid) from pg_stat_activity where datname in ({}, {})"
# What is set for the database itself is in no dump: who may connect, and settings. These six have lists as they are.
OWN_SETTINGS = """
with old as (select oid, datdba, datacl from pg_database where datname = {old})
select coalesce(json_agg(statement), '[]') from (
  select format('revoke all on database %I from public', {new}) as statement from old where datacl is not null
  union all
  select format('grant %s on database %I to %s%s', privilege_type, {new},
    case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end,
    case when is_grantable and grantee <> datdba then ' with grant option' else '' end)
  from old, aclexplode(datacl)
  union all
  select format('alter %s set %I to %s',
    case setrole when 0 then format('database %I', {new})
    else format('role %I in database %I', pg_get_userbyid(setrole), {new}) end,
    split_part(setting, '=', 1),
    case when split_part(setting, '=', 1) in ('local_preload_libraries', 'search_path', 'session_preload_libraries',
      'shared_preload_libraries', 'temp_tablespaces', 'unix_socket_directories')
    then coalesce(nullif(substr(setting, strpos(setting, '=') + 1), ''), {nothing})
    else quote_literal(substr(setting, strpos(setting, '=') + 1)) end)
  from old join pg_db_role_setting on setdatabase = old.oid, unnest(setconfig) as setting
) as statements
"""


class Restorer:
    """The database of a site, the one that is made beside it, and the one that it was."""

    def __init__(
        self,
        server: Server,
        database: str,
        *,
        local: bool,
        jobs: int,
        foreign: bool = False,
        statements: Sequence[str] = (),
    ) -> None:
        self._server = server
        self._database = database
        self._fresh = f"{database}_restoring"
        self._local = local
        self._jobs = jobs
        self._foreign = foreign
        self._statements = statements

    def check(self, path: str, *, whole: bool) -> None:
        """Look whether it could be done, before anything is; a restore finds a dump that is not whole by itself."""
        if not os.path.isfile(path):
            raise PostgresError(f"{path} is not there, or not for the account that restores it: name a dump that is")
        if whole:
            self._server.program("pg_restore", f"--file={os.devnull}", path)
        size = int(self._server.sql(f"select pg_database_size({literal(self._database)})"))
        if self._local:
            data = self._server.sql("show data_directory")
            if free(data) < size * 1.1:
                raise PostgresError(
                    f"a second {self._database} needs about {readable(size * 1.1)} beside the first, and"
                    f" {readable(free(data))} are free in {data}: make room there"
                )

    def restore(self, path: str, now: float) -> str:
        """Put the dump in the database's place; give the name that the database has now."""
        replaced = f"{self._database}_replaced_{time.strftime('%Y%m%d%H%M%S', time.gmtime(now))}"
        self._drop(self._fresh)
        try:
            shape = self._shape()
            self._server.sql(f"create database {identifier(self._fresh)} {self._like(shape)}")
            words = ["--exit-on-error", "--no-password", f"--jobs={self._jobs}", f"--dbname={self._fresh}"]
            if self._foreign:
                words += self._as_own(shape["owner"])
            self._server.program("pg_restore", *words, path)
            for number, statement in enumerate(self._statements, 1):
                self._change(number, statement)
            # Without statistics the first requests would be slow
            self._server.sql("analyze", database=self._fresh)
            self._take_over_settings()
            self._exchange(self._fresh, replaced)
        except PostgresError as exc:
            with contextlib.suppress(PostgresError):
                self._drop(self._fresh)
            raise PostgresError(f"{self._database} is as it was, because {path} could not be restored: {exc}") from exc
        return replaced

    def undo(self, replaced: str) -> None:
        """Put a database that was replaced back; what came in its place is in the dump."""
        self._drop(self._fresh)
        self._exchange(replaced, self._fresh)
        self._drop(self._fresh)

    def _as_own(self, owner: str) -> list[str]:
        """Restore what another server's roles owned as the owner's; who else had rights there is nobody here.

        Extensions are made before, because the owner may not be allowed to.
        """
        for name in self._server.sql("select extname from pg_extension", database=self._database).splitlines():
            self._server.sql(f"create extension if not exists {identifier(name)}", database=self._fresh)
        return ["--no-owner", "--no-privileges", "--no-comments", f"--role={owner}"]

    def _change(self, number: int, statement: str) -> None:
        try:
            self._server.sql(TELL_NO_ROWS, statement, database=self._fresh, terse=True)
        except PostgresError as exc:
            raise PostgresError(f"statement {number} for the copy: {exc}") from exc

    def _shape(self) -> dict[str, Any]:
        row: dict[str, Any] = json.loads(self._server.sql(SHAPE.format(literal(self._database))))
        return row

    def _like(self, row: dict[str, Any]) -> str:
        """Have the new database be as the other one is; its columns have other names in other versions."""
        words = [
            f"with owner {identifier(row['owner'])} template template0 encoding {literal(row['charset'])}",
            f"lc_collate {literal(row['datcollate'])} lc_ctype {literal(row['datctype'])}",
            f"connection limit {int(row['datconnlimit'])}",
        ]
        if row["tablespace"] != "pg_default":  # which only a superuser may name
            words.append(f"tablespace {identifier(row['tablespace'])}")
        locale = row.get("datlocale") or row.get("daticulocale")
        provider = {"i": "icu", "b": "builtin"}.get(row.get("datlocprovider", "c"))
        if provider and locale:
            words.append(f"locale_provider {provider} {provider}_locale {literal(locale)}")
        return " ".join(words)

    def _take_over_settings(self) -> None:
        names = {"old": literal(self._database), "new": literal(self._fresh), "nothing": literal('""')}
        for statement in json.loads(self._server.sql(OWN_SETTINGS.format(**names))):
            self._server.sql(statement)

    def _exchange(self, incoming: str, outgoing: str) -> None:
        """Send every client away and rename, which PostgreSQL refuses while one is connected."""
        send_away = SEND_AWAY.format(literal(self._database), literal(incoming))
        for tries in range(TRIES):
            try:
                self._server.sql(
                    send_away,
                    f"alter database {identifier(self._database)} rename to {identifier(outgoing)};"
                    f" alter database {identifier(incoming)} rename to {identifier(self._database)}",
                )
                return
            except PostgresError:
                if tries == TRIES - 1:
                    raise

    def _drop(self, name: str) -> None:
        self._server.sql(f"drop database if exists {identifier(name)} with (force)")
