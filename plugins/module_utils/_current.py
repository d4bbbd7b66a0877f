# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Does a systemd service run with what is on disk? Asked of the service, so that no change can be lost."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from ansible_collections.coralnet.server.plugins.module_utils._run import Run
from ansible_collections.coralnet.server.plugins.module_utils._systemd import SystemdError, systemctl

PROPERTIES = (
    "Id",
    "ActiveState",
    "UnitFileState",
    "NeedDaemonReload",
    "DropInPaths",
    "ReloadResult",
    "ActiveEnterTimestampMonotonic",
    "StateChangeTimestampMonotonic",
    "ConsistsOf",
    "Wants",
)
NOTHING, START, RESTART, RELOAD = "", "start", "restart", "reload"


class Service:
    """A service with the units that are part of it and start with it.

    The `postfix.service` of Debian 12 is but a name for `postfix@-.service`. That of Debian 13 is the real one, and has
    the other as a part that never runs.
    """

    def __init__(self, name: str, run: Run) -> None:
        self.name = name
        self._run = run
        self._units: list[dict[str, str]] = []
        self.look()

    def look(self) -> None:
        own = self._show(self.name)
        wanted = own["Wants"].split()
        self._units = [own, *(self._show(part) for part in own["ConsistsOf"].split() if part in wanted)]

    @property
    def enabled(self) -> bool:
        return self._units[0]["UnitFileState"] == "enabled"

    @property
    def stale(self) -> bool:
        """Whether the unit's files changed since systemd read them."""
        return any(unit["NeedDaemonReload"] == "yes" for unit in self._units)

    def idle(self) -> list[str]:
        """Name the units that do not run."""
        return [unit["Id"] for unit in self._units if unit["ActiveState"] not in ("active", "reloading")]

    def not_reloaded(self) -> list[str]:
        """Name the units that refused their last reload: systemctl tells of the first one alone."""
        return [unit["Id"] for unit in self._units if unit["ReloadResult"] != "success"]

    def action(self, restart_files: Iterable[str], reload_files: Iterable[str]) -> str:
        """Say what it takes to have it run with these files."""
        if self.idle():
            return START
        outdated = self._since("ActiveEnterTimestampMonotonic") < changed(restart_files)
        if outdated or self.stale or self._overlooked(restart_files):
            return RESTART
        # A reload is a change of state, and a start is one too
        if self.not_reloaded() or self._since("StateChangeTimestampMonotonic") < changed(reload_files):
            return RELOAD
        return NOTHING

    def act(self, action: str, enable: bool = True) -> None:
        """Do it, and see that it was done."""
        # Where there is nothing to read this costs nothing, and `stale` may not tell
        if self.stale or action in (START, RESTART):
            systemctl(self._run, "daemon-reload")
        if enable and not self.enabled:
            systemctl(self._run, "enable", "--quiet", self.name)
        if action == RELOAD:
            systemctl(self._run, "reload", self.name)
        elif action:
            # Not start: that would wait for the end of a start that hangs. Earlier tries count no longer.
            self._run(["systemctl", "reset-failed", self.name])
            systemctl(self._run, "restart", self.name)
        self.look()
        if self.idle():
            raise SystemdError(f"{', '.join(self.idle())} does not run")
        if action == RELOAD and self.not_reloaded():
            raise SystemdError(f"{', '.join(self.not_reloaded())} could not be reloaded, and goes on as it was")

    def _overlooked(self, files: Iterable[str]) -> bool:
        """Whether there is a drop-in that systemd does not know: up to version 252 it sees no new directory of them."""
        folders = {f"{unit['Id']}.d": unit["DropInPaths"].split() for unit in self._units}
        found = ((path, folders.get(os.path.basename(os.path.dirname(path)))) for path in files)
        return any(known is not None and path not in known and os.path.exists(path) for path, known in found)

    def _since(self, stamp: str) -> float:
        """Give the earliest of the units' stamps, in seconds since the epoch."""
        monotonic = min(int(unit[stamp]) for unit in self._units) / 1e6
        return time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + monotonic

    def _show(self, name: str) -> dict[str, str]:
        rc, out, err = self._run(["systemctl", "show", f"--property={','.join(PROPERTIES)}", "--", name])
        if rc != 0:
            raise SystemdError(f"could not read the state of {name}: {err.strip()}")
        found = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        return {name: found.get(name, "") for name in PROPERTIES}


def changed(paths: Iterable[str]) -> float:
    """When the last change of these files was, in seconds since the epoch; links are followed.

    The time of the inode: a file that was put back from a copy keeps the time of its content.
    """
    return max((os.stat(path).st_ctime for path in paths if os.path.exists(path)), default=0.0)
