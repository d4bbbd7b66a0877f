"""A development server that is kept running, tried with real processes: a small web server stands in for Django's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._installer import for_uv
from ansible_collections.coralnet.server.plugins.module_utils._runserver import (
    Runserver,
    RunserverError,
    find_uv,
    port_is_free,
    python_works,
    site_of,
    source_is_there,
    wait,
)
from rendering import ROLES

SITE = """
import http.server, os, sys
if os.path.exists("broken"):
    sys.exit("ImportError: no module named reef")
print("begun", os.getpid(), flush=True)
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")
"""


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    source = tmp_path / "reef"
    source.mkdir()
    (source / "site.py").write_text(SITE)
    (source / ".gitignore").write_text("/local/\n")
    subprocess.run(["git", "init", "--quiet", source], check=True)
    return source


class Kept:
    """A server with its port and its log."""

    def __init__(self, checkout: Path) -> None:
        self.directory = checkout.parent / "state"
        self.directory.mkdir()
        shutil.copy(ROLES / "runserver" / "files" / "serve.py", self.directory)
        self.checkout, self.port = checkout, free_port()
        self.command = ["sh", "-c", f"cd {checkout} && exec {sys.executable} site.py {self.port}"]
        self.server = Runserver(str(self.directory))

    def start(self) -> None:
        self.server.start(self.command, str(self.checkout), site_of("127.0.0.1", self.port))

    def wait(self, seconds: float = 10) -> int:
        return wait("127.0.0.1", self.port, seconds, self.server.died)

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def until(self, seen: Callable[[], bool], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not seen():
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)


@pytest.fixture
def kept(checkout: Path) -> Iterator[Kept]:
    made = Kept(checkout)
    yield made
    made.server.stop()


def test_it_is_started_once_and_stopped(kept: Kept) -> None:
    assert not kept.server.running
    kept.start()
    assert kept.wait() == 200
    assert kept.server.running
    assert kept.server.digest == kept.server.wanted(kept.command, str(kept.checkout))
    assert kept.server.site == f"127.0.0.1:{kept.port}"
    assert (kept.directory / "log").stat().st_mode & 0o077 == 0
    kept.server.stop()
    assert not kept.server.running
    port_is_free("127.0.0.1", kept.port)
    kept.server.stop()


@pytest.mark.parametrize("name", ["serve.py", "run", "environment.json", "runserver_settings.py", "venv.json"])
def test_it_is_outdated_when_what_it_reads_has_changed(kept: Kept, name: str) -> None:
    before = kept.server.wanted(["a"], "/reef")
    (kept.directory / name).write_text("x")

    assert kept.server.wanted(["a"], "/reef") != before
    assert kept.server.wanted(["b"], "/reef") != kept.server.wanted(["a"], "/reef")


def test_it_is_started_again_when_files_come_and_go(kept: Kept) -> None:
    kept.start()
    kept.wait()
    (kept.checkout / "new.html").touch()
    kept.until(lambda: "started again: new.html is new\n" in kept.log and kept.log.count("begun") == 2)
    assert kept.wait() == 200
    (kept.checkout / "new.html").unlink()
    kept.until(lambda: "started again: new.html is gone\n" in kept.log and kept.log.count("begun") == 3)


def test_data_and_what_editors_put_down_in_passing_are_nothing_new(kept: Kept) -> None:
    kept.start()
    kept.wait()
    (kept.checkout / "local").mkdir()
    for name in ("local/upload.png", ".site.py.swp", "site.py~", "4913"):
        (kept.checkout / name).touch()
    (kept.checkout / "site.py").write_text(SITE + "# Django's own reloader sees to this\n")
    time.sleep(2)
    assert "started again" not in kept.log


def test_one_that_has_ended_is_started_again_when_a_file_has_changed(kept: Kept) -> None:
    (kept.checkout / "broken").touch()
    kept.start()
    with pytest.raises(RunserverError, match="the server has ended: ImportError: no module named reef"):
        kept.wait()
    assert "it has ended with status 1, and is started again when a file changes" in kept.log
    assert kept.server.running, "its keeper waits"
    (kept.checkout / "site.py").write_text(SITE.replace('os.path.exists("broken")', "False"))
    kept.until(lambda: "started again: a file has changed" in kept.log)
    assert kept.wait() == 200


def test_what_a_killed_keeper_has_left_is_found_and_ended(kept: Kept) -> None:
    kept.start()
    kept.wait()
    os.kill(json.loads((kept.directory / "serve.json").read_text())["pid"], signal.SIGKILL)
    assert kept.wait() == 200, "the site itself goes on"
    assert kept.server.running
    kept.server.stop()
    port_is_free("127.0.0.1", kept.port)


def test_two_are_not_started(kept: Kept) -> None:
    kept.start()
    kept.wait()
    with pytest.raises(RunserverError, match="another run has just started"):
        kept.start()
    keeper = [sys.executable, kept.directory / "serve.py", kept.directory, kept.checkout, "site", "digest", "true"]
    second = subprocess.run(keeper, capture_output=True, check=False, text=True)
    assert second.stderr == f"a development server of {kept.directory} runs already\n"
    assert kept.wait() == 200


def test_a_log_that_has_grown_long_is_put_aside(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.coralnet.server.plugins.module_utils._runserver.LOG_LIMIT", 3)
    (kept.directory / "log").write_text("long\n")
    kept.start()
    kept.wait()
    assert (kept.directory / "log.1").read_text() == "long\n"


def test_a_source_without_git_is_watched_too(kept: Kept) -> None:
    shutil.rmtree(kept.checkout / ".git")
    kept.start()
    kept.wait()
    (kept.checkout / "upload.png").touch()
    (kept.checkout / "new.py").touch()
    kept.until(lambda: "started again: new.py is new\n" in kept.log)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_is_taken(address: str) -> None:
    with socket.socket() as door:
        door.bind((address, 0))
        door.listen()
        port = door.getsockname()[1]
        with pytest.raises(
            RunserverError,
            match=f"port {port} of 127.0.0.1 is taken by another program: end that, or set runserver_port to another",
        ):
            port_is_free("127.0.0.1", port)
    port_is_free("127.0.0.1", port)


@pytest.mark.parametrize(
    ("made", "options", "message"),
    [
        (
            [],
            {"repository": ""},
            "there is no source in .*: set runserver_source to your checkout, or runserver_repository",
        ),
        (["reef/x"], {"project": "project"}, "has no directory project: set runserver_source"),
        (["reef/x"], {"files": ["a.txt", "x"]}, "has no a.txt: set runserver_requirements"),
        (["reef"], {}, "reef is no directory: set runserver_source"),
    ],
)
def test_a_source_that_cannot_be_run(tmp_path: Path, made: list[str], options: dict[str, object], message: str) -> None:
    for name in made:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    given = {"project": "", "files": [], "repository": "/srv/reef.git", **options}
    with pytest.raises(RunserverError, match=message):
        source_is_there(str(tmp_path / "reef"), **given)  # type: ignore[arg-type]  # by name, of several types


def test_a_source_that_is_there_and_one_to_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "reef"
    assert not source_is_there(str(source), "", [], "/srv/reef.git")
    source.mkdir()
    assert not source_is_there(str(source), "project", ["a.txt"], "/srv/reef.git"), "git clones into an empty directory"
    (source / "a.txt").touch()
    assert source_is_there(str(source), "", ["a.txt"], "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunserverError, match="git is needed"):
        source_is_there(str(tmp_path / "other"), "", [], "/srv/reef.git")


def no_ensurepip(_argv: list[str]) -> tuple[int, str, str]:
    return 1, "", "No module named ensurepip"


def test_pythons() -> None:
    with pytest.raises(RunserverError, match=r"there is no python3\.0: install Python, or set runserver_python"):
        python_works("python3.0", "", no_ensurepip)
    with pytest.raises(RunserverError, match=r"cannot make virtual environments: install its package \(python3-venv"):
        python_works(sys.executable, "", no_ensurepip)
    python_works(sys.executable, "/usr/bin/uv", no_ensurepip)


def test_uv_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_uv("") == ""
    with pytest.raises(RunserverError, match="there is no /opt/uv: set runserver_uv"):
        find_uv("/opt/uv")
    program = tmp_path / ".local" / "bin" / "uv"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    assert find_uv("") == str(program)


def test_uv_is_told_what_pip_reads() -> None:
    assert for_uv({"PIP_CERT": "/ca.pem", "PIP_INDEX_URL": "https://index.example"}) == {
        "PIP_CERT": "/ca.pem",
        "PIP_INDEX_URL": "https://index.example",
        "SSL_CERT_FILE": "/ca.pem",
        "UV_DEFAULT_INDEX": "https://index.example",
        "UV_PYTHON_DOWNLOADS": "never",
    }


def test_addresses() -> None:
    assert site_of("127.0.0.1", 8000) == "127.0.0.1:8000"
    assert site_of("::1", 8000) == "[::1]:8000"
