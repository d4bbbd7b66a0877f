"""A copy of production for staging: whole, without people's addresses, or not at all. Told from staging's host."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import testinfra
from shared.database import sql
from shared.visitor import Visitor, changed, png

ROOT = "/srv/www/coralnet"
MEDIA = f"{ROOT}/shared/media"
DOMAIN = "reef-people.example"
PEOPLE = {"ann": "coral-ann-0f1e", "bob": "coral-bob-0f1e"}
PLACES = ("/var/lib/coralnet-refresh", f"{MEDIA}.refreshing", f"{MEDIA}.replaced")
Play = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.on("debian-13")


@pytest.fixture
def production(host: Any) -> Any:
    return testinfra.get_host("docker://" + host.backend.name.replace("debian-13", "debian-12"))


@pytest.fixture
def refresh(playbook: Play) -> Play:
    return partial(playbook, path="playbooks/refresh_staging.yml")


def ask(host: Any, query: str, database: str = "coralnet") -> str:
    done = sql(host, "postgres", database, query)
    assert done.rc == 0, done.stderr
    return str(done.stdout).strip()


def databases(host: Any) -> list[str]:
    return ask(host, "select datname from pg_database where datname like 'coralnet%' order by 1").split()


def state(host: Any) -> dict[str, Any]:
    """Tell everything of a site that a copy changes."""
    tables = ask(host, "select tablename from pg_tables where schemaname = 'public' order by 1").split()
    columns = "select string_agg(table_name || column_name, ',' order by 1) from information_schema.columns"
    return {
        "rows": {table: ask(host, f"select count(*) from {table}") for table in tables},
        "people": ask(host, "select username, email, password from auth_user order by id"),
        "columns": ask(host, f"{columns} where table_schema = 'public'"),
        "databases": databases(host),
        "uploads": host.check_output(f"cd {MEDIA} && find . -printf '%p %m %u:%g %s\\n' | sort"),
    }


def nothing_is_left(*hosts: Any) -> None:
    for host in hosts:
        for place in PLACES:
            assert not host.file(place).exists, place
        assert not host.file(f"{ROOT}/lock.json").exists
        assert not host.file("/var/lib/nginx-curtain/coralnet/drawn").exists


def serves(tester: Visitor) -> None:
    answer = tester.get("/")
    assert answer.status_code == 200
    assert 'content="v2"' in answer.text


def words(result: Any) -> str:
    return " ".join(result.stdout.split())


@pytest.fixture
def peopled(production: Any) -> None:
    """Let production have people, of whom one has logged in and uploaded an image."""
    if ask(production, "select count(*) from auth_user where username = 'ann'") == "1":
        return
    script = "; ".join(
        f"get_user_model().objects.create_user('{name}', '{name}@{DOMAIN}', '{password}')"
        for name, password in PEOPLE.items()
    )
    code = f"from django.contrib.auth import get_user_model; {script}"
    production.run_expect([0], f"{ROOT}/run python manage.py shell -c {shlex.quote(code)}")
    ask(production, f"update auth_user set username = 'bob@{DOMAIN}' where username = 'bob'")
    # What only a superuser of production's database owns, and what a role of production's alone may read
    ask(production, "create role reporting; grant select on auth_user to reporting")
    ann = Visitor(production.check_output("hostname -I").split()[0])
    ann.auth = ("tester", "reef-tester-0f1e2d3c")
    ann.log_in("ann", PEOPLE["ann"])
    source = ann.submit("/sources/new/", {"name": "Ann's reef"}).headers["Location"]
    ann.submit(source, {}, files={"files": ("ann.png", png(40), "image/png")})


@pytest.mark.usefixtures("peopled")
def test_a_copy_is_brought(host: Any, tester: Visitor, production: Any, refresh: Play) -> None:
    before, original = state(host), state(production)
    planned = refresh("--check")
    assert changed(planned) == 0
    assert "replaces coralnet on debian-13, after 3 statements in the copy" in words(planned)
    assert state(host) == before

    result = refresh("-vvv")
    assert changed(result) > 0
    after = state(host)
    # Whole
    assert after["rows"]["auth_user"] == original["rows"]["auth_user"]
    assert after["rows"]["sources_image"] == original["rows"]["sources_image"] == "1"
    assert after["uploads"] == original["uploads"]
    assert "ann" in after["uploads"]
    # With the schema that staging's newer code wants
    assert "sources_imagefile_size" in after["columns"]
    assert "sources_imagefile_size" not in original["columns"]
    assert ask(host, "select distinct tableowner from pg_tables where schemaname = 'public'") == "coralnet"
    # Without addresses and sessions
    assert original["rows"]["django_session"] != "0"
    assert after["rows"]["django_session"] == "0"
    dump = host.check_output("cd / && runuser -u postgres -- pg_dump coralnet")
    assert DOMAIN not in dump
    assert DOMAIN in production.check_output("cd / && runuser -u postgres -- pg_dump coralnet")
    assert re.search(r"^user\d+@staging\.invalid$", ask(host, "select email from auth_user where username = 'ann'"))
    assert ask(host, "select count(*) from auth_user where username like '%@%'") == "0"
    # And nobody was told one
    assert DOMAIN not in result.stdout + result.stderr
    assert DOMAIN not in host.check_output("journalctl --no-pager")
    # Production has all, and no trace
    assert state(production) == original
    nothing_is_left(host, production)
    assert list(copies_here()) == []
    kept = [name for name in after["databases"] if "_replaced_" in name]
    assert len(kept) == 1
    assert f"kept as {kept[0]}" in words(result)
    ask(host, f"drop database {kept[0]}", "postgres")

    serves(tester)
    tester.log_in("ann", PEOPLE["ann"])
    assert "Ann&#x27;s reef" in tester.get("/sources/").text
    image = ask(host, "select file from sources_image")
    assert tester.get(f"/media/{image}").headers["Content-Type"] == "image/png"
    print(f"{host.backend.name}: refreshed")


def copies_here() -> Any:
    return Path(tempfile.gettempdir()).glob("refresh-*")


@pytest.mark.usefixtures("peopled")
def test_an_older_dump_and_no_passwords(host: Any, tester: Visitor, production: Any, refresh: Play) -> None:
    folder = "/var/backups/postgresql/coralnet"
    production.run_expect([0], f"rm -rf {folder}")
    assert "There is no such dump on debian-12: say -e dump=" in words(refresh("-e", "dump=newest"))
    dump = f"{folder}/20261101T000000Z_a_b.pgc"
    production.run_expect(
        [0],
        f"install -d -o postgres -m 0700 {folder}"
        f" && cd / && runuser -u postgres -- pg_dump --format=custom --file={dump} coralnet",
    )
    uploads = state(host)["uploads"]
    sessions = ask(production, "select count(*) from django_session")
    arguments = ["dump=newest", "refresh_media=false", "refresh_reset_passwords=true"]
    changed(refresh(*[word for argument in arguments for word in ("-e", argument)]))
    assert production.file(dump).exists
    assert ask(production, "select count(*) from django_session") == sessions
    assert state(host)["uploads"] == uploads
    # But for the superuser, who has the one of staging's vault
    assert ask(host, "select username from auth_user where password not like '!%'") == "admin"
    nothing_is_left(host, production)
    serves(tester)
    for name in databases(host)[1:]:
        ask(host, f"drop database {name}", "postgres")


# A visitor who was here before, and a column without which nobody can be known again
BACK = {"X-Forwarded-Proto": "https", "Cookie": "sessionid=0123456789abcdef0123456789abcdef"}
GONE = "alter table django_session rename column expire_date to gone"
# What fails, how, what is said, and whether it is found before the site is closed
FAULTS = [
    ("a broken dump", {"dump": "/var/tmp/broken.pgc", "refresh_media": False}, "pg_restore failed"),
    (
        "a statement that fails",
        {"refresh_statements": ["select 1", "update auth_user set email = null"], "refresh_media": False},
        "statement 2 for the copy: psql failed: ERROR: null value in column",
    ),
    (
        "a schema that staging's code cannot have",
        {"refresh_statements": ["drop table django_content_type cascade"], "refresh_media": False},
        "Have the schema that the code wants: ",
    ),
    (
        "a copy with which the site does not work",
        {"refresh_statements": [GONE], "gunicorn_headers": BACK},
        "runs, but does not work: /: status 500 instead of 200. staging has what it had before",
    ),
]


@pytest.mark.usefixtures("peopled")
@pytest.mark.parametrize(("values", "said"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_what_fails_leaves_staging_as_it_was(
    host: Any, tester: Visitor, production: Any, refresh: Play, values: dict[str, Any], said: str
) -> None:
    production.run_expect([0], "head -c 5000 /dev/urandom > /var/tmp/broken.pgc")
    ask(host, "update auth_user set email = 'kept@staging.invalid'")
    host.run_expect([0], f"runuser -u coralnet -- touch {MEDIA}/only-here")
    before, original = state(host), state(production)

    result = refresh("-e", json.dumps(values))

    assert result.returncode != 0
    assert said in words(result), words(result)[-1500:]
    assert "staging has what it had before" in words(result)
    assert DOMAIN not in result.stdout + result.stderr
    assert host.run(f"grep -rhE 'Failing row|{DOMAIN}' /var/log").stdout == ""
    assert state(host) == before
    assert state(production) == original
    nothing_is_left(host, production)
    assert list(copies_here()) == []
    serves(tester)


@pytest.mark.usefixtures("peopled")
def test_a_site_that_stays_closed_is_opened_by_the_next_update(
    host: Any, tester: Visitor, playbook: Play, refresh: Play
) -> None:
    """It works neither with the copy nor with what it had, here because of the checks."""
    never = {"refresh_media": False, "gunicorn_checks": [{"body": "no such words"}], "gunicorn_probe_timeout": 2}
    result = refresh("-e", json.dumps(never))
    assert result.returncode != 0
    assert "staging has what it had before, and the curtain stays drawn" in words(result)
    assert tester.get("/").status_code == 503
    changed(playbook(path="playbooks/update.yml"))
    serves(tester)
    nothing_is_left(host)


def test_production_is_never_written_to(host: Any, production: Any, playbook: Play, refresh: Play) -> None:
    before = state(production)

    def refused(*arguments: str) -> str:
        result = refresh(*arguments)
        assert result.returncode != 0
        assert re.findall(r"changed=(\d+)", result.stdout) == ["0"] * len(re.findall(r"changed=", result.stdout))
        return words(result)

    assert "production is never written over with a copy" in refused("--limit", "debian-12")
    assert "production is never written over" in refused("--limit", "debian-12", "-e", "site_refresh_from=staging")
    assert "touch production and staging together" in refused("--limit", "production,staging")
    assert "set site_refresh_from to another environment" in refused("-e", "site_refresh_from=staging")
    assert "No host is known to copy from" in refused("-e", "site_refresh_from=elsewhere")
    # One machine under two names
    same = json.dumps({"refresh_hosts": ["other"], "site_database_host": "debian-12"})
    assert "is the one on debian-12: give staging a database of its own" in refused("-e", same)
    assert state(production) == before
    nothing_is_left(host, production)
