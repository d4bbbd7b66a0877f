"""Databases and roles, asked as those who use them ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from shared.database import sql
from shared.visitor import changed

PASSWORD = 'it\'s $HOME, "quoted" #1'


@pytest.mark.parametrize(("database", "owner"), [("reef", "reef"), ("survey", "survey"), ("away", "away")])
def test_databases(host: Any, database: str, owner: str) -> None:
    query = (
        f"select pg_get_userbyid(datdba), pg_encoding_to_char(encoding) from pg_database where datname = '{database}'"
    )
    assert sql(host, "postgres", "postgres", query).stdout == f"{owner}|UTF8\n"


def test_extensions(host: Any) -> None:
    query = "select extname from pg_extension where extname in ('pg_trgm', 'citext') order by 1"
    assert sql(host, "postgres", "reef", query).stdout == "citext\npg_trgm\n"


def test_a_role_without_password_comes_from_its_own_account_only(host: Any) -> None:
    host.run_expect([0, 9], "useradd --system reef")
    assert sql(host, "reef", "reef", "select current_user").stdout == "reef\n"
    assert sql(host, "nobody", "reef", "select 1").rc != 0
    assert sql(host, "nobody", "reef", "select 1", password="guess", user="reef").rc != 0


@pytest.mark.parametrize(
    ("role", "password"), [("survey", PASSWORD), ("away", "away-password")], ids=["survey", "away"]
)
def test_a_role_with_password_comes_over_tcp(host: Any, role: str, password: str) -> None:
    # and may make tables, as migrations do
    query = "create table if not exists seen (id int); select current_user"
    assert sql(host, "nobody", role, query, password, role).stdout.endswith(f"{role}\n")
    assert sql(host, "nobody", role, "select 1", "wrong", role).rc != 0


def test_passwords_are_kept_as_scram(host: Any) -> None:
    query = "select count(*) from pg_authid where rolpassword is not null and rolpassword not like 'SCRAM-SHA-256$%'"
    assert sql(host, "postgres", "postgres", query).stdout == "0\n"


def test_only_loopback_listens(host: Any) -> None:
    listening = host.check_output("ss --no-header --listening --tcp --numeric sport = :5432").splitlines()
    assert listening
    assert all("127.0.0.1:5432" in line or "[::1]:5432" in line for line in listening)


def test_a_changed_password_is_a_change(host: Any, playbook: Callable[..., Any]) -> None:
    assert changed(playbook()) == 0
    secret = '{"postgresql_roles": [{"name": "away", "password": "a-new-password"}]}'
    result = playbook("--diff", "-vvv", "-e", secret.replace("}]}", '}], "postgresql_databases": []}'))
    assert changed(result) == 1
    shown = [line for line in result.stdout.splitlines() if "a-new-password" in line]
    assert not shown, shown[0][:200]
    assert sql(host, "nobody", "away", "select 1", "a-new-password", "away").stdout == "1\n"
