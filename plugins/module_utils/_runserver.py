# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A development server in a person's own checkout: what it needs, and how it is started and stopped."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.coralnet.server.plugins.module_utils._http import get
from ansible_collections.coralnet.server.plugins.module_utils._release import digest
from ansible_collections.coralnet.server.plugins.module_utils._run import Run

# What it reads when it starts; serve.py and run are written by the role
READ = ("serve.py", "run", "environment.json", "runserver_settings.py", "venv.json")
LOG = "log"
LOG_LIMIT = 10 * 1024 * 1024
STOP_SECONDS = 15


class RunserverError(Exception):
    """It cannot run; the message says what to do about it."""


def site_of(address: str, port: int) -> str:
    """Give the address and port as people and Django write them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def port_is_free(address: str, port: int) -> None:
    """Refuse a port that cannot be had."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((address, port))
            door.listen()  # a port may be bound twice, and only one listens
        except OSError as exc:
            taken = exc.errno == errno.EADDRINUSE
            why = "is taken by another program: end that, or" if taken else f"cannot be had ({exc.strerror}):"
            raise RunserverError(f"port {port} of {address} {why} set runserver_port to another") from exc


def source_is_there(source: str, project: str, files: Sequence[str], repository: str) -> bool:
    """Say whether there is a checkout; where there is none, there must be something to clone, and a git to do it."""
    if os.path.isdir(source) and os.listdir(source):
        if not os.path.isdir(os.path.join(source, project)):
            raise RunserverError(
                f"{source} has no directory {project}: set runserver_source to the site's checkout, or "
                f"runserver_project_directory to where its manage.py is"
            )
        if missing := [file for file in files if not os.path.isfile(os.path.join(source, file))]:
            raise RunserverError(
                f"{source} has no {', '.join(missing)}: set runserver_requirements to files that are there"
            )
        return True
    if os.path.lexists(source) and not os.path.isdir(source):
        raise RunserverError(f"{source} is no directory: set runserver_source to the site's checkout")
    if not repository:
        raise RunserverError(
            f"there is no source in {source}: set runserver_source to your checkout, or runserver_repository to "
            f"clone it"
        )
    if not shutil.which("git"):
        raise RunserverError("git is needed to clone the source: install it, or set runserver_source to your checkout")
    return False


def find_uv(named: str) -> str:
    """Find uv where it is said to be, or where its installers put it; empty where it is not."""
    places = [
        os.environ.get("PATH", os.defpath),
        os.path.expanduser("~/.local/bin"),
        os.path.expanduser("~/.cargo/bin"),
    ]
    found = shutil.which(named) if named else shutil.which("uv", path=os.pathsep.join(places))
    if named and not found:
        raise RunserverError(f"there is no {named}: set runserver_uv to where uv is, or leave it empty")
    return found or ""


def python_works(python: str, uv: str, run: Run) -> None:
    """Refuse an interpreter that is not there, or cannot make virtual environments."""
    if not shutil.which(python):
        raise RunserverError(f"there is no {python}: install Python, or set runserver_python to one that is there")
    # uv needs none of Python's own tools
    if not uv and run([python, "-c", "import ensurepip, venv"])[0]:
        raise RunserverError(
            f"{python} cannot make virtual environments: install its package (python3-venv on Debian and Ubuntu), or uv"
        )


def wait(address: str, port: int, seconds: float, died: Callable[[], str]) -> int:
    """Wait until the server answers; return the status of its front page."""
    deadline = time.monotonic() + seconds
    site = site_of(address, port)
    while True:
        answer = get(
            f"http://{site}", "/", {"Host": site, "Accept": "text/html"}, max(deadline - time.monotonic(), 1.0)
        )
        if answer.status:
            return answer.status
        if death := died():
            raise RunserverError(death)
        if time.monotonic() > deadline:
            raise RunserverError(f"{answer.error}, within {seconds:g} seconds")
        time.sleep(0.1)


class Runserver:
    """The server that is kept running by serve.py, as its directory tells of it."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    @property
    def _told(self) -> dict[str, Any]:
        """What its keeper has written down."""
        try:
            with open(self.path("serve.json"), encoding="utf-8") as file:
                return dict(json.load(file))
        except (OSError, ValueError):
            return {}

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    @property
    def running(self) -> bool:
        """Whether anything of it lives: whatever was started holds this lock."""
        return self._held("serve.lock")

    def _held(self, name: str) -> bool:
        try:
            lock = os.open(self.path(name), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    @property
    def digest(self) -> str:
        """What it was started with."""
        return str(self._told.get("digest", "")) if self.running else ""

    @property
    def site(self) -> str:
        """The address and port that it has."""
        return str(self._told.get("site", "")) if self.running else ""

    @property
    def ended(self) -> bool:
        """Whether the site's own process has ended, and waits for a file to change."""
        return self._told.get("ended") is not None

    def wanted(self, command: Sequence[str], source: str) -> str:
        """Tell what it would be started with now."""
        texts = [list(command), source]
        for name in READ:
            with contextlib.suppress(FileNotFoundError), open(self.path(name), encoding="utf-8") as file:
                texts.append([name, file.read()])
        return digest(texts)

    def start(self, command: Sequence[str], source: str, site: str) -> None:
        if self.running:
            raise RunserverError(f"another run has just started the server of {self.directory}: try again")
        log = self.path(LOG)
        with contextlib.suppress(FileNotFoundError):
            if os.path.getsize(log) > LOG_LIMIT:
                os.replace(log, f"{log}.1")
        digest = self.wanted(command, source)
        words = [sys.executable, self.path("serve.py"), self.directory, source, site, digest, *command]
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path("serve.json"))
        # Mail may have secrets in it
        with open(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as output:
            keeper = subprocess.Popen(
                words,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        while not self.running and keeper.poll() is None:
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, also where its keeper was killed and left it behind."""
        asked, deadline = 0.0, time.monotonic() + STOP_SECONDS
        while self.running:
            if time.monotonic() > deadline + 2:
                raise RunserverError(f"the server of {self.directory} does not end; its processes are {self._told}")
            if time.monotonic() > asked + 1:
                asked = time.monotonic()
                self._signal(signal.SIGTERM if asked < deadline else signal.SIGKILL)
            time.sleep(0.05)

    def _signal(self, number: int) -> None:
        """Signal its keeper; or those that a dead keeper has left, whose group has its number as long as they live."""
        keeper, told = self._held("keeper.lock"), self._told
        with contextlib.suppress(ProcessLookupError, KeyError):
            if keeper:
                os.kill(told["pid"], number)
            if not keeper or number == signal.SIGKILL:
                os.killpg(told["group"], number)

    def died(self) -> str:
        """Say so when there is nobody left who could answer."""
        return "" if self.running and not self.ended else f"the server has ended: {self.last_words()}"

    def last_words(self) -> str:
        """Give the last line of its log that says something, which is an error's own when there is one."""
        try:
            with open(self.path(LOG), encoding="utf-8", errors="replace") as file:
                lines = [line.strip() for line in file.readlines()[-40:]]
        except OSError:
            return "nothing"
        told = [line for line in lines if line and "started again when a file changes" not in line]
        return told[-1] if told else "nothing"


def distributions(python: str, run: Run) -> list[str]:
    """List what a virtual environment has; empty where there is none."""
    code = "import importlib.metadata as m; print(*sorted(f'{d.name}=={d.version}' for d in m.distributions()))"
    rc, out, _err = run([python, "-c", code]) if os.path.exists(python) else (1, "", "")
    return out.split() if rc == 0 else []


def install(params: Mapping[str, Any], uv: str, run: Run) -> None:
    """Make the virtual environment, or bring the one that there is to what the requirements say."""
    venv = params["venv"]
    python = os.path.join(venv, "bin", "python")
    wanted = [f"--requirement={file}" for file in params["requirements"]] + list(params["packages"])
    if not os.path.exists(python):
        interpreter = params["python"]
        by_uv = [uv, "venv", "--quiet", "--clear", "--python", interpreter, venv]
        _must(run, by_uv if uv else [interpreter, "-m", "venv", "--clear", venv], "make the virtual environment")
    if wanted:
        by_uv = [uv, "pip", "install", "--quiet", "--python", python]
        by_pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _must(run, (by_uv if uv else by_pip) + wanted, "install the requirements")


def _must(run: Run, argv: list[str], what: str) -> None:
    rc, out, err = run(argv)
    if rc:
        said = [line.strip() for line in (err or out).splitlines() if line.strip() and "[notice]" not in line]
        raise RunserverError(f"could not {what}: {' '.join(said[-3:])}")
