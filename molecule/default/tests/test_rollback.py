"""Going back by playbooks/rollback.yml: the code alone, its schema too, a dump's data, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from shared.database import sql
from shared.visitor import Visitor, ad_hoc, changed, report, visits

ROOT = "/srv/www/coralnet"
# What v1 does not answer to
V2_ALONE = json.dumps({"gunicorn_checks": [{"path": "/", "body": 'content="v2"'}], "gunicorn_probe_timeout": 4})
Play = Callable[..., Any]


@pytest.fixture
def rollback(playbook: Play) -> Play:
    return partial(playbook, path="playbooks/rollback.yml")


@pytest.fixture
def forward(host: Any, playbook: Play, inventory_name: str) -> Play:
    """Have v2 run: built and brought by an update the first time, and quicker from then on."""

    def bring() -> str:
        built = host.run(f"""grep -l '"v2"' {ROOT}/releases/*/release.json""").stdout.split()
        if not built:
            changed(playbook("-e", "version=v2", path="playbooks/update.yml"))
            return current(host)
        release = built[-1].split("/")[-2]
        for command in ("migrate", "collectstatic"):
            host.run_expect([0], f"{ROOT}/run --instance {release} python manage.py {command} --noinput")
        options = {"name": "coralnet", "root": ROOT, "release": release, "host": "coralnet.test"}
        options["config_files"] = [f"{ROOT}/static/staticfiles.json"]
        assert ad_hoc(inventory_name, "coralnet.server.release_switch", options, "--become")["instance"]
        return release

    return bring


@pytest.fixture
def newer(host: Any, forward: Play) -> str:
    """Have v2 run where it does not, and name its release."""
    running = '"v2"' in host.file(f"{ROOT}/current/release.json").content_string
    return current(host) if running else str(forward())


def current(host: Any) -> str:
    return str(host.check_output(f"basename $(readlink {ROOT}/current)"))


def version(address: str) -> str:
    page = Visitor(address).get("/")
    assert page.status_code == 200
    return page.headers["X-Site-Version"]


def has_the_column(host: Any) -> bool:
    query = "select count(*) from pg_attribute where attrelid = 'sources_image'::regclass and attname = 'file_size'"
    return bool(sql(host, "postgres", "coralnet", query).stdout == "1\n")


def state(host: Any) -> str:
    """Tell what a run could have changed: releases, links, lists, databases, dumps and units."""
    looks = (
        f"ls -lR --time-style=full-iso {ROOT}/current {ROOT}/good {ROOT}/releases/*/*.* {ROOT}/static/*.json",
        "cd / && runuser -u postgres -- psql -Atl",
        "ls /var/backups/postgresql/coralnet",
        "systemctl list-units --plain --no-legend 'coralnet@*'",
    )
    return "\n".join(host.run(look).stdout for look in looks)


def words(result: Any) -> str:
    """Give all that a run has said, however it was broken into lines."""
    return " ".join(result.stdout.split())


@pytest.mark.on("debian-12")
def test_check_tells_and_changes_nothing(host: Any, newer: str, rollback: Play) -> None:
    before = state(host)

    result = rollback("--check")

    assert changed(result) == 0
    assert state(host) == before
    assert f"from {newer} (v2) back to " in result.stdout
    assert "sources.0002_image_file_size" in result.stdout
    assert "with -e migrations=reverse they are reversed" in result.stdout
    assert "dump from before: " in result.stdout


def test_the_code_alone(host: Any, address: str, newer: str, rollback: Play) -> None:
    with visits(address) as seen:
        result = rollback()
    assert changed(result) == 1
    report(host, "rollback", seen)
    assert version(address) == "v1"
    assert has_the_column(host)
    # v1's pages name v1's files
    style = re.search(r'href="(/static/css/site[^"]+\.css)"', Visitor(address).get("/").text)
    assert style
    assert Visitor(address).get(style[1]).status_code == 200


def test_what_cannot_be_gone_back_to(host: Any, inventory_name: str) -> None:
    def refused(**options: str) -> str:
        plan = ad_hoc(inventory_name, "coralnet.server.release_rollback", {"root": ROOT, **options}, "--become")
        return str(plan["msg"])

    running = current(host)
    assert refused().startswith(f"there is no good release before {running} (v1): there are {running} (v1), ")
    assert refused(release="v2").endswith("(v1), which runs: update.yml -e version=v2 brings it")
    assert refused(release="v7").startswith(f"no finished release answers to v7: there are {running} (v1), ")


@pytest.mark.on("debian-12")
def test_a_migration_that_cannot_be_reversed(host: Any, newer: str, inventory_name: str) -> None:
    file = f"{ROOT}/releases/{newer}/src/project/sources/migrations/0002_image_file_size.py"
    host.run_expect(
        [0], f"cp -p {file} /var/tmp/ && sed -i 's/operations = \\[/&migrations.RunSQL(\"select 1\"),/' {file}"
    )
    try:
        options = {"root": ROOT, "migrations": "reverse"}
        plan = ad_hoc(inventory_name, "coralnet.server.release_rollback", options, "--become")
        # Django itself says the same, when it is asked to do it
        django = host.run(f"{ROOT}/run --instance {newer} python manage.py migrate sources 0001").stderr
    finally:
        host.run_expect([0], f"cp -p /var/tmp/0002_image_file_size.py {file}")
    said = re.search(r"IrreversibleError: (.*)", django)
    assert said
    assert plan["msg"] == f"nothing was changed, because these migrations cannot be reversed: {said[1]}"
    assert has_the_column(host)


@pytest.mark.on("debian-13")
def test_an_older_release_that_does_not_work(host: Any, address: str, newer: str, rollback: Play) -> None:
    result = rollback("-e", "migrations=reverse", "-e", V2_ALONE)

    assert result.returncode != 0
    assert f"The site goes on with {newer}" in words(result)
    assert (current(host), version(address)) == (newer, "v2")
    assert has_the_column(host)
    assert not host.run(f"ls {ROOT}/releases/*/refused").stdout


def test_the_schema_too(host: Any, address: str, newer: str, rollback: Play) -> None:
    result = rollback("-e", "migrations=reverse")

    assert changed(result) == 5  # curtain, dump, migration, switch, curtain
    assert version(address) == "v1"
    assert not has_the_column(host)
    dump = re.search(rf"what was reversed is in (\S+_{newer}_\S+\.pgc)", words(result))
    assert dump
    assert host.file(dump[1]).exists


def test_a_dumps_data(host: Any, address: str, inventory_name: str, forward: Play, rollback: Play) -> None:
    older = current(host)
    options = {"database": "coralnet", "directory": "/var/backups/postgresql/coralnet", "running": older}
    become = ("--become", "--become-user", "postgres")
    dump = ad_hoc(inventory_name, "coralnet.server.postgresql_dump", options, *become)
    group = "insert into auth_group (name) values ('after the dump')"
    assert sql(host, "postgres", "coralnet", group).rc == 0
    forward()

    result = rollback("-e", f"restore_dump={dump['path']}")

    assert changed(result) == 6  # curtain, writers, dump, switch, curtain; the look at the dump counts as well
    assert f"database: restored from {dump['path']}; the last " in words(result)
    assert (current(host), version(address)) == (older, "v1")
    assert not has_the_column(host)
    look = "select name from auth_group"
    assert sql(host, "coralnet", "coralnet", look).stdout == ""
    kept = re.search(r"the database of before is kept as (coralnet_replaced_\d+)", words(result))
    assert kept
    assert sql(host, "coralnet", kept[1], look).stdout == "after the dump\n"
    host.run_expect([0], f"cd / && runuser -u postgres -- dropdb {kept[1]}")


@pytest.mark.on("debian-13")
def test_back_to_what_ran_before_though_a_newer_one_is_there(
    address: str, newer: str, playbook: Play, rollback: Play
) -> None:
    """v2 has been gone back from: whoever goes back from its successor means v1."""
    for way in (rollback, partial(playbook, "-e", "version=slow", path="playbooks/update.yml"), rollback):
        changed(way())
    assert version(address) == "v1"
