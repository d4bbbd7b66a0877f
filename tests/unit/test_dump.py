"""Dumps and restores: names, space, what a failure leaves. PostgreSQL is simulated; the scenarios have a real one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.coralnet.server.plugins.module_utils import _postgresql
from ansible_collections.coralnet.server.plugins.module_utils._dump import Dumper, known, path_of
from ansible_collections.coralnet.server.plugins.module_utils._postgresql import (
    PostgresError,
    Server,
    environment,
    free,
    identifier,
    last_words,
    literal,
    readable,
)
from ansible_collections.coralnet.server.plugins.module_utils._restore import Restorer

ONE, TWO = "20260101T000000Z-1111111111", "20260201T000000Z-2222222222"
SHAPE = {
    "owner": "reef",
    "charset": "UTF8",
    "tablespace": "pg_default",
    "datcollate": "C.UTF-8",
    "datctype": "C.UTF-8",
    "datconnlimit": -1,
    "datlocprovider": "c",
}


class Postgres:
    """Takes argument lists as `run` does. `refuse` maps a piece of a command to what is said when it is refused."""

    def __init__(self, data: Path) -> None:
        self.calls: list[str] = []
        self.words: list[str] = []
        self.refuse: dict[str, str] = {}
        self.shape = SHAPE
        self._data = data

    def __call__(self, argv: list[str]) -> tuple[int, str, str]:
        program = Path(argv[0]).name
        words = [word for word in argv[1:] if word not in ("--command", "--no-password")]
        call = " ".join([program, *(word for word in words if program != "psql" or not word.startswith("--"))])
        self.calls.append(call)
        self.words.append(" ".join(argv))
        for name in words:
            if program == "pg_dump" and name.startswith("--file="):
                Path(name.removeprefix("--file=")).write_text("half a dump")
        for piece, answer in self.refuse.items():
            if piece in call:
                return 1, "", f"{program}: error: {answer}\n"
        if "pg_database_size" in call:
            return 0, "1000\n", ""
        if "show data_directory" in call:
            return 0, f"{self._data}\n", ""
        if "to_jsonb" in call:
            return 0, json.dumps(self.shape), ""
        lists = {"pg_extension": "citext\n", "json_agg": '["grant CONNECT on database reef_restoring to reader"]'}
        return 0, "".join(answer for piece, answer in lists.items() if piece in call), ""


@pytest.fixture
def postgres(tmp_path: Path) -> Postgres:
    return Postgres(tmp_path)


@pytest.fixture
def server(postgres: Postgres, tmp_path: Path) -> Server:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("psql", "pg_dump", "pg_restore"):
        (programs / name).touch()
    return Server(postgres, "postgres", str(programs))


@pytest.fixture
def dumper(server: Server, tmp_path: Path) -> Dumper:
    (tmp_path / "dumps").mkdir()
    return Dumper(server, "reef", str(tmp_path / "dumps"))


def test_a_name_says_when_before_what_and_for_what() -> None:
    path = path_of("/dumps", ONE, TWO, 1795515300.9)

    assert path == f"/dumps/20261124T101500Z_{ONE}_{TWO}.pgc"
    dump = known(path)
    assert dump
    assert (dump.path, dump.made, dump.running, dump.coming) == (path, 1795515300, ONE, TWO)


@pytest.mark.parametrize("name", ["reef.pgc", f"20261124T101500Z_{ONE}_{TWO}.pgc.new", f"20261124T101500Z_{ONE}.pgc"])
def test_another_file_is_no_dump(name: str) -> None:
    assert known(f"/dumps/{name}") is None


@pytest.mark.parametrize("release", ["v_2", "feature/v2"])
def test_a_release_that_would_not_be_found_again(release: str) -> None:
    with pytest.raises(PostgresError, match="a release's name has no '_' and no '/'"):
        path_of("/dumps", ONE, release, 0)


def test_a_dump_gets_its_name_when_it_was_read_back(dumper: Dumper, postgres: Postgres, tmp_path: Path) -> None:
    path = tmp_path / "dumps" / f"20261124T101500Z_{ONE}_{TWO}.pgc"

    assert dumper.take(str(path)) == len("half a dump")
    assert postgres.calls == [
        f"pg_dump --format=custom --lock-wait-timeout=60000 --file={path}.new reef",
        f"pg_restore --file=/dev/null {path}.new",
    ]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("program", ["pg_dump", "pg_restore"])
def test_a_dump_that_fails_leaves_nothing(dumper: Dumper, postgres: Postgres, tmp_path: Path, program: str) -> None:
    postgres.refuse[program] = "no more room"
    path = tmp_path / "dumps" / f"20261124T101500Z_{ONE}_{TWO}.pgc"

    with pytest.raises(PostgresError) as refusal:
        dumper.take(str(path))

    complaint = f"{program} failed: {program}: error: no more room"
    assert str(refusal.value) == f"reef could not be dumped to {path.parent}: {complaint}"
    assert list(path.parent.iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_nothing_else(dumper: Dumper, tmp_path: Path) -> None:
    path = tmp_path / "dumps" / f"20261124T101500Z_{ONE}_{TWO}.pgc"
    for name in (f"20261123T101500Z_{ONE}_{TWO}.pgc.new", "notes.new", "reef.pgc"):
        (path.parent / name).touch()

    dumper.take(str(path))

    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, "notes.new", "reef.pgc"]


def test_the_oldest_dumps_go_and_other_files_stay(dumper: Dumper, tmp_path: Path) -> None:
    names = [f"2026112{day}T101500Z_{ONE}_{TWO}.pgc" for day in range(1, 5)]
    for name in [*names, "20200101.pgc"]:
        (tmp_path / "dumps" / name).touch()

    gone = dumper.prune(2)

    assert gone == [str(tmp_path / "dumps" / name) for name in names[:2]]
    assert sorted(each.name for each in (tmp_path / "dumps").iterdir()) == ["20200101.pgc", *names[2:]]
    assert dumper.prune(2) == []


def test_room_is_asked_for_first(dumper: Dumper, tmp_path: Path) -> None:
    (tmp_path / "dumps" / f"20261124T101500Z_{ONE}_{TWO}.pgc").write_text("123")

    dumper.check_space(1.1)
    with pytest.raises(PostgresError) as refusal:
        dumper.check_space(1e15)

    assert str(refusal.value).startswith("the dump of reef needs 1000000000.0 GB, and ")
    assert str(refusal.value).endswith("or lower postgresql_dump_space (the last dump has 3 B)")


def test_room_is_asked_for_where_the_directory_will_be(tmp_path: Path) -> None:
    assert free(f"{tmp_path}/not/yet") > 0


def test_a_restore_exchanges_the_databases_last(server: Server, postgres: Postgres) -> None:
    restorer = Restorer(server, "reef", local=True, jobs=2)

    assert restorer.restore("/dumps/reef.pgc", 1795515300) == "reef_replaced_20261124101500"
    assert [call for call in postgres.calls if "json" not in call] == [
        'psql drop database if exists "reef_restoring" with (force)',
        'psql create database "reef_restoring" with owner "reef" template template0 encoding \'UTF8\''
        " lc_collate 'C.UTF-8' lc_ctype 'C.UTF-8' connection limit -1",
        "pg_restore --exit-on-error --jobs=2 --dbname=reef_restoring /dumps/reef.pgc",
        "psql analyze",
        "psql grant CONNECT on database reef_restoring to reader",
        "psql select pg_terminate_backend(pid) from pg_stat_activity where datname in ('reef', 'reef_restoring')"
        ' alter database "reef" rename to "reef_replaced_20261124101500";'
        ' alter database "reef_restoring" rename to "reef"',
    ]


def test_another_servers_dump_becomes_the_owners_and_is_changed_before_the_exchange(
    server: Server, postgres: Postgres
) -> None:
    changes = ["update people set email = ''", "delete from sessions"]
    Restorer(server, "reef", local=True, jobs=2, foreign=True, statements=changes).restore("/dumps/reef.pgc", 0)

    calls = [call for call in postgres.calls if "json" not in call]
    restored = calls.index(
        "pg_restore --exit-on-error --jobs=2 --dbname=reef_restoring"
        " --no-owner --no-privileges --no-comments --role=reef /dumps/reef.pgc"
    )
    assert calls[restored - 2 : restored] == [
        "psql select extname from pg_extension",
        'psql create extension if not exists "citext"',
    ]
    assert [call.rpartition("rolsuper\n ")[2] for call in calls[restored + 1 : restored + 4]] == [
        *changes,
        "psql analyze",
    ]
    assert "rename" in calls[-1]


def test_a_change_that_fails_is_told_without_values(server: Server, postgres: Postgres) -> None:
    postgres.refuse["delete"] = "no"
    restorer = Restorer(server, "reef", local=True, jobs=2, statements=["update a", "delete b", "update c"])

    with pytest.raises(PostgresError, match=r"^reef is as it was, because .*: statement 2 for the copy: psql failed: "):
        restorer.restore("/dumps/reef.pgc", 0)

    assert not any("rename" in call or "update c" in call for call in postgres.calls)
    assert ["terse" in words for words in postgres.words if "delete b" in words] == [True]
    assert postgres.calls[-1] == 'psql drop database if exists "reef_restoring" with (force)'


@pytest.mark.parametrize("column", ["datlocale", "daticulocale"])
def test_a_restored_database_has_the_locale_of_the_other(server: Server, postgres: Postgres, column: str) -> None:
    postgres.shape = {**SHAPE, "datlocprovider": "i", column: "nl-NL", "tablespace": "fast"}

    Restorer(server, "reef", local=True, jobs=2).restore("/dumps/reef.pgc", 0)

    words = "connection limit -1 tablespace \"fast\" locale_provider icu icu_locale 'nl-NL'"
    assert any(call.endswith(words) for call in postgres.calls)


@pytest.mark.parametrize("piece", ["create database", "pg_restore", "analyze", "grant", "rename"])
def test_a_restore_that_fails_leaves_the_database(server: Server, postgres: Postgres, piece: str) -> None:
    postgres.refuse[piece] = "no"

    with pytest.raises(PostgresError, match=r"^reef is as it was, because /dumps/reef.pgc could not be restored: "):
        Restorer(server, "reef", local=True, jobs=2).restore("/dumps/reef.pgc", 0)

    assert postgres.calls[-1] == 'psql drop database if exists "reef_restoring" with (force)'
    assert sum("rename" in call for call in postgres.calls) == (5 if piece == "rename" else 0)


def test_a_restore_is_undone(server: Server, postgres: Postgres) -> None:
    Restorer(server, "reef", local=True, jobs=2).undo("reef_replaced_20261124101500")

    assert postgres.calls[1].endswith(
        'alter database "reef" rename to "reef_restoring";'
        ' alter database "reef_replaced_20261124101500" rename to "reef"'
    )
    assert postgres.calls[-1] == postgres.calls[0] == 'psql drop database if exists "reef_restoring" with (force)'


def test_a_restore_asks_for_room_and_for_the_dump(
    server: Server, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = Restorer(server, "reef", local=True, jobs=2)
    with pytest.raises(PostgresError, match=r"^/no/such.pgc is not there, or not for the account that restores it"):
        restorer.check("/no/such.pgc", whole=True)

    dump = tmp_path / "reef.pgc"
    dump.touch()
    restorer.check(str(dump), whole=True)
    assert f"pg_restore --file=/dev/null {dump}" in postgres.calls
    monkeypatch.setattr(_postgresql.os, "statvfs", lambda _path: type("Full", (), {"f_bavail": 1, "f_frsize": 1000}))
    with pytest.raises(PostgresError, match=r"^a second reef needs about 1 kB beside the first, and 1 kB are free in "):
        restorer.check(str(dump), whole=False)
    Restorer(server, "reef", local=False, jobs=2).check(str(dump), whole=False)


def test_a_program_that_is_not_there(postgres: Postgres) -> None:
    with pytest.raises(PostgresError, match=r"^/no/such/psql is not there: site.yml installs"):
        Server(postgres, "postgres", "/no/such").sql("select 1")


def test_libpq_is_told_where_the_server_is() -> None:
    params = {
        "login_host": "",
        "login_password": "",
        "ca_certificate": "",
        "login_port": 5432,
        "login_user": "postgres",
    }

    assert environment({**params, "ssl_mode": "prefer"}) == {
        "PGPORT": "5432",
        "PGUSER": "postgres",
        "PGSSLMODE": "prefer",
    }
    away = {**params, "login_host": "db.example", "login_password": "secret", "ca_certificate": "/ca.pem"}
    told = environment({**away, "ssl_mode": "verify-full"})
    assert (told["PGHOST"], told["PGPASSWORD"], told["PGSSLROOTCERT"]) == ("db.example", "secret", "/ca.pem")


def test_names_and_texts_are_quoted() -> None:
    assert (identifier('re"ef'), literal("re'ef")) == ('"re""ef"', "'re''ef'")


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (999, "999 B"), (1e6, "1 MB"), (12_345_678, "12 MB"), (3.21e10, "32.1 GB")]
)
def test_bytes_as_people_say_them(count: float, words: str) -> None:
    assert readable(count) == words


def test_last_words_are_one_line() -> None:
    assert last_words("one\n\ntwo\nthree\n four \n") == "two three four"
