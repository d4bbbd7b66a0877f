# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The few things that are asked of systemd, each as one call of systemctl or journalctl."""

from __future__ import annotations

import time

from ansible_collections.coralnet.server.plugins.module_utils._run import Run

PROPERTIES = "ActiveState,UnitFileState,NeedDaemonReload,NRestarts,MainPID,ExecMainStartTimestampMonotonic"


class SystemdError(Exception):
    """Systemd refused; the message holds its words."""


class Unit:
    """One unit and its state when last looked at."""

    def __init__(self, name: str, run: Run) -> None:
        self.name = name
        self._run = run
        self._seen: dict[str, str] = {}
        self.look()

    def look(self) -> None:
        rc, out, err = self._run(["systemctl", "show", f"--property={PROPERTIES}", "--", self.name])
        if rc != 0:
            raise SystemdError(f"could not read the state of {self.name}: {err.strip()}")
        self._seen = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    @property
    def active(self) -> bool:
        return self._seen.get("ActiveState") in ("active", "reloading")

    @property
    def idle(self) -> bool:
        """Neither running nor on the way there or back."""
        return self._seen.get("ActiveState") in ("inactive", "failed")

    @property
    def enabled(self) -> bool:
        return self._seen.get("UnitFileState") == "enabled"

    @property
    def stale(self) -> bool:
        """Whether the unit's files changed since systemd read them."""
        return self._seen.get("NeedDaemonReload") == "yes"

    @property
    def pid(self) -> int:
        return int(self._seen.get("MainPID") or 0)

    @property
    def restarts(self) -> int:
        """How often systemd has started it again because it ended by itself."""
        return int(self._seen.get("NRestarts") or 0)

    @property
    def started(self) -> float:
        """When the main process started, in seconds since the epoch."""
        monotonic = int(self._seen.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
        return time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + monotonic


def systemctl(run: Run, *argv: str) -> None:
    rc, _out, err = run(["systemctl", *argv])
    if rc != 0:
        raise SystemdError(f"systemctl {' '.join(argv)} failed: {err.strip()}")


def journal(run: Run, unit: str, lines: int = 60) -> str:
    return run(["journalctl", "--unit", unit, "--lines", str(lines), "--no-pager", "--output", "cat"])[1].strip()


def instances(run: Run, prefix: str) -> list[str]:
    """Name every instance of a template by its release: those that run, and those enabled for the next boot."""
    argv = ["list-units", "--all", "--plain", "--no-legend", f"{prefix}@*.service", f"{prefix}@*.socket"]
    _rc, out, _err = run(["systemctl", *argv])
    return sorted({line.split()[0].partition("@")[2].rpartition(".")[0] for line in out.splitlines() if line.strip()})
