# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The workers and timers of a site: each ended by its own policy, and run on one release."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ansible_collections.coralnet.server.plugins.module_utils._files import TextFile
from ansible_collections.coralnet.server.plugins.module_utils._run import Run
from ansible_collections.coralnet.server.plugins.module_utils._systemd import SystemdError, journal, systemctl

PROPERTIES = "Id,ActiveState,UnitFileState,NeedDaemonReload,NRestarts,MainPID,ExecMainStartTimestampMonotonic"
# A timer's program is ended by systemd when its time is over, and gets a little more to be gone
GRACE = 10.0
# Whoever was started again in these last seconds may be about to die again
RECENT = 15.0


class WorkerError(Exception):
    """A worker or timer is not as it was asked for; the message says which, and why."""


@dataclass(frozen=True)
class Worker:
    """A program that runs all the time, in as many copies as it counts."""

    name: str
    count: int = 1
    stop_signal: str = "SIGTERM"
    stop_seconds: float = 90
    on_timeout: str = "fail"


@dataclass(frozen=True)
class Timer:
    """A program that runs at times, always of the current release."""

    name: str
    schedule: str
    timeout_seconds: float = 3600


@dataclass
class State:
    """A unit of systemd, as it was when last looked at."""

    state: str = "inactive"
    enabled: bool = False
    stale: bool = False
    restarts: int = 0
    pid: int = 0
    started: float = 0.0

    @property
    def idle(self) -> bool:
        return self.state in ("inactive", "failed")


@dataclass
class Files:
    """The units and environments on disk: what is to be written, and what is left of others that are no more."""

    write: list[TextFile] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)

    def exchange(self) -> None:
        for file in self.write:
            file.write()
        for path in self.remove:
            os.unlink(path)


@dataclass
class Plan:
    """What has to happen, worked out without touching anything."""

    files: Files = field(default_factory=Files)
    stop: list[str] = field(default_factory=list)
    start: list[str] = field(default_factory=list)
    enable: list[str] = field(default_factory=list)
    disable: list[str] = field(default_factory=list)
    reload: bool = False
    watch: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return any((self.files.write, self.files.remove, self.stop, self.start, self.enable, self.disable))


class Told:
    """Which processes were sent their signal already: to most programs a second one means to leave the work undone.

    Kept below /run, which forgets it as the machine forgets its processes.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def news(self, pids: dict[str, int]) -> list[str]:
        """Name those that have not been told yet, and remember all."""
        try:
            with open(self._path, encoding="utf-8") as file:
                before = json.load(file)
        except (OSError, ValueError):
            before = {}
        if pids:
            with open(self._path, "w", encoding="utf-8") as file:
                json.dump({**before, **pids}, file)
        return [name for name, pid in pids.items() if before.get(name) != pid]


class Workers:
    """`<site>.<worker>@<release>.<n>.service`, and `<site>.<timer>.timer` with its service.

    No site has a dot in its name, so these are nobody else's units.
    """

    def __init__(
        self,
        site: str,
        workers: list[Worker],
        timers: list[Timer],
        run: Run,
        told: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._site = site
        self._workers = {worker.name: worker for worker in workers}
        self._timers = {timer.name: timer for timer in timers}
        self._run = run
        self._told = Told(told)
        self._clock = clock
        self._sleep = sleep

    def check(self) -> None:
        """Refuse a schedule that systemd does not understand."""
        for timer in self._timers.values():
            rc, _out, err = self._run(["systemd-analyze", "calendar", "--", timer.schedule])
            if rc != 0:
                raise WorkerError(f"the schedule of the timer {timer.name} is none: {err.strip()}")

    def plan_drain(self) -> Plan:
        """Everything is to stand still, and to be as enabled as it was: a reboot starts what ran."""
        return Plan(stop=[name for name, unit in self._look().items() if not unit.idle])

    def plan_run(self, release: str, files: Files, touched: Callable[[str], float]) -> Plan:
        """Every wanted unit is to run with what is on disk, and no other.

        `touched` says when the last of the files that a worker reads was changed.
        """
        units = self._look()
        wanted = self._wanted(release)
        plan = Plan(files, reload=any(unit.stale for unit in units.values()))
        for name in wanted:
            unit = units.get(name, State())
            if not unit.idle and (unit.stale or touched(name) > unit.started):
                plan.stop.append(name)
            # One that is between two tries is looked at as if it had just been started
            if name in plan.stop or unit.state != "active":
                plan.start.append(name)
            elif unit.restarts and unit.started > time.time() - RECENT:
                plan.watch.append(name)
            if not unit.enabled:
                plan.enable.append(name)
        for name, unit in units.items():
            if name not in wanted and self._timer_of(name) not in self._timers:
                plan.stop += [name] if not unit.idle else []
                plan.disable += [name] if unit.enabled else []
        return plan

    def stop(self, names: list[str]) -> dict[str, float]:
        """Stop units as their policies say, all at once; give the seconds that each took."""
        timers = [name for name in names if name.endswith(".timer")]
        # What a timer has started meanwhile, too
        services = set(names) - set(timers) | {f"{timer.removesuffix('.timer')}.service" for timer in timers}
        if timers:
            systemctl(self._run, "stop", *timers)
        began = self._clock()
        units = {name: unit for name, unit in self._look().items() if name in services and not unit.idle}
        told = {name: unit.pid for name, unit in units.items() if unit.state == "active" and self._policy(name)}
        by_signal = defaultdict(list)
        for name in self._told.news(told):
            by_signal[self._workers[self._worker_of(name)].stop_signal].append(name)
        for signal, same in by_signal.items():
            # Not stop, which would kill who is still busy after TimeoutStopSec. systemd before 252 has no --kill-whom.
            # That one of them has ended by itself meanwhile is no error, and one that was not told is seen by its time.
            self._run(["systemctl", "kill", "--kill-who=main", f"--signal={signal}", *same])
        # Of a worker that the inventory has no longer, the unit itself says how
        if orphans := [name for name in units if self._worker_of(name) and not self._policy(name)]:
            systemctl(self._run, "stop", *orphans)
        return dict.fromkeys(timers, 0.0) | self._wait(told, units, began)

    def apply(self, plan: Plan, settle: float) -> None:
        """Start what is to run, have the next boot do the same, and see that it stays alive."""
        if plan.disable:
            systemctl(self._run, "disable", "--quiet", *plan.disable)
        plan.files.exchange()
        if plan.reload or plan.files.write or plan.files.remove:
            systemctl(self._run, "daemon-reload")
        if plan.enable:
            systemctl(self._run, "enable", "--quiet", *plan.enable)
        if fresh := plan.start + plan.watch:
            # Its failed starts of before count no longer
            self._run(["systemctl", "reset-failed", *fresh])
            systemctl(self._run, "start", *fresh)
            self._settle(fresh, settle)

    def _settle(self, names: list[str], seconds: float) -> None:
        deadline = self._clock() + seconds
        pids: dict[str, int] = {}
        while True:
            units = self._look()
            for name in names:
                unit = units.get(name, State())
                if unit.state != "active" or unit.restarts or pids.setdefault(name, unit.pid) != unit.pid:
                    words = journal(self._run, name, 20)
                    raise WorkerError(f"{name} does not stay alive. Its journal ends with: {words}")
            if self._clock() >= deadline:
                return
            self._sleep(0.2)

    def _wait(self, told: dict[str, int], units: dict[str, State], began: float) -> dict[str, float]:
        """Wait for each unit's end, until its time is over."""
        waiting, took = set(units), {}
        while True:
            now = self._clock() - began
            seen = self._look()
            for name in sorted(waiting):
                unit = seen.get(name, State())
                if name in told and unit.state in ("active", "deactivating") and unit.pid == told[name]:
                    ended = self._overdue(name, now)
                elif self._worker_of(name):
                    # Its process has ended, and systemd is about to start it again, or was too quick
                    ended = True
                    if not unit.idle:
                        systemctl(self._run, "stop", name)
                else:
                    ended = unit.idle
                    self._must_end(name, now, ended)
                if ended:
                    waiting.remove(name)
                    took[name] = round(now, 1)
            if not waiting:
                return took
            self._sleep(0.1)

    def _overdue(self, name: str, now: float) -> bool:
        """Whether a worker's time is over and it was killed for it."""
        worker = self._workers[self._worker_of(name)]
        if now < worker.stop_seconds:
            return False
        if worker.on_timeout == "fail":
            raise WorkerError(
                f"the worker {name} did not stop within {worker.stop_seconds:g} seconds of {worker.stop_signal}: it may"
                " still be busy. Wait for it, give it more stop_seconds, or have it killed (worker_on_timeout: kill)"
            )
        systemctl(self._run, "kill", "--signal=SIGKILL", name)
        systemctl(self._run, "stop", name)
        return True

    def _must_end(self, name: str, now: float, ended: bool) -> None:
        """Give a timer's program the time that its unit gives it."""
        timer = self._timers.get(self._timer_of(name))
        if not ended and now > (timer.timeout_seconds if timer else 0) + GRACE:
            if timer:
                raise WorkerError(f"{name} still runs, {timer.timeout_seconds:g} seconds after its timer was stopped")
            systemctl(self._run, "stop", name)

    def _wanted(self, release: str) -> list[str]:
        copies = [
            f"{self._site}.{worker.name}@{release}.{number}.service"
            for worker in self._workers.values()
            for number in range(1, worker.count + 1)
        ]
        return copies + [f"{self._site}.{name}.timer" for name in self._timers]

    def _look(self) -> dict[str, State]:
        """Ask for all of the site's units in one call."""
        patterns = [f"{self._site}.*.{kind}" for kind in ("service", "timer")]
        rc, out, err = self._run(["systemctl", "show", "--all", f"--property={PROPERTIES}", "--", *patterns])
        if rc != 0:
            raise SystemdError(f"could not read the state of the workers of {self._site}: {err.strip()}")
        boot = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
        units = {}
        for block in filter(None, out.split("\n\n")):
            seen = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            units[seen["Id"]] = State(
                state=seen["ActiveState"],
                enabled=seen["UnitFileState"] == "enabled",
                stale=seen["NeedDaemonReload"] == "yes",
                restarts=int(seen.get("NRestarts") or 0),
                pid=int(seen.get("MainPID") or 0),
                started=boot + int(seen.get("ExecMainStartTimestampMonotonic") or 0) / 1e6,
            )
        return units

    def _policy(self, name: str) -> bool:
        return self._worker_of(name) in self._workers

    def _worker_of(self, name: str) -> str:
        """Name the worker whose copy this is; nothing for the units of timers."""
        worker, at, _instance = name.removeprefix(f"{self._site}.").partition("@")
        return worker if at else ""

    def _timer_of(self, name: str) -> str:
        return "" if "@" in name else name.removeprefix(f"{self._site}.").rpartition(".")[0]


def compare(wanted: list[TextFile], found: Iterable[str]) -> Files:
    """Find what differs from the files that are wanted; what was found and is not wanted goes."""
    return Files([file for file in wanted if file.differs], sorted(set(found) - {file.path for file in wanted}))
