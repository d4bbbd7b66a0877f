from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.coralnet.server.plugins.module_utils._files import TextFile
from ansible_collections.coralnet.server.plugins.module_utils._workers import (
    Files,
    Timer,
    Worker,
    WorkerError,
    Workers,
    compare,
)
from ansible_collections.coralnet.server.plugins.modules import release_workers
from fakes import Systemd, Unit

ONE, TWO = "20260101T000000Z-1111111111", "20260201T000000Z-2222222222"
QUEUE = Worker("queue", count=2, stop_signal="SIGINT", stop_seconds=5)
BEAT = Worker("beat", stop_seconds=3, on_timeout="kill")
TIDY = Timer("tidy", "hourly", timeout_seconds=30)
TIMER, TIMED = "reef.tidy.timer", "reef.tidy.service"
NOTHING = Files()


def copy(worker: str, release: str, number: int = 1) -> str:
    return f"reef.{worker}@{release}.{number}.service"


QUEUES = [copy("queue", ONE, 1), copy("queue", ONE, 2)]
ALL = [*QUEUES, copy("beat", ONE), TIMER]


class Host:
    """Workers whose processes end when a test says so; its clock goes only while somebody waits."""

    def __init__(self, told: Path) -> None:
        self.systemd, self.now, self._told = Systemd(), 0.0, str(told)
        self.ends: dict[str, float] = {}

    def run(self, *names: str, **state: Any) -> None:
        for number, name in enumerate(names):
            pid = 0 if name.endswith(".timer") else 500 + number
            self.systemd.units[name] = Unit(**{"state": "active", "enabled": True, "pid": pid, "started": 1e9, **state})

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for name in [name for name, when in self.ends.items() if self.now >= when]:
            del self.ends[name]
            # systemd is about to start a worker again, and a timer's program is done
            unit = self.systemd.units[name]
            unit.state, unit.pid = ("activating" if "@" in name else "inactive"), 0

    def workers(self, *given: Worker | Timer) -> Workers:
        own = [each for each in given if isinstance(each, Worker)]
        timers = [each for each in given if isinstance(each, Timer)]
        return Workers("reef", own, timers, self.systemd, self._told, lambda: self.now, self.sleep)

    def drain(self, *given: Worker | Timer) -> dict[str, float]:
        workers = self.workers(*given)
        return workers.stop(workers.plan_drain().stop)

    def bring(self, release: str, *given: Worker | Timer, files: Files = NOTHING, touched: float = 0.0) -> bool:
        workers = self.workers(*given)
        plan = workers.plan_run(release, files, lambda _name: touched)
        workers.stop(plan.stop)
        workers.apply(plan, settle=1)
        return plan.changed

    @property
    def active(self) -> set[str]:
        return {name for name, unit in self.systemd.units.items() if unit.state == "active"}

    @property
    def enabled(self) -> set[str]:
        return {name for name, unit in self.systemd.units.items() if unit.enabled}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "told.json")


# --- draining


def test_each_ends_after_its_own_signal(host: Host) -> None:
    host.run(*ALL)
    host.ends = {QUEUES[0]: 1, QUEUES[1]: 2, ALL[2]: 0.1}

    took = host.drain(QUEUE, BEAT, TIDY)

    assert set(took) == set(ALL)
    assert took[QUEUES[0]] == pytest.approx(1, abs=0.2)
    assert took[QUEUES[1]] == pytest.approx(2, abs=0.2)
    assert host.active == set()
    assert host.enabled == set(ALL), "a reboot starts what ran"
    assert f"kill --kill-who=main --signal=SIGINT {QUEUES[0]} {QUEUES[1]}" in host.systemd.changes
    assert f"kill --kill-who=main --signal=SIGTERM {ALL[2]}" in host.systemd.changes
    # The timers first, so that nothing begins meanwhile
    assert host.systemd.changes[0] == f"stop {TIMER}"
    # systemd would have started them again
    assert f"stop {QUEUES[0]}" in host.systemd.changes


def test_a_second_drain_does_nothing(host: Host) -> None:
    host.run(*ALL)
    host.ends = dict.fromkeys(ALL, 0.1)
    host.drain(QUEUE, BEAT, TIDY)

    assert not host.workers(QUEUE, BEAT, TIDY).plan_drain().changed


def test_one_that_takes_too_long_is_left_to_its_work(host: Host) -> None:
    host.run(*QUEUES)
    host.ends = {QUEUES[0]: 1, QUEUES[1]: 60}

    with pytest.raises(WorkerError, match=rf"{QUEUES[1]} did not stop within 5 seconds of SIGINT.*worker_on_timeout"):
        host.drain(QUEUE)

    assert host.now == pytest.approx(5, abs=0.2)
    assert host.active == {QUEUES[1]}


def test_its_signal_is_not_sent_twice(host: Host) -> None:
    """A second one would make it leave its work undone."""
    host.run(*QUEUES)
    host.ends = {QUEUES[0]: 0.1, QUEUES[1]: 7}
    with pytest.raises(WorkerError):
        host.drain(QUEUE)

    host.bring(ONE, QUEUE)
    host.ends[QUEUES[0]] = 6
    host.systemd.calls.clear()
    host.drain(QUEUE)

    assert [line for line in host.systemd.changes if line.startswith("kill")] == [
        f"kill --kill-who=main --signal=SIGINT {QUEUES[0]}"
    ]
    assert host.active == set()


def test_one_that_takes_too_long_is_killed_where_it_may_be(host: Host) -> None:
    host.run(ALL[2])

    assert host.drain(BEAT) == {ALL[2]: pytest.approx(3, abs=0.2)}
    assert f"kill --signal=SIGKILL {ALL[2]}" in host.systemd.changes
    assert host.active == set()


def test_a_timers_program_is_waited_for(host: Host) -> None:
    host.run(TIMER)
    host.systemd.units[TIMED] = Unit("activating", pid=7)
    host.ends = {TIMED: 20}

    assert host.drain(TIDY)[TIMED] == pytest.approx(20, abs=0.2)


def test_what_a_timer_has_just_started_is_waited_for(host: Host) -> None:
    host.run(TIMER)
    workers = host.workers(TIDY)
    plan = workers.plan_drain()
    host.systemd.units[TIMED] = Unit("activating", pid=7)
    host.ends = {TIMED: 2}

    assert workers.stop(plan.stop) == {TIMER: 0.0, TIMED: pytest.approx(2, abs=0.2)}


def test_a_timers_program_that_does_not_end(host: Host) -> None:
    host.systemd.units[TIMED] = Unit("activating", pid=7)

    with pytest.raises(WorkerError, match=f"{TIMED} still runs, 30 seconds after"):
        host.drain(TIDY)


def test_a_worker_that_is_no_more_stops_as_its_unit_says(host: Host) -> None:
    host.run(*QUEUES)

    host.drain()

    assert host.systemd.changes == [f"stop {QUEUES[0]} {QUEUES[1]}"]


def test_one_between_two_tries_is_stopped_at_once(host: Host) -> None:
    host.run(QUEUES[0], state="activating", pid=0)

    host.drain(QUEUE)

    assert host.systemd.changes == [f"stop {QUEUES[0]}"]


def test_the_state_cannot_be_read(host: Host) -> None:
    host.systemd.refuse["show", "reef.*.service"] = "Failed to connect to bus"

    with pytest.raises(Exception, match="could not read the state of the workers of reef: Failed to connect to bus"):
        host.drain(QUEUE)


# --- running


def test_the_new_release_takes_the_place_of_the_old(host: Host) -> None:
    host.run(*ALL)
    host.ends = dict.fromkeys(ALL[:3], 0.1)
    host.drain(QUEUE, BEAT, TIDY)

    assert host.bring(TWO, QUEUE, BEAT, TIDY)

    new = {copy("queue", TWO, 1), copy("queue", TWO, 2), copy("beat", TWO), TIMER}
    assert host.active == host.enabled == new
    host.systemd.boot()
    assert host.active == new
    assert not host.bring(TWO, QUEUE, BEAT, TIDY)


def test_others_are_ended_by_their_policy(host: Host) -> None:
    """A run that died has left the old ones running."""
    host.run(*QUEUES)
    host.ends = dict.fromkeys(QUEUES, 0.1)

    host.bring(TWO, QUEUE)

    assert host.active == host.enabled == {copy("queue", TWO, 1), copy("queue", TWO, 2)}
    assert host.systemd.changes[0].startswith("kill --kill-who=main --signal=SIGINT")


def test_fewer_copies_and_no_timer(host: Host) -> None:
    host.run(*QUEUES, TIMER)
    host.ends = {QUEUES[1]: 0.1}

    host.bring(ONE, Worker("queue", count=1))

    assert host.active == host.enabled == {QUEUES[0]}


@pytest.mark.parametrize("how", ["file", "unit"])
def test_what_runs_with_older_files_is_started_anew(host: Host, how: str) -> None:
    host.run(QUEUES[0], stale=how == "unit")
    host.ends = {QUEUES[0]: 0.1}
    before = host.systemd.units[QUEUES[0]].pid

    assert host.bring(ONE, Worker("queue"), touched=math.inf if how == "file" else 0.0)

    assert host.active == {QUEUES[0]}
    assert host.systemd.units[QUEUES[0]].pid != before
    assert "daemon-reload" in host.systemd.changes or how == "file"


def test_one_that_does_not_stay_alive(host: Host) -> None:
    """Neither one that systemd tries again and again, nor one that it starts too quickly to be seen."""
    for restarts, state in ((1, "active"), (0, "activating"), (0, "failed")):
        host.systemd.units.clear()
        name = copy("queue", ONE)
        host.sleep = lambda _seconds, unit=host.systemd.units[name], state=state, restarts=restarts: (  # type: ignore[method-assign]
            vars(unit).update(state=state, restarts=restarts)
        )
        with pytest.raises(WorkerError, match=f"{name} does not stay alive. Its journal ends with: the last words"):
            host.bring(ONE, Worker("queue"))


def test_one_that_has_just_been_tried_again_is_watched(host: Host) -> None:
    """A run without anything to do must not believe the moment between two ends."""
    host.run(QUEUES[0], restarts=9, started=time.time() - 2)
    plan = host.workers(Worker("queue")).plan_run(ONE, NOTHING, lambda _name: 0.0)

    assert (plan.changed, plan.watch) == (False, [QUEUES[0]])
    host.systemd.units[QUEUES[0]].started = time.time() - 3600
    assert host.workers(Worker("queue")).plan_run(ONE, NOTHING, lambda _name: 0.0).watch == []


def test_a_schedule_that_is_none(host: Host) -> None:
    host.workers(TIDY).check()

    with pytest.raises(WorkerError, match="the schedule of the timer nightly is none: Failed to parse"):
        host.workers(Timer("nightly", "at dusk")).check()


# --- files


def text(path: Path, content: str, mode: str = "0644") -> TextFile:
    return TextFile(str(path), content, "root", "root", mode)


def test_files_are_compared_and_exchanged(tmp_path: Path) -> None:
    same, other, secret, gone = (tmp_path / name for name in ("same", "other", "new/secret.json", "gone"))
    same.write_text("a")
    other.write_text("b")
    gone.write_text("d")
    wanted = [text(same, "a"), text(other, "B"), text(secret, "c", "0640")]

    files = compare(wanted, [str(path) for path in (same, other, gone)])
    assert files == Files([text(other, "B"), text(secret, "c", "0640")], [str(gone)])
    files.exchange()

    assert (other.read_text(), secret.read_text(), gone.exists()) == ("B", "c", False)
    assert (other.stat().st_mode & 0o777, secret.stat().st_mode & 0o777) == (0o644, 0o640)
    assert compare(wanted, [str(same), str(other), str(secret)]) == NOTHING


# --- the module

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    (tmp_path / "units").mkdir()
    (tmp_path / "secrets.json").write_text("{}")
    monkeypatch.setattr(AnsibleModule, "run_command", lambda _module, argv, **_options: host.systemd(argv))
    monkeypatch.setattr(release_workers, "UNITS", str(tmp_path / "units"))
    monkeypatch.setattr(release_workers, "TOLD", str(tmp_path / "{}.told.json"))

    def run(*, check: bool = False, **arguments: object) -> dict[str, Any]:
        given = {
            "name": "reef",
            "root": str(tmp_path),
            "release": ONE,
            "workers": [{"name": "queue", "stop_signal": "SIGINT"}],
            "timers": [{"name": "tidy", "schedule": "hourly"}],
            "units": {"reef.queue@.service": "[Service]\n", "reef.tidy.timer": "[Timer]\n"},
            "environments": {"queue": '{"KEY": "a secret"}\n'},
            "config_files": [str(tmp_path / "secrets.json")],
            "settle": 0,
            **arguments,
        }
        with patch_module_args({**given, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            release_workers.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


def test_check_mode_then_for_real_then_again(run: Run, host: Host, tmp_path: Path) -> None:
    foreseen = run(check=True)
    assert (foreseen["changed"], host.systemd.changes, list((tmp_path / "units").iterdir())) == (True, [], [])

    done = run()
    assert (done["changed"], done["started"]) == (True, [copy("queue", ONE), TIMER])
    assert {path.name for path in (tmp_path / "units").iterdir()} == {"reef.queue@.service", "reef.tidy.timer"}
    assert [each["after"] for each in done["diff"]] == ["[Service]\n", "[Timer]\n"]
    assert "a secret" in (tmp_path / "workers" / "queue.json").read_text()
    assert "a secret" not in json.dumps([foreseen, done])
    assert host.active == host.enabled == {copy("queue", ONE), TIMER}

    assert not run()["changed"]
    assert not run(check=True)["changed"]


def test_a_changed_file_has_the_worker_started_anew(run: Run, host: Host, tmp_path: Path) -> None:
    run()
    for path in (tmp_path / "secrets.json", tmp_path / "workers" / "queue.json"):
        os.utime(path, (time.time() + 60, time.time() + 60))
        assert run(check=True)["stopped"] == {copy("queue", ONE): None}
        os.utime(path, (1e9, 1e9))
    changed = {"reef.queue@.service": "[Service]\nMemoryMax=1G\n", "reef.tidy.timer": "[Timer]\n"}
    assert run(check=True, units=changed)["started"] == [copy("queue", ONE)]


def test_none_are_left_of_what_is_no_more(run: Run, host: Host, tmp_path: Path) -> None:
    run()

    done = run(workers=[], timers=[], units={}, environments={})

    names = sorted(Path(path).name for path in done["removed"])
    assert names == ["queue.json", "reef.queue@.service", "reef.tidy.timer"]
    assert host.active == host.enabled == set()
    assert list((tmp_path / "units").iterdir()) == list((tmp_path / "workers").iterdir()) == []


def test_drained(run: Run, host: Host) -> None:
    host.run(TIMER)

    assert run(state="drained", check=True)["changed"]
    assert host.active == {TIMER}
    assert run(state="drained")["stopped"] == {TIMER: 0.0}
    assert not run(state="drained")["changed"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"timers": [{"name": "nightly", "schedule": "at dusk"}]}, "the schedule of the timer nightly is none"),
        ({"release": ""}, "reef has no current release yet: name the release to run"),
        ({"group": "no-such-group"}, "no-such-group"),
    ],
)
def test_what_is_refused(run: Run, host: Host, arguments: dict[str, Any], words: str) -> None:
    refused = run(**arguments)

    assert refused["failed"]
    assert words in refused["msg"]
    assert host.active == set()
