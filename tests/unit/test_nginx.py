"""Enabled sites on disk: what is refused before nginx is asked, and links that change at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.coralnet.server.plugins.module_utils import _nginx
from ansible_collections.coralnet.server.plugins.module_utils._nginx import (
    Nginx,
    NginxError,
    _exchange,
    _redirect,
    _words,
    build_enabled,
)
from ansible_collections.coralnet.server.plugins.modules.nginx_site import wanted


def names(directory: str | Path) -> list[str]:
    return sorted(path.name for path in Path(directory).iterdir())


@pytest.fixture
def nginx(tmp_path: Path) -> Nginx:
    """Return a configuration with three sites, of which two are enabled."""
    for name in ("reef", "survey", "default"):
        (tmp_path / "sites-available").mkdir(exist_ok=True)
        (tmp_path / "sites-available" / name).write_text(f"# {name}\n")
    (tmp_path / "sites-enabled").mkdir()
    for name in ("reef", "survey"):
        (tmp_path / "sites-enabled" / name).symlink_to(f"../sites-available/{name}")
    return Nginx(str(tmp_path), lambda _argv: (0, "", ""))


@pytest.mark.parametrize(
    ("state", "sites", "after"),
    [
        ("enabled", ["new"], ["a", "b", "new"]),
        ("enabled", ["a"], ["a", "b"]),
        ("disabled", ["a", "never-enabled"], ["b"]),
        ("only", ["new", "new"], ["new"]),
        ("only", [], []),
    ],
)
def test_wanted(state: str, sites: list[str], after: list[str]) -> None:
    assert wanted(state, ["a", "b"], sites) == after


def test_swap_and_back(nginx: Nginx) -> None:
    before = nginx.sites()
    nginx.swap(["default"])
    assert nginx.sites() == ["default"]
    assert Path(nginx.enabled, "default").read_text() == "# default\n"
    nginx.swap(before)
    assert nginx.sites() == before == ["reef", "survey"]
    assert names(nginx.directory) == ["sites-available", "sites-enabled"]


def test_swap_keeps_links_to_elsewhere_and_plain_files(nginx: Nginx, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.conf").touch()
    elsewhere = Path(nginx.enabled, "elsewhere")
    elsewhere.symlink_to(tmp_path / "elsewhere.conf")
    Path(nginx.enabled, "by-hand").touch()
    assert nginx.sites() == ["elsewhere", "reef", "survey"]
    nginx.swap(["elsewhere"])
    assert elsewhere.readlink() == tmp_path / "elsewhere.conf"
    assert names(nginx.enabled) == ["by-hand", "elsewhere"]


def test_swap_where_a_run_died(nginx: Nginx) -> None:
    Path(f"{nginx.enabled}.new").mkdir()
    Path(f"{nginx.enabled}.new", "rubbish").touch()
    nginx.swap(["default"])
    assert names(nginx.enabled) == ["default"]
    assert not Path(f"{nginx.enabled}.new").exists()


def test_swap_where_directories_cannot_be_exchanged(nginx: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ansible_collections.coralnet.server.plugins.module_utils._nginx._exchange", lambda *_two: False
    )
    nginx.swap(["default", "reef"])
    assert nginx.sites() == ["default", "reef"]


def test_swap_makes_the_directory(nginx: Nginx, tmp_path: Path) -> None:
    (tmp_path / "sites-enabled" / "reef").unlink()
    (tmp_path / "sites-enabled" / "survey").unlink()
    (tmp_path / "sites-enabled").rmdir()
    assert nginx.sites() == []
    nginx.swap(["reef"])
    assert nginx.sites() == ["reef"]


def test_exchange_is_one_step(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert _exchange(str(tmp_path / "one"), str(tmp_path / "other"))
    assert names(tmp_path / "one") == ["other"]
    assert names(tmp_path / "other") == ["one"]


@pytest.mark.parametrize("name", ["../passwd", "a/b", "", ".", "..", ".hidden", "-x", "a b", "a\n"])
def test_names_that_are_none(nginx: Nginx, name: str) -> None:
    with pytest.raises(NginxError, match="is no name of a site"):
        nginx.check_sites([name])


def test_sites_that_are_not_there(nginx: Nginx) -> None:
    nginx.check_sites(["reef", "default"])
    with pytest.raises(NginxError, match=r"there is no site 'gone': make .*/sites-available/gone first"):
        nginx.check_sites(["gone"])
    Path(nginx.available, "dangling").symlink_to("/no/such/file")
    with pytest.raises(NginxError, match="is a link to /no/such/file, which does not exist"):
        nginx.check_sites(["dangling"])
    Path(nginx.available, "reef").unlink()
    with pytest.raises(NginxError, match="disable 'reef' too"):
        nginx.check_links(["reef", "survey"])


def test_nginx_is_asked_about_a_copy(nginx: Nginx, tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text(f"include {tmp_path}/sites-enabled/*;\n")
    asked = []

    def run(argv: list[str]) -> tuple[int, str, str]:
        conf = Path(argv[argv.index("-c") + 1])
        asked.append((conf.read_text(), names(conf.parent / "sites-enabled")))
        return 1, "", f'nginx: [emerg] unknown directive "x" in {conf.parent}/sites-enabled/default:1\n'

    refusal = Nginx(nginx.directory, run).refusal(["default"])
    [(conf, enabled)] = asked
    assert str(tmp_path) + "/" not in conf
    assert enabled == ["default"]
    assert refusal == f'unknown directive "x" in {tmp_path}/sites-enabled/default:1'
    assert nginx.sites() == ["reef", "survey"]


def test_a_copy_refers_to_itself(tmp_path: Path) -> None:
    conf = tmp_path / "nginx.conf"
    conf.write_text("include /etc/nginx/mime.types; root /srv/etc/nginx/html; include /etc/nginx-extra/x;\n")
    (tmp_path / "site").symlink_to("/etc/nginx/sites-available/site")
    _redirect(str(tmp_path), "/etc/nginx")
    assert conf.read_text() == (
        f"include {tmp_path}/mime.types; root /srv/etc/nginx/html; include /etc/nginx-extra/x;\n"
    )
    assert (tmp_path / "site").readlink() == tmp_path / "sites-available" / "site"


def test_links_are_made_once(tmp_path: Path) -> None:
    build_enabled(str(tmp_path / "enabled"), ["a"])
    made = (tmp_path / "enabled" / "a").lstat().st_ctime_ns
    build_enabled(str(tmp_path / "enabled"), ["a"])
    assert (tmp_path / "enabled" / "a").lstat().st_ctime_ns == made


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        ("nginx: [warn] w\nnginx: [emerg] no\nnginx: configuration file test failed\n", "no"),
        ("2026/11/24 10:00:00 [emerg] 12#12: no\nnginx: [emerg] no\n", "no"),
        ("something else\n", "something else"),
        (
            "nginx: [emerg] a duplicate default server for 0.0.0.0:80 in /x:2\n",
            "two enabled sites claim to be the default server of the same address: "
            "a duplicate default server for 0.0.0.0:80 in /x:2",
        ),
    ],
)
def test_words(stderr: str, words: str) -> None:
    assert _words(stderr) == words


@pytest.fixture
def running(nginx: Nginx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that calls itself nginx's master, as the program that is on disk."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "nginx"
    shutil.copy2(shutil.which("sleep") or "", program)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(_nginx, "PID_FILE", str(tmp_path / "nginx.pid"))
    with subprocess.Popen(["nginx: master process nginx", "60"], executable=program) as process:
        (tmp_path / "nginx.pid").write_text(f"{process.pid}\n")
        deadline = time.monotonic() + 30
        while process.pid not in nginx.masters():  # it has its name a moment after it is there
            assert time.monotonic() < deadline
            time.sleep(0.001)
        yield process
        process.kill()


def test_the_program_that_runs_and_the_one_on_disk(
    nginx: Nginx, running: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert nginx.master() == running.pid
    assert not nginx.outdated()
    program = tmp_path / "bin" / "nginx"
    shutil.copy2(program, f"{program}.dpkg-new")
    Path(f"{program}.dpkg-new").replace(program)
    assert nginx.outdated()


@pytest.mark.parametrize("content", ["", "nonsense", "1", "999999999"])
def test_no_master_where_the_number_is_another_processes(
    nginx: Nginx, running: subprocess.Popen[bytes], tmp_path: Path, content: str
) -> None:
    (tmp_path / "nginx.pid").write_text(content)
    assert nginx.master() == 0
    assert not nginx.outdated()


def test_an_earlier_exchange_has_to_end_first(nginx: Nginx, running: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "nginx.pid.oldbin").write_text(f"{running.pid}")
    with pytest.raises(NginxError, match=f"an earlier exchange still has requests.*{running.pid}"):
        nginx.take_over(1)
    assert running.poll() is None
