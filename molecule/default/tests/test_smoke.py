"""The walk through the site on its server: it passes, leaves nothing, and meets what is broken there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from shared.database import sql
from shared.visitor import changed

ROOT = "/srv/www/coralnet"
NOWHERE = '{"site_smoke_mail": {"path": "/srv/nowhere", "seconds": 1}}'
HOSTS = ("debian-12", "debian-13")
Play = Callable[..., Any]


@pytest.fixture
def walk(playbook: Play) -> Play:
    return partial(playbook, path="playbooks/smoke.yml")


def ask(host: Any, query: str) -> str:
    done = sql(host, "postgres", "coralnet", query)
    assert done.rc == 0, done.stderr
    return str(done.stdout)


def things(host: Any) -> dict[str, int]:
    """Count the rows of every table, the uploads and the mail."""
    tables = ask(host, "select tablename from pg_tables where schemaname = 'public' order by 1").split()
    rows = ask(host, " union all ".join(f"select count(*) from {table}" for table in tables)).split()
    counts = dict(zip(tables, map(int, rows), strict=True))
    for folder in ("media", "mail"):
        counts[folder] = int(host.check_output(f"find {ROOT}/shared/{folder} -type f | wc -l"))
    return counts


def words(result: Any) -> str:
    return " ".join(result.stdout.split())


@contextmanager
def without(host: Any, privilege: str, table: str) -> Iterator[None]:
    """Have the site lack a permission in its database meanwhile."""
    ask(host, f"revoke {privilege} on {table} from coralnet")
    try:
        yield
    finally:
        ask(host, f"grant {privilege} on {table} to coralnet")


@contextmanager
def commands(host: Any, broken: str, mended: str) -> Iterator[None]:
    host.run_expect([0], broken)
    try:
        yield
    finally:
        host.run_expect([0], mended)


def test_the_walk_passes_and_leaves_nothing(host: Any, walk: Play) -> None:
    before = things(host)
    result = walk()
    assert changed(result) == 0
    assert things(host) == before
    took = dict(re.findall(r"'?([A-Z][^:\n]+?)'?: (\d+)'?$", result.stdout, re.MULTILINE))
    assert "Upload an image" in took
    assert "Log in as superuser" in took
    print(f"{host.backend.name}: walk: {len(took)} steps, {sum(map(int, took.values()))} ms")
    assert host.file(f"{ROOT}/smoke").mode == 0o600
    # Check mode opens the pages of site_smoke_checks and nothing else
    checks = json.dumps(
        {
            "site_smoke_checks": [
                {"name": "Health", "visit": "/health/", "layer": "app", "expect": ['"database": "ok"']},
                {"name": "No such page", "visit": "/nothing/", "status": [404]},
            ]
        }
    )
    checked = walk("--check", "-e", checks)
    assert changed(checked) == 0
    assert "Health: " in checked.stdout
    assert "Register" not in checked.stdout
    assert things(host) == before


# What the site may not do in its database, and the step that meets it
REVOKED = [
    ("insert", "auth_user", "the site's command could not make the account"),
    ("update", "auth_user", "Activate the account: "),
    ("insert", "django_session", "Log in: "),
    ("insert", "sources_source", "Create a source: "),
    ("insert", "sources_image", "Upload an image: "),
    ("insert", "sources_label", "Add a label: "),
    ("insert", "sources_annotation", "Annotate the image: "),
    ("select", "django_admin_log", "Log in as superuser: "),
]


@pytest.mark.parametrize(
    ("privilege", "table", "step"),
    [
        pytest.param(*revoked, marks=pytest.mark.on(HOSTS[number % 2]), id=f"{revoked[0]} {revoked[1]}")
        for number, revoked in enumerate(REVOKED)
    ],
)
def test_a_permission_that_was_revoked(host: Any, walk: Play, privilege: str, table: str, step: str) -> None:
    before = things(host)
    with without(host, privilege, table):
        result = walk()
    said = words(result)
    assert result.returncode != 0
    assert f"Action failed: {step}" in said, said[-1500:]
    if step.endswith(": "):
        assert "status 500" in said
        assert "Something went wrong" in said, "the site's own words"
    if (privilege, table) in (("update", "auth_user"), ("select", "django_admin_log")):
        # Removing the accounts needs it too, so that is told, and done by the next walk
        assert "could not be removed, and the next walk will try again" in said
        changed(walk())
    if table == "sources_image":
        # A site that keeps the file and cannot keep its row has a file that nobody knows
        host.run_expect([0], f"find {ROOT}/shared/media -name 'smoke*' -type f -delete")
    assert things(host) == before


SITE_FILE = "/etc/nginx/sites-available/coralnet"


def nginx(location: str) -> tuple[str, str]:
    """Have nginx answer something else for a location; and have it as it was."""
    broken = f"cp -p {SITE_FILE} /var/tmp/site && sed -i '0,/server_name coralnet.test/s||{location} &|' {SITE_FILE}"
    return f"{broken} && nginx -s reload && sleep 1", f"cp -p /var/tmp/site {SITE_FILE} && nginx -s reload && sleep 1"


SERVER = [
    (nginx("location = /accounts/register/ { return 403; }"), "Register: ", "status 403"),
    ((f"chmod 0700 {ROOT}/shared/media", f"chmod 2750 {ROOT}/shared/media"), "See its patch: ", "status 40"),
    (nginx("client_max_body_size 2k;"), "Upload an image: ", "status 413"),
    (nginx("location ^~ /admin/ { return 404; }"), "Log in as superuser: ", "status 404"),
    (
        (f"mv {ROOT}/shared/mail {ROOT}/shared/gone", f"mv {ROOT}/shared/gone {ROOT}/shared/mail"),
        "Register: ",
        "status 500",
    ),
]


@pytest.mark.parametrize(
    ("how", "step", "status"),
    [
        pytest.param(*broken, marks=pytest.mark.on(HOSTS[number % 2]), id=broken[1] + broken[2])
        for number, broken in enumerate(SERVER)
    ],
)
def test_a_server_that_is_broken(host: Any, walk: Play, how: tuple[str, str], step: str, status: str) -> None:
    before = things(host)
    with commands(host, *how):
        result = walk()
    assert result.returncode != 0
    said = words(result)
    assert f"Action failed: {step}" in said, said[-1500:]
    assert status in said
    assert things(host) == before


@pytest.mark.on("debian-12")
def test_mail_that_does_not_come(host: Any, walk: Play) -> None:
    before = things(host)
    result = walk("-e", NOWHERE)
    assert "Read the activation mail: " in words(result)
    assert "the mail in /srv/nowhere cannot be read: No such file or directory" in words(result)
    host.run_expect([0], f"grep -rlZ 'smoke[0-9a-f]*@smoke.invalid' {ROOT}/shared/mail | xargs -0 rm")
    assert things(host) == before
