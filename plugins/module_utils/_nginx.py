# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The configuration of nginx on disk: which sites are enabled, whether nginx takes it, whether it has it."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass

from ansible_collections.coralnet.server.plugins.module_utils._run import Run

# A file's time and a process's start come from clocks that differ by a few milliseconds
CLOCKS_DIFFER = 0.05
INCLUDED = ("sites-enabled", "conf.d", "modules-enabled")
AT_FDCWD, RENAME_EXCHANGE = -100, 2
PID_FILE = "/run/nginx.pid"


class NginxError(Exception):
    """Nginx refused, or what was asked makes no sense; the message says what to do."""


@dataclass(frozen=True)
class Nginx:
    """An nginx installation by its configuration directory, mostly /etc/nginx."""

    directory: str
    run: Run

    @property
    def available(self) -> str:
        return os.path.join(self.directory, "sites-available")

    @property
    def enabled(self) -> str:
        return os.path.join(self.directory, "sites-enabled")

    def sites(self) -> list[str]:
        """Name the enabled sites. Files that are no links are not ours to disable, and not named."""
        if not os.path.isdir(self.enabled):
            return []
        return sorted(name for name in os.listdir(self.enabled) if os.path.islink(os.path.join(self.enabled, name)))

    def check_sites(self, names: list[str]) -> None:
        """Refuse names that cannot be enabled."""
        for name in names:
            path = os.path.join(self.available, name)
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
                raise NginxError(f"{name!r} is no name of a site: give the name of a file in {self.available}")
            if os.path.islink(path) and not os.path.exists(path):
                raise NginxError(f"{path} is a link to {os.readlink(path)}, which does not exist: make that file first")
            if not os.path.isfile(path):
                raise NginxError(f"there is no site {name!r}: make {path} first")

    def check_links(self, names: list[str]) -> None:
        """Refuse enabled sites whose files are gone, which nginx would stumble over."""
        for name in names:
            path = os.path.join(self.enabled, name)
            if os.path.islink(path) and not os.path.exists(path):
                raise NginxError(f"{path} is a link to {os.readlink(path)}, which does not exist: disable {name!r} too")

    def refusal(self, sites: list[str]) -> str:
        """Ask nginx what it would say to a set of sites, without touching the real one; empty for nothing."""
        with tempfile.TemporaryDirectory(prefix="nginx-") as parent:
            shadow = os.path.join(parent, "nginx")
            shutil.copytree(self.directory, shadow, symlinks=True, ignore=_no_sockets)
            _redirect(shadow, self.directory)
            build_enabled(os.path.join(shadow, "sites-enabled"), sites)
            rc, _out, err = self.run(["nginx", "-t", "-q", "-c", os.path.join(shadow, "nginx.conf")])
            return "" if rc == 0 else _words(err.replace(shadow, self.directory))

    def swap(self, sites: list[str]) -> None:
        """Put another set of sites in place of the enabled ones, at once where the file system can do that."""
        fresh = f"{self.enabled}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        if os.path.isdir(self.enabled):
            shutil.copytree(self.enabled, fresh, symlinks=True)
        build_enabled(fresh, sites)
        if os.path.isdir(self.enabled) and _exchange(fresh, self.enabled):
            shutil.rmtree(fresh)
            return
        shutil.rmtree(fresh)
        build_enabled(self.enabled, sites)

    def masters(self) -> list[int]:
        return [pid for pid, name in _processes() if name.startswith("nginx: master")]

    def master(self, suffix: str = "") -> int:
        """Find the master that the file of its number names; 0 where none runs. `.oldbin` is for one that leaves."""
        try:
            with open(PID_FILE + suffix, encoding="utf-8") as file:
                pid = int(file.read().strip() or 0)
        except (OSError, ValueError):
            return 0
        return pid if pid in self.masters() else 0

    def outdated(self) -> bool:
        """Whether the running master is not the program on disk, or an exchange of the two was not finished."""
        return self._replaced() or bool(_workers_of(self.master(".oldbin")))

    def _replaced(self) -> bool:
        # The kernel adds "(deleted)" to the name of a program that was replaced
        master, program = self.master(), os.path.realpath(shutil.which("nginx") or "/usr/sbin/nginx")
        return bool(master) and os.readlink(f"/proc/{master}/exe") != program

    def take_over(self, timeout: float) -> None:
        """Have the program on disk take over from the running one, which keeps its last requests.

        https://nginx.org/en/docs/control.html#upgrade: until `retire`, `give_back` can undo this.
        """
        leaving = self.master(".oldbin")
        if leaving and (self._replaced() or not _workers_of(self.master())):
            raise NginxError(
                "nginx cannot be exchanged while an earlier exchange still has requests to finish: try again when one "
                f"of the processes {leaving} and {self.master()} has ended"
            )
        if not leaving:
            old = self.master()
            os.kill(old, signal.SIGUSR2)
            deadline = time.monotonic() + timeout
            while self.master() in (0, old) or not _workers_of(self.master()):
                if time.monotonic() >= deadline:
                    raise NginxError("the new nginx did not start: see its error log")
                time.sleep(0.05)
        os.kill(self.master(".oldbin"), signal.SIGWINCH)

    def retire(self) -> None:
        """Let the old master end when its last requests have."""
        old = self.master(".oldbin")
        if old:
            os.kill(old, signal.SIGQUIT)

    def give_back(self, timeout: float) -> bool:
        """Have the old program go on with what it had loaded; say whether there was one."""
        old, new = self.master(".oldbin"), self.master()
        if not old:
            return False
        os.kill(old, signal.SIGHUP)
        deadline = time.monotonic() + timeout
        while not _workers_of(old) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(new, signal.SIGQUIT)
        return True

    def loaded(self) -> bool:
        """Whether the workers started after the last change of any file that nginx reads."""
        started = [_started(pid) for pid in self._workers()]
        return bool(started) and min(started) >= self._changed() - CLOCKS_DIFFER

    def reload(self, timeout: float = 10) -> None:
        """Hand over to new workers with what is on disk, and wait until they have: a reload itself returns earlier.

        The old ones finish their requests, and close the connections that idle, the ones to applications too.
        """
        old = self._workers()
        rc, _out, err = self.run(["nginx", "-s", "reload", "-c", os.path.join(self.directory, "nginx.conf")])
        if rc != 0:
            raise NginxError(f"nginx could not be reloaded: {_words(err)}")
        deadline = time.monotonic() + timeout
        while old & self._workers() or not self._workers():
            if time.monotonic() >= deadline:
                raise NginxError("nginx was reloaded, and goes on with its old configuration: see its error log")
            time.sleep(0.05)

    def _workers(self) -> set[int]:
        """Those that take requests; one that shuts down has another title."""
        return {pid for pid, name in _processes() if name == "nginx: worker process"}

    def _changed(self) -> float:
        """When what nginx reads last changed, in seconds since the epoch.

        A directory's time counts where a glob includes its files, since removing one changes nothing else.
        """
        times = [0.0]
        for directory, folders, files in os.walk(self.directory):
            if os.path.basename(directory) in INCLUDED:
                times.append(os.lstat(directory).st_mtime)
            if directory == self.directory and "sites-available" in folders:
                folders.remove("sites-available")
            for name in files:
                path = os.path.join(directory, name)
                times.append(os.lstat(path).st_mtime)
                if os.path.exists(path):
                    times.append(os.stat(path).st_mtime)
        return max(times)


def build_enabled(directory: str, sites: list[str]) -> None:
    """Make the links of a sites-enabled directory just these; new ones before old ones go."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
    for name in sites:
        if not os.path.lexists(os.path.join(directory, name)):
            os.symlink(os.path.join("..", "sites-available", name), os.path.join(directory, name))
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if os.path.islink(path) and name not in sites:
            os.unlink(path)


def _no_sockets(directory: str, names: list[str]) -> set[str]:
    """Leave out what cannot be copied."""
    kinds = (os.path.islink, os.path.isfile, os.path.isdir)
    return {name for name in names if not any(kind(os.path.join(directory, name)) for kind in kinds)}


def _redirect(shadow: str, original: str) -> None:
    """Make a copied configuration refer to itself where it names the original's directory."""
    for directory, folders, files in os.walk(shadow):
        for name in [*folders, *files]:
            path = os.path.join(directory, name)
            if os.path.islink(path):
                target = os.readlink(path)
                if target.startswith(original + "/"):
                    os.unlink(path)
                    os.symlink(shadow + target[len(original) :], path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    content = file.read()
                changed = re.sub(rb"(?<![\w/.-])" + re.escape(original.encode()) + rb"(?=/)", shadow.encode(), content)
                if changed != content:
                    with open(path, "wb") as file:
                        file.write(changed)


def _exchange(one: str, other: str) -> bool:
    """Exchange two directories in one step, if the C library and the file system know how (renameat2)."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    return bool(renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0)


def _words(stderr: str) -> str:
    """Keep of nginx's output what says why."""
    reasons = re.findall(r"\[(?:emerg|alert|crit)\] (?:\d+#\d+: )?(.*)", stderr)
    text = "; ".join(dict.fromkeys(reasons)) or stderr.strip()
    if "a duplicate default server" in text:
        return f"two enabled sites claim to be the default server of the same address: {text}"
    return text


def _processes() -> list[tuple[int, str]]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                found.append((int(pid), file.read().replace("\0", " ").strip()))
        except OSError:
            continue
    return found


def _workers_of(master: int) -> list[int]:
    """Find the workers of a master that take requests: those that end have another title."""
    return [pid for pid, name in _processes() if name == "nginx: worker process" and _parent(pid) == master]


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _started(pid: int) -> float:
    """When a process started, in seconds since the epoch; long ago for one that is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except OSError:
        return time.time()
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + ticks / os.sysconf("SC_CLK_TCK")
