"""Dumps before migrations, and their way back, with the faults that a disk, a copy and a stubborn client make."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from shared.database import sql
from shared.visitor import changed

Play = Callable[..., Any]
REEF = {
    "postgresql_dump_database": "reef",
    "postgresql_dump_running": "20260101T000000Z-1111111111",
    "postgresql_dump_coming": "20260201T000000Z-2222222222",
}
AWAY = {
    "postgresql_server": False,
    "postgresql_login_host": "127.0.0.1",
    "postgresql_login_user": "manager",
    "postgresql_login_password": "managers-password",
    "postgresql_ssl_mode": "require",
    "postgresql_dump_database": "away",
}
DUMPS = "/var/backups/postgresql/reef"


@pytest.fixture
def play(playbook: Play) -> Play:
    """Run `dump` or `restore` with these variables."""
    return lambda name, *words, **variables: playbook(
        *words, "-e", json.dumps(variables), path=f"molecule/postgresql/{name}.yml"
    )


@pytest.fixture
def filled(host: Any) -> Iterator[None]:
    """Give the database a table that does not compress."""
    query = "create table corals as select gen_random_uuid() from generate_series(1, 20000)"
    assert sql(host, "postgres", "reef", f"set role reef; {query}").rc == 0
    yield
    assert sql(host, "postgres", "reef", "drop table corals").rc == 0


@pytest.fixture
def small_disk(host: Any) -> Iterator[Callable[[str], str]]:
    """Mount a disk of a size, to dump to."""
    path = "/var/backups/small"

    def mount(size: str) -> str:
        host.run_expect([0], f"mkdir -p {path} && mount -t tmpfs -o size={size} tmpfs {path}")
        return path

    yield mount
    host.run_expect([0], f"umount {path}")


def told(result: Any) -> str:
    assert result.returncode != 0, result.stdout
    said = re.search(r"Module failed: (.*?)\nOrigin: ", result.stdout + result.stderr, re.DOTALL)
    assert said, result.stdout
    return said[1]


def files(host: Any, directory: str = DUMPS) -> list[str]:
    return list(host.check_output(f"ls -A {directory}").split())


@pytest.mark.usefixtures("filled")
def test_a_dump_is_whole_and_for_the_administrators_eyes(host: Any, play: Play) -> None:
    assert changed(play("dump", "--check", **REEF)) == 1
    assert not host.file(DUMPS).exists

    result = play("dump", **REEF)

    assert changed(result) == 1
    [name] = files(host)
    assert re.fullmatch(r"\d{8}T\d{6}Z_20260101T000000Z-1111111111_20260201T000000Z-2222222222\.pgc", name)
    file = host.file(f"{DUMPS}/{name}")
    assert f"- {file.path}\n" in result.stdout
    assert f"- {file.size} bytes\n" in result.stdout
    assert (file.user, file.mode) == ("postgres", 0o600)
    assert (host.file(DUMPS).user, host.file(DUMPS).mode) == ("postgres", 0o700)
    assert "TABLE DATA public corals reef" in host.check_output(f"pg_restore --list {file.path}")


def test_only_so_many_are_kept_and_each_is_copied(host: Any, play: Play) -> None:
    [first] = files(host)
    copy = ["cp", "{path}", "/var/tmp/copy.pgc"]

    result = play("dump", **REEF, postgresql_keep_dumps=1, postgresql_dump_copy_command=copy)

    assert changed(result) == 1
    [second] = files(host)
    assert second > first
    host.run_expect([0], f"cmp /var/tmp/copy.pgc {DUMPS}/{second}")


def test_a_copy_that_fails(host: Any, play: Play) -> None:
    before = files(host)

    message = told(play("dump", **REEF, postgresql_dump_copy_command=["cp", "{path}", "/no/such/place"]))

    [made] = set(files(host)) - set(before)
    assert message.startswith(
        f"the dump is in {DUMPS}/{made}, and cp (postgresql_dump_copy_command) could not copy it:"
    )
    assert "/no/such/place" in message


@pytest.mark.usefixtures("filled")
def test_a_disk_that_is_full(host: Any, play: Play, small_disk: Callable[[str], str]) -> None:
    directory = small_disk("100k")

    message = told(play("dump", **REEF, postgresql_dump_directory=directory))
    assert message.startswith("the dump of reef needs ")
    assert f"are free in {directory}: make room there, set postgresql_dump_directory" in message

    message = told(play("dump", **REEF, postgresql_dump_directory=directory, postgresql_dump_space=0))
    assert message.startswith(f"reef could not be dumped to {directory}: pg_dump failed: ")
    assert "No space left on device" in message
    assert files(host, directory) == []


@pytest.mark.usefixtures("filled")
def test_a_restore_keeps_what_it_replaces_and_what_was_set(host: Any, play: Play) -> None:
    changed(play("dump", **REEF))
    dump = f"{DUMPS}/{files(host)[-1]}"
    for query in (
        "alter database reef set search_path to '$user', public",
        "alter role survey in database reef set statement_timeout to '61s'",
        "revoke temporary on database reef from public",
    ):
        assert sql(host, "postgres", "postgres", query).rc == 0
    assert sql(host, "postgres", "reef", "delete from corals").rc == 0
    asked = (
        "select datname = 'reef', pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype,"
        " array(select acl::text from unnest(datacl) as acl order by 1),"
        " array(select (setrole::regrole, setconfig) from pg_db_role_setting where setdatabase = d.oid order by 1)"
        " from pg_database d where datname like 'reef%' order by datname"
    )
    before = sql(host, "postgres", "postgres", asked).stdout

    # A client that comes back at once when it is sent away
    client = "for i in 1 2; do psql reef -c 'select pg_sleep(60)'; done"
    host.run_expect([0], f"cd / && runuser -u postgres -- sh -c {shlex.quote(client)} >/dev/null 2>&1 &")
    result = play("restore", **REEF, postgresql_restore_path=dump)

    assert changed(result) == 1
    replaced = re.search(r"replaced (reef_replaced_\d{14})", result.stdout)
    assert replaced
    assert sql(host, "postgres", "reef", "select count(*) from corals").stdout == "20000\n"
    assert sql(host, "postgres", replaced[1], "select count(*) from corals").stdout == "0\n"
    after = sql(host, "postgres", "postgres", asked).stdout
    assert after == before + before.replace("t|", "f|", 1)
    assert (
        sql(host, "postgres", "reef", "select tableowner from pg_tables where tablename = 'corals'").stdout == "reef\n"
    )

    undone = play("restore", **REEF, postgresql_restore_undo=replaced[1])
    assert changed(undone) == 1
    assert sql(host, "postgres", "reef", "select count(*) from corals").stdout == "0\n"
    assert sql(host, "postgres", "postgres", asked).stdout == before


def test_a_restore_that_fails_changes_nothing(host: Any, play: Play) -> None:
    dump = f"{DUMPS}/{files(host)[-1]}"
    host.run_expect([0], f"head -c 20000 {dump} > /var/tmp/half.pgc; chmod 644 /var/tmp/half.pgc")
    before = host.check_output("cd / && runuser -u postgres -- psql -Atl")

    for words in ([], ["--check"]):
        message = told(play("restore", *words, **REEF, postgresql_restore_path="/var/tmp/half.pgc"))
        assert "pg_restore failed: " in message
        assert ("reef is as it was" in message) == (not words)
    message = told(play("restore", **REEF, postgresql_restore_path="/no/such.pgc"))
    assert message.startswith("/no/such.pgc is not there, or not for the account that restores it")

    assert host.check_output("cd / && runuser -u postgres -- psql -Atl") == before


def test_a_server_elsewhere_by_an_administrator_who_is_no_superuser(host: Any, play: Play) -> None:
    assert sql(host, "postgres", "away", "set role away; create table reefs as select 7 as id").rc == 0
    result = play("dump", "-vvv", **AWAY)
    assert changed(result) == 1
    assert "login_password: VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in result.stdout
    assert host.file("/var/backups/postgresql/away").user == "root"
    [dump] = files(host, "/var/backups/postgresql/away")
    assert sql(host, "postgres", "away", "delete from reefs").rc == 0

    result = play("restore", **AWAY, postgresql_restore_path=f"/var/backups/postgresql/away/{dump}")

    assert changed(result) == 1
    assert sql(host, "postgres", "away", "set role away; select * from reefs").stdout == "7\n"
