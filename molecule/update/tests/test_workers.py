"""Workers and timers: no job is lost, and whoever does it runs the release that serves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from shared.deployed import ROOT, Queue, Site
from shared.visitor import changed

Update = Callable[..., Any]
TIMER = "coralnet.count.timer"


def copies(release: str) -> list[str]:
    return [f"queue@{release}.{number}.service" for number in (1, 2)]


def stamp(host: Any, unit: str, words: str) -> float:
    """When systemd last said so of a unit, in seconds since the epoch."""
    journal = host.check_output(f"journalctl --unit '{unit}' --output=short-unix --no-pager _PID=1")
    lines = [line for line in journal.splitlines() if words in line]
    assert lines, f"{unit} was never {words}: {journal}"
    return float(lines[-1].split()[0])


def test_begin(at_v1: None, site: Site, queue: Queue) -> None:
    assert queue.running == copies(site.release)
    assert queue.timers == [TIMER]


def test_a_job_is_ended_by_whoever_began_it(site: Site, queue: Queue, update: Update) -> None:
    """In a window, and no worker of any release runs while the database is migrated."""
    old = site.release
    first = queue.add(seconds=40)
    queue.wait(first, "begun")
    workers = json.dumps({"site_workers": [worker(site, stop_seconds=60)]})
    changed(update("v2", "strategy=window", workers))
    new = site.release
    assert new != old
    assert queue.job(first) == {"state": "done", "release": old, "version": "v1"}
    assert queue.wait(queue.add()) == {"state": "done", "release": new, "version": "v2"}
    assert (queue.running, queue.timers) == (copies(new), [TIMER])
    sql = "select extract(epoch from applied) from django_migrations where app = 'sources' order by id desc limit 1"
    migrated = float(site.host.check_output(f'runuser -u postgres -- psql coralnet -Atc "{sql}"'))
    ended = max(stamp(site.host, f"coralnet.{copy}", "Stopped") for copy in copies(old))
    begun = min(stamp(site.host, f"coralnet.{copy}", "Starting") for copy in copies(new))
    assert ended < migrated < begun
    record = site.records[-1]
    print(
        f"{site.host.backend.name}: drained in {record['seconds']['drain']} s, none ran for {begun - ended:.1f} s,"
        f" closed for {record['outage_seconds']} s"
    )


def worker(site: Site, **changes: Any) -> dict[str, Any]:
    """The scenario's own worker, with changes."""
    words = ["python", "manage.py", "run_huey", "--workers", "1"]
    return {"name": "queue", "command": words, "count": 2, "stop_signal": "SIGINT", "stop_seconds": 12, **changes}


def test_nothing_to_do(site: Site, queue: Queue, update: Update) -> None:
    # The worker of the inventory again, which is another than the one of before
    changed(update("v2"))
    pids = site.host.check_output("systemctl show --property=MainPID 'coralnet.queue@*'")
    assert changed(update("v2")) == 0
    assert site.host.check_output("systemctl show --property=MainPID 'coralnet.queue@*'") == pids


def test_a_timer_runs_the_current_release(site: Site, queue: Queue) -> None:
    site.host.run_expect([0], "systemctl start coralnet.count.service")
    assert queue.job("count") == {"state": "done", "release": site.release, "version": "v2"}
    elapsed = site.host.check_output(f"systemctl show --property=LastTriggerUSec --value {TIMER}")
    assert elapsed != "n/a"


def test_a_secret_of_the_environment_is_the_sites_alone(site: Site, variable: Callable[[str], Any]) -> None:
    path = f"{ROOT}/workers/queue.json"
    file = site.host.file(path)
    assert (file.user, file.group, file.mode) == ("root", "coralnet", 0o640)
    pid = site.host.check_output(f"systemctl show --property=MainPID --value coralnet.{copies(site.release)[0]}")
    assert f"QUEUE={variable('vault_secret_key')}\0" in site.host.run(f"cat /proc/{pid}/environ").stdout
    assert site.host.run(f"systemctl cat 'coralnet.*' | grep {variable('vault_secret_key')}").rc == 1


@pytest.mark.on("debian-13")
def test_what_a_worker_that_died_left_is_removed(site: Site) -> None:
    """At each start, also when systemd starts it again by itself."""
    left = f"{ROOT}/shared/mail/{site.release}.1.pid"
    unit = f"coralnet.{copies(site.release)[0]}"
    site.host.run_expect([0], f"touch {left} && systemctl kill --signal=KILL {unit} && sleep 7")
    assert site.host.service(unit).is_running
    assert not site.host.file(left).exists


@pytest.mark.on("debian-13")
def test_a_refused_release_gives_the_workers_back(at_v1: None, site: Site, queue: Queue, update: Update) -> None:
    release = site.release
    done = update("answers-500")
    assert done.returncode != 0
    assert (site.version, site.release) == ("v1", release)
    assert (queue.running, queue.timers) == (copies(release), [TIMER])
    assert queue.wait(queue.add())["release"] == release
    site.restart()
    assert (queue.running, queue.timers) == (copies(release), [TIMER])


@pytest.mark.on("debian-12")
def test_a_worker_that_does_not_come_to_work(at_v1: None, site: Site, queue: Queue, update: Update) -> None:
    # A busy machine may need longer to come to the failure than it is watched for otherwise
    done = update("worker-fails", "worker_settle=20")
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert "does not stay alive. Its journal ends with:" in said
    assert "there is no tool for this job" in said
    # Visitors are served well by the new code, and its schema is there
    assert site.version == "worker-fails"
    assert f"The site goes on with {site.release}" in said
    assert "Not all of its workers run: coralnet.queue@" in said
    waits = queue.add()
    changed(update("v1"))
    assert queue.wait(waits) == {"state": "done", "release": site.release, "version": "v1"}
    assert queue.running == copies(site.release)


@pytest.mark.on("debian-13")
def test_a_worker_that_ignores_its_signal(at_v1: None, site: Site, queue: Queue, update: Update) -> None:
    changed(update("worker-deaf"))
    deaf = site.release
    done = update("v2", "strategy=window", "site_announce=true", "maintenance_start=+1m")
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert "did not stop within 12 seconds of SIGINT" in said
    assert f"The site goes on with {deaf}" in said
    assert (site.version, site.release) == ("worker-deaf", deaf)
    assert (queue.running, queue.timers) == (copies(deaf), [TIMER])
    record = site.records[-1]
    assert (record["strategy"], record["migrations"], record["outage_seconds"]) == ("window", [], 0)
    assert not site.host.file(f"{ROOT}/shared/notice/maintenance.json").exists
    site.restart()
    assert (site.version, queue.running) == ("worker-deaf", copies(deaf))
    changed(update("v2", "worker_on_timeout=kill"))
    assert site.version == "v2"
    assert (queue.running, queue.timers) == (copies(site.release), [TIMER])


@pytest.mark.on("debian-12")
def test_the_way_back(at_v1: None, site: Site, queue: Queue, update: Update, playbook: Callable[..., Any]) -> None:
    old = site.release
    changed(update("v2"))
    changed(playbook("-e", "migrations=reverse", "-e", f"release={old}", path="playbooks/rollback.yml"))
    assert site.release == old
    assert (queue.running, queue.timers) == (copies(old), [TIMER])


@pytest.mark.on("debian-13")
@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("the schedule of the timer nightly is none", {"site_timers": [{"name": "nightly", "schedule": "at dusk"}]}),
        ("value of stop_signal must be one of", {"site_workers": [{"name": "queue", "stop_signal": "SIGNONE"}]}),
        ("Set count and stop_seconds", {"site_workers": [{"name": "queue", "count": 0}]}),
        ("Give each of worker_workers and worker_timers a name", {"site_workers": [{"name": "a b"}]}),
    ],
)
def test_bad_values(site: Site, queue: Queue, update: Update, words: str, values: dict[str, Any]) -> None:
    before = (site.release, queue.running, queue.timers)
    values = {name: [{"command": ["true"], **item} for item in items] for name, items in values.items()}
    done = update(site.version, json.dumps(values))
    assert done.returncode != 0
    assert words in " ".join(done.stdout.split())
    assert (site.release, queue.running, queue.timers) == before


@pytest.mark.on("debian-12")
def test_what_is_no_more_is_removed(site: Site, queue: Queue, update: Update) -> None:
    nothing = '{"site_workers": [], "site_timers": []}'
    changed(update(site.version, nothing))
    assert (queue.running, queue.timers) == ([], [])
    assert site.host.run("ls /etc/systemd/system/coralnet.* /srv/www/coralnet/workers/*.json").stdout == ""
    assert changed(update(site.version, nothing)) == 0
    changed(update(site.version))
    assert (queue.running, queue.timers) == (copies(site.release), [TIMER])
