"""Whether there is anything to do, as Ansible asks it. git, files and sockets are real, systemd is simulated."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.coralnet.server.plugins.module_utils._release import digest
from ansible_collections.coralnet.server.plugins.module_utils._switch import Switcher
from ansible_collections.coralnet.server.plugins.modules import release_state
from fakes import Systemd
from servers import Server, UnixServer

ME = pwd.getpwuid(os.geteuid()).pw_name
MINE = grp.getgrgid(os.getegid()).gr_name
RELEASE = "20260101T000000Z-1111111111"


class Site:
    """A site that runs what is wanted, until something is done to it."""

    def __init__(self, path: Path, serve: Callable[[Server], Server], systemd: Systemd) -> None:
        self.root, self.origin, self.mirror = path / "site", path / "origin", path / "site" / "repo.git"
        self.systemd = systemd
        subprocess.run(["git", "init", "--quiet", "--initial-branch=main", self.origin], check=True)
        commit = self.commit("one")
        self.fetch()
        self.release = self.root / "releases" / RELEASE
        self.release.mkdir(parents=True)
        self.record = {"commit": commit, "inputs": digest({"python": "python3"}), "ref": "refs/heads/main"}
        (self.release / "release.json").write_text(json.dumps(self.record))
        (self.release / "app.sock").symlink_to(f"{RELEASE}.sock")
        (self.root / "current").symlink_to(self.release)
        self.settings = self.root / "settings"
        self.settings.write_text("one")
        self.settings.chmod(0o640)
        systemd.run_instance(f"reef@{RELEASE}", started=self.settings.stat().st_mtime + 10)
        self.own = serve(UnixServer(str(path / f"{RELEASE}.sock")))
        self.front = serve(Server(("127.0.0.1", 0)))

    def git(self, *words: str) -> str:
        return subprocess.check_output(["git", "-C", str(self.origin), *words], text=True).strip()

    def commit(self, message: str) -> str:
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def fetch(self) -> None:
        subprocess.run(["git", "clone", "--quiet", "--mirror", self.origin, self.mirror], check=True)

    @property
    def arguments(self) -> dict[str, Any]:
        text = {"path": str(self.settings), "content": "one", "owner": ME, "group": MINE, "mode": "0640"}
        return {
            "name": "reef",
            "root": str(self.root),
            "lock": str(self.root / "lock.json"),
            "repository": str(self.origin),
            "mirror": str(self.mirror),
            "version": "main",
            "user": ME,
            "inputs": {"python": "python3"},
            "files": [text],
            "config_files": [str(self.settings)],
            "host": "reef.coralnet.test",
            "release_header": "",
            "front": f"http://127.0.0.1:{self.front.server_address[1]}",
            "timeout": 1,
        }


@pytest.fixture
def site(short_path: Path, serve: Callable[[Server], Server], monkeypatch: pytest.MonkeyPatch) -> Site:
    systemd = Systemd()
    run_command = AnsibleModule.run_command

    def run(module: AnsibleModule, argv: list[str], **options: Any) -> Any:
        if argv[0] in ("systemctl", "journalctl"):
            return systemd(argv)
        assert argv[:4] == ["runuser", "--user", ME, "--"]
        return run_command(module, argv[4:], **options)

    monkeypatch.setattr(AnsibleModule, "run_command", run)
    monkeypatch.setattr(Switcher, "socket", lambda _switcher, instance: str(short_path / f"{instance}.sock"))
    return Site(short_path, serve, systemd)


@pytest.fixture
def ask(site: Site, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Ask, with other arguments than those that fit; nothing may be changed by it."""

    def ask(**others: object) -> dict[str, Any]:
        with patch_module_args({**site.arguments, **others}), pytest.raises(SystemExit):
            release_state.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert not result["changed"]
        assert site.systemd.changes == []
        assert result["settled"] == (result["reason"] == "")
        return result

    return ask


Ask = Callable[..., dict[str, Any]]


def test_all_is_as_wanted(site: Site, ask: Ask) -> None:
    state = ask()
    assert (state["settled"], state["reason"]) == (True, "")
    assert (state["release"], state["commit"]) == (RELEASE, site.record["commit"])
    assert [path for path, _headers in site.own.requests] == ["/"]
    assert site.front.requests[0][1]["Host"] == "reef.coralnet.test"


@pytest.mark.parametrize("version", ["v1", "short"])
def test_a_tag_and_the_beginning_of_a_commit(site: Site, ask: Ask, version: str) -> None:
    site.git("tag", "--annotate", "v1", "--message", "v1")
    assert ask(version="v1" if version == "v1" else site.record["commit"][:9])["settled"]


def locked(site: Site) -> None:
    (site.root / "lock.json").write_text("{}")


def moved_on(site: Site) -> None:
    site.commit("two")


def never_switched(site: Site) -> None:
    (site.root / "current").unlink()


def never_finished(site: Site) -> None:
    (site.release / "release.json").unlink()


def changed(site: Site) -> None:
    site.settings.write_text("other")


def readable(site: Site) -> None:
    site.settings.chmod(0o644)


def gone(site: Site) -> None:
    site.settings.unlink()


def built_otherwise(site: Site) -> None:
    (site.release / "release.json").write_text(json.dumps({**site.record, "inputs": "x"}))


def touched(site: Site) -> None:
    later = site.settings.stat().st_mtime + 100
    os.utime(site.settings, (later, later))


def stopped(site: Site) -> None:
    site.systemd.die(f"reef@{RELEASE}")


def disabled(site: Site) -> None:
    site.systemd.units[f"reef@{RELEASE}.socket"].enabled = False


def broken_front(site: Site) -> None:
    site.front.server_close()


def repository_gone(site: Site) -> None:
    site.origin.rename(site.origin.with_name("moved"))


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        (locked, "lock.json is there"),
        (never_switched, "no release runs"),
        (never_finished, "no release runs"),
        (changed, "settings has changed"),
        (readable, "settings has changed"),
        (gone, "settings has changed"),
        (built_otherwise, "was built with something else"),
        (moved_on, "main has another commit"),
        (repository_gone, "could not list the versions"),
        (touched, "does not run as it should"),
        (stopped, "does not run as it should"),
        (disabled, "does not run as it should"),
        (broken_front, "/: "),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_something_is_to_be_done(site: Site, ask: Ask, happens: Callable[[Site], None], words: str) -> None:
    happens(site)
    assert words in ask()["reason"]


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"user": "nobody-of-this-name"}, "nobody-of-this-name"),
        ({"version": "v9"}, "v9"),
        ({"inputs": {"python": "python3.13"}}, "was built with something else"),
        ({"release_header": "X-Release"}, "the header X-Release says"),
        ({"checks": [{"path": "/", "status": [204]}]}, "status 200 instead of 204"),
        ({"checks": [{"path": "/", "body": "no such words"}]}, "does not contain"),
    ],
)
def test_something_else_is_wanted(ask: Ask, others: dict[str, object], words: str) -> None:
    assert words in ask(**others)["reason"]
