"""Ways back that fail: code and database stay together, whichever they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from shared.database import sql
from shared.deployed import ROOT, Queue, Site
from shared.visitor import Visitor, changed

COLUMN = "from pg_attribute where attrelid = 'sources_image'::regclass and attname = 'file_size'"
# The schema can be reversed, and not be had back
NO_WAY_FORWARD = f"""
create function no_way_forward() returns event_trigger language plpgsql as $$
begin if exists (select {COLUMN}) then raise exception 'the disk is full'; end if; end $$;
create event trigger no_way_forward on ddl_command_end when tag in ('ALTER TABLE') execute function no_way_forward();
"""
V2_ALONE = json.dumps({"gunicorn_checks": [{"path": "/", "body": 'content="v2"'}], "gunicorn_probe_timeout": 4})


@pytest.fixture
def back(playbook: Callable[..., Any]) -> Callable[..., Any]:
    return partial(playbook, "-e", "release=v1", "-e", "migrations=reverse", path="playbooks/rollback.yml")


def has_the_column(site: Site) -> bool:
    return sql(site.host, "postgres", "coralnet", f"select count(*) {COLUMN}").stdout == "1\n"


@pytest.mark.on("debian-12")
def test_a_worker_that_does_not_start_leaves_the_older_release_with_its_schema(
    at_v1: None, site: Site, queue: Queue, update: Callable[..., Any], back: Callable[..., Any]
) -> None:
    changed(update("v2"))
    failed = back("-e", '{"site_workers": [{"name": "queue", "command": ["false"]}]}')
    assert failed.returncode != 0
    assert (site.version, has_the_column(site)) == ("v1", False)
    assert site.records[-1]["outcome"] == "failed"
    assert "Not all of its workers run" in " ".join(failed.stdout.split())
    changed(update("v1"))
    assert queue.wait(queue.add())["version"] == "v1"


@pytest.mark.on("debian-13")
def test_a_schema_that_cannot_be_had_back_is_told_and_mended_by_the_next_update(
    at_v1: None,
    site: Site,
    queue: Queue,
    address: str,
    playbook: Callable[..., Any],
    update: Callable[..., Any],
    back: Callable[..., Any],
) -> None:
    changed(update("v2"))
    assert sql(site.host, "postgres", "coralnet", NO_WAY_FORWARD).rc == 0
    try:
        failed = back("-e", V2_ALONE)
    finally:
        sql(site.host, "postgres", "coralnet", "drop function no_way_forward cascade")
    said = " ".join(failed.stdout.split())
    assert failed.returncode != 0
    assert "the curtain stays drawn, because code and database may not fit (Apply again what was reversed: " in said
    assert Visitor(address).get("/").status_code == 503
    assert queue.running == []
    record = site.records[-1]
    assert record["outcome"] == "failed"
    assert "the disk is full" in record["reason"]

    # Whoever fails before the database is right leaves the site closed, and the next run knows
    assert update("v99").returncode != 0
    assert Visitor(address).get("/").status_code == 503
    # Whoever opens it by hand does not make it right either
    changed(playbook("-e", "curtain=open", path="playbooks/maintenance.yml"))
    assert Visitor(address).get("/").status_code != 503
    assert update("v99").returncode != 0
    assert json.loads(site.host.check_output(f"cat {ROOT}/lock.json"))["torn"]
    changed(update("v2"))
    assert (site.version, has_the_column(site)) == ("v2", True)
    assert queue.wait(queue.add())["version"] == "v2"
    assert not site.host.file(f"{ROOT}/lock.json").exists
