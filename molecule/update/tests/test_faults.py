"""Updates that cannot be: each is told of, the site serves on, and the next good one comes through."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from shared.deployed import ROOT, Queue, Site
from shared.visitor import changed


@dataclass(frozen=True)
class Fault:
    """Something is broken, in the release or on the host, and what the operator is told of it."""

    name: str
    words: str
    version: str = "v2"
    variables: tuple[str, ...] = ()
    on_host: str = ""
    mend_host: str = ""


# Somebody's transaction, which ends with its client
LOCKED = (
    'systemd-run --unit=visitor --uid=postgres sh -c "'
    "(echo 'begin; lock table sources_image in row exclusive mode;'; sleep 600) | psql --dbname=coralnet\" && sleep 1"
)
IN_DATABASE = "runuser -u postgres -- psql --quiet --dbname=coralnet --command='{}'"
WINDOW = "strategy=window"
CACHE = "/var/lib/coralnet-deploy/.cache/uv"
FAULTS = [
    Fault("no such version", "has no branch or tag 'v99'", version="v99"),
    Fault("no such package", "there is no version of humanize==999.0", version="package-missing"),
    Fault(
        "no such package for pip",
        "No matching distribution found",
        version="package-missing",
        variables=("django_app_installer=pip",),
    ),
    Fault("another hash", "Hash mismatch", version="hash-mismatch"),
    Fault(
        "another hash for pip",
        "Expected sha256 0000",
        version="hash-mismatch",
        variables=("django_app_installer=pip",),
    ),
    Fault(
        "no room for the build",
        "No space left on device",
        variables=("django_app_upgrade_packages=true",),
        on_host=f"mkdir -p {CACHE} && mount -t tmpfs -o size=4m,mode=777 none {CACHE}",
        mend_host=f"umount {CACHE}",
    ),
    Fault("static files fail", "could not be found", version="static-fails"),
    Fault("secret missing", "EXPORT_SIGNING_KEY", variables=('{"vault_export_signing_key": null}',)),
    Fault(
        "key that is known", "set SECRET_KEY to 50 random characters", variables=('{"vault_secret_key": "insecure-1"}',)
    ),
    Fault("import fails", "ended by itself", version="import-fails"),
    Fault("import fails, in a window", "Load the application", version="import-fails", variables=(WINDOW,)),
    Fault("answers 500", "status 500", version="answers-500"),
    Fault("answers 500, in a window", "status 500", version="answers-500", variables=(WINDOW,)),
    Fault("hangs", "timed out", version="hangs", variables=("gunicorn_probe_timeout=4",)),
    Fault("migration fails, in a window", "sources_no_such_table", version="migration-fails", variables=(WINDOW,)),
    Fault(
        "migration waits",
        "lock timeout",
        variables=("django_app_lock_timeout=1",),
        on_host=LOCKED,
        mend_host="systemctl stop visitor",
    ),
    Fault(
        "dump fails",
        "are free in /var/backups/postgresql",
        on_host="mkdir -p /var/backups/postgresql && mount -t tmpfs -o size=64k none /var/backups/postgresql",
        mend_host="umount /var/backups/postgresql",
    ),
    Fault(
        "database down",
        "connection to server on socket",
        on_host="systemctl stop postgresql",
        mend_host="systemctl start postgresql",
    ),
    # It is busy for longer than it may be
    Fault(
        "worker does not stop",
        "did not stop within 12 seconds of SIGINT",
        on_host=f"{ROOT}/run python manage.py queue_job --seconds 300 && sleep 2",
    ),
    Fault(
        "does not pass the walk, in a window",
        "Smoke test: Create a source: ",
        variables=(WINDOW,),
        on_host=IN_DATABASE.format("revoke insert on sources_source from coralnet"),
        mend_host=IN_DATABASE.format("grant insert on sources_source to coralnet"),
    ),
    Fault("does not pass the walk, with no way back", "Smoke test: Upload an image: ", version="upload-fails"),
    Fault(
        "does not pass the walk, without a window",
        "Smoke test: Create a source: ",
        variables=("site_smoke=always", "strategy=rolling"),
        on_host=IN_DATABASE.format("revoke insert on sources_source from coralnet"),
        mend_host=IN_DATABASE.format("grant insert on sources_source to coralnet"),
    ),
    # The lab's hosts have a database each: this one believes that it shares another's
    Fault(
        "another host has not migrated",
        "elsewhere has not migrated the database",
        variables=("site_primary=elsewhere",),
    ),
    Fault(
        "nginx refuses its configuration",
        "nginx could not be reloaded: unknown directive",
        version="slow",
        on_host="echo 'nonsense;' >/etc/nginx/conf.d/broken.conf",
        mend_host="rm /etc/nginx/conf.d/broken.conf",
    ),
]


def test_begin(at_v1: None, site: Site) -> None:
    assert site.version == "v1"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=fault.name, marks=pytest.mark.on(("debian-12", "debian-13")[number % 2]))
        for number, fault in enumerate(FAULTS)
    ],
)
def test_an_update_that_fails(site: Site, queue: Queue, update: Callable[..., Any], fault: Fault) -> None:
    release = site.release
    if fault.on_host:
        site.host.run_expect([0], fault.on_host)
    try:
        done = update(fault.version, *fault.variables)
    finally:
        if fault.mend_host:
            site.host.run_expect([0], fault.mend_host)
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert fault.words in said
    record = site.records[-1]
    planned = record["reason"].startswith("Plan the release")
    assert ("Nothing was changed" if planned else f"The site goes on with {release}") in said
    assert (record["outcome"], record["version"]) == ("failed", fault.version)
    assert fault.words in record["reason"]
    assert (site.version, site.release) == ("v1", release)
    assert not site.host.file(f"{ROOT}/lock.json").exists
    assert not site.host.file(f"{ROOT}/shared/notice/maintenance.json").exists
    workers = [f"queue@{release}.{number}.service" for number in (1, 2)]
    assert (queue.running, queue.timers) == (workers, ["coralnet.count.timer"])
    site.restart()
    assert site.version == "v1"
    assert (queue.running, queue.timers) == (workers, ["coralnet.count.timer"])


def test_the_next_good_one(site: Site, update: Callable[..., Any]) -> None:
    release = site.release
    assert changed(update("v1")) == 0
    assert (site.version, site.release) == ("v1", release)


def test_a_failure_after_the_migrations(site: Site, update: Callable[..., Any]) -> None:
    """What was migrated is said, and where the database of before is; the old code serves on."""
    site.unmigrate()  # an earlier one may have left them
    done = update("v2", '{"gunicorn_checks": [{"body": "no such words"}]}')
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert "Migrations that were run and are not reversed: sources.0002_image_file_size" in said
    dump = site.records[-1]["dump"]
    assert f"The database before them is in {dump}" in said
    site.host.run_expect([0], f"pg_restore --list {dump}")
    assert site.version == "v1"


@pytest.mark.on("debian-13")
def test_a_step_that_fails_is_told_in_its_own_words(site: Site, update: Callable[..., Any]) -> None:
    step = {"name": "messages", "command": ["sh", "-c", "echo no such language >&2; exit 3"]}
    assert update("v2", json.dumps({"django_app_steps_before_static": [step]})).returncode != 0
    assert site.records[-1]["reason"].endswith(": no such language")
    assert site.version == "v1"
