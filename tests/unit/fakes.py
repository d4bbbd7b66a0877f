"""A host's systemd, as far as the plugins speak to it: units with a state, and a log of what was asked."""

from __future__ import annotations

import fnmatch
import time
from collections import defaultdict
from dataclasses import dataclass

Result = tuple[int, str, str]


@dataclass
class Unit:
    """What `systemctl show` would tell of a unit."""

    state: str = "inactive"
    enabled: bool = False
    stale: bool = False
    pid: int = 0
    started: float = 0.0
    restarts: int = 0


class Systemd:
    """Takes argument lists, as `run` of the plugins does.

    `refuse` maps the words of a call (verb and unit) to what systemd says when it refuses it.
    """

    def __init__(self) -> None:
        self.units: defaultdict[str, Unit] = defaultdict(Unit)
        self.calls: list[list[str]] = []
        self.refuse: dict[tuple[str, ...], str] = {}
        self.clock = time.time
        self.journal = "the last words\n"
        self._pid = 100

    def __call__(self, argv: list[str]) -> Result:
        self.calls.append(argv)
        program, *words = argv
        if program == "journalctl":
            return 0, self.journal, ""
        if program == "systemd-analyze":
            known = not words[-1].startswith("at ")
            return (0, "", "") if known else (1, "", "Failed to parse calendar specification: Invalid argument\n")
        assert program == "systemctl", argv
        verb, *words = words
        names = [word for word in words if not word.startswith("-")]
        for name in names or [""]:
            refusal = self.refuse.get((verb, name)) or self.refuse.get((verb,))
            if refusal:
                if verb == "start":
                    self.units[name].state = "failed"
                return 1, "", f"{refusal}\n"
        return getattr(self, f"_{verb.replace('-', '_')}")(names)

    @property
    def changes(self) -> list[str]:
        """Every call but those that only look, as one line each."""
        lines = [" ".join(call[1:]) for call in self.calls if call[0] == "systemctl"]
        return [line for line in lines if not line.startswith(("show ", "list-units "))]

    def run_instance(self, instance: str, started: float, *, enabled: bool = True) -> None:
        """Have an instance running, as a switch leaves it."""
        self.units[f"{instance}.socket"] = Unit("active", enabled)
        self._pid += 1
        self.units[f"{instance}.service"] = Unit("active", enabled, pid=self._pid, started=started)

    def die(self, instance: str) -> None:
        """End an instance's process; for a draining one this is the end of its last request."""
        service = self.units[f"{instance}.service"]
        service.state, service.pid = "inactive", 0

    def boot(self) -> None:
        """Stop everything and start what is enabled."""
        for unit in self.units.values():
            unit.state, unit.pid = ("active", 1) if unit.enabled else ("inactive", 0)
            unit.started = self.clock()

    def _show(self, names: list[str]) -> Result:
        found = [name for each in names for name in (fnmatch.filter(self.units, each) if "*" in each else [each])]
        return 0, "\n".join(self._properties(name) for name in found), ""

    def _properties(self, name: str) -> str:
        unit = self.units[name]
        boot = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
        properties = {
            "Id": name,
            "ActiveState": unit.state,
            "UnitFileState": "enabled" if unit.enabled else "disabled",
            "NeedDaemonReload": "yes" if unit.stale else "no",
            "NRestarts": unit.restarts,
            "MainPID": unit.pid,
            "ExecMainStartTimestampMonotonic": max(int((unit.started - boot) * 1e6), 0),
        }
        return "".join(f"{name}={value}\n" for name, value in properties.items())

    def _list_units(self, patterns: list[str]) -> Result:
        rows = [
            f"{name} loaded {unit.state} running A description of several words\n"
            for name, unit in self.units.items()
            if (unit.state != "inactive" or unit.enabled) and any(fnmatch.fnmatch(name, each) for each in patterns)
        ]
        return 0, "".join(rows), ""

    def _enable(self, names: list[str]) -> Result:
        for name in names:
            self.units[name].enabled = True
        return 0, "", ""

    def _disable(self, names: list[str]) -> Result:
        for name in names:
            self.units[name].enabled = False
        return 0, "", ""

    def _start(self, names: list[str]) -> Result:
        for name in names:
            unit = self.units[name]
            if unit.state != "active":
                self._pid += 1
                unit.state, unit.pid, unit.started = "active", self._pid, self.clock()
        return 0, "", ""

    def _restart(self, names: list[str]) -> Result:
        self._stop(names)
        return self._start(names)

    def _stop(self, names: list[str]) -> Result:
        for name in names:
            self.units[name].state, self.units[name].pid = "inactive", 0
        return 0, "", ""

    def _kill(self, names: list[str]) -> Result:
        """A process that was told to end goes on until its last request is done: see die()."""
        for unit in map(self.units.__getitem__, names):
            if not unit.pid:
                return 1, "", "No main process to kill\n"
            if {"--signal=KILL", "--signal=SIGKILL"} & set(self.calls[-1]):
                unit.state, unit.pid = "failed", 0
        return 0, "", ""

    def _reset_failed(self, names: list[str]) -> Result:
        for name in names:
            self.units[name].restarts = 0
            if self.units[name].state == "failed":
                self.units[name].state = "inactive"
        return 0, "", ""

    def _daemon_reload(self, _names: list[str]) -> Result:
        for unit in self.units.values():
            unit.stale = False
        return 0, "", ""
