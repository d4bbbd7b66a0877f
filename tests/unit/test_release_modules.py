"""The modules as Ansible runs them: arguments in, JSON out. git is real, systemd is simulated."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.coralnet.server.plugins.module_utils import _user
from ansible_collections.coralnet.server.plugins.module_utils._switch import Switcher
from ansible_collections.coralnet.server.plugins.modules import (
    release_plan,
    release_restore,
    release_switch,
    release_venv,
)
from fakes import Systemd
from servers import Server, UnixServer

ME = pwd.getpwuid(os.geteuid()).pw_name
ONE, TWO = "20260101T000000Z-1111111111", "20260201T000000Z-2222222222"

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a module and return what it says, `failed` included."""

    def run(module: ModuleType, *, check: bool = False, **arguments: object) -> dict[str, Any]:
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


# --- release_plan


class Site:
    """A site's directory beside its repository."""

    def __init__(self, path: Path) -> None:
        self.root, self.origin = path / "site", path / "origin"
        self.mirror = self.root / "repo.git"
        self.mirror.mkdir(parents=True)
        subprocess.run(["git", "init", "--quiet", "--initial-branch=main", self.origin], check=True)
        self.commit("one")

    def commit(self, message: str) -> str:
        git = ["git", "-C", str(self.origin)]
        subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", message], check=True)
        return subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()

    def build(self, plan: dict[str, Any], *, current: bool = True) -> None:
        """Do what the role does after the plan."""
        path = self.root / "releases" / plan["release"]
        path.mkdir(parents=True)
        (path / "release.json").write_text(json.dumps({"commit": plan["commit"], "inputs": plan["inputs"]}))
        if current:
            (self.root / "current").unlink(missing_ok=True)
            (self.root / "current").symlink_to(path)

    @property
    def arguments(self) -> dict[str, object]:
        return {
            "root": str(self.root),
            "mirror": str(self.mirror),
            "repository": str(self.origin),
            "version": "main",
            "inputs": {"python": "python3"},
            "user": ME,
        }


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Make a site, and a runuser that everybody may use: it notes who is meant, and stays who it is."""
    program = tmp_path / "bin" / "runuser"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$1 $2 $3" >>{tmp_path}/runuser.log\nshift 3\nexec "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return Site(tmp_path)


def test_plan_of_a_first_release(run: Run, site: Site, tmp_path: Path) -> None:
    commit = site.commit("two")

    plan = run(release_plan, **site.arguments)

    assert plan["changed"]
    assert plan["build"]
    assert plan["commit"] == commit
    assert plan["release"].endswith(f"Z-{commit[:10]}")
    assert (plan["current"], plan["current_commit"]) == ("", "")
    assert (site.mirror / "objects").is_dir()
    assert set((tmp_path / "runuser.log").read_text().splitlines()) == {f"--user {ME} --"}


def test_plan_in_check_mode_asks_and_does_not_fetch(run: Run, site: Site) -> None:
    plan = run(release_plan, check=True, **site.arguments)

    assert plan["changed"]
    assert plan["commit"] == subprocess.check_output(["git", "-C", site.origin, "rev-parse", "main"], text=True).strip()
    assert list(site.mirror.iterdir()) == []


@pytest.mark.parametrize("check", [False, True])
def test_plan_of_what_runs_already(run: Run, site: Site, check: bool) -> None:
    first = run(release_plan, **site.arguments)
    site.build(first)

    plan = run(release_plan, check=check, **site.arguments)

    assert not plan["changed"]
    assert not plan["build"]
    assert plan["release"] == plan["current"] == first["release"]
    assert plan["current_commit"] == first["commit"]


@pytest.mark.parametrize("check", [False, True])
def test_plan_of_new_code(run: Run, site: Site, check: bool) -> None:
    first = run(release_plan, **site.arguments)
    site.build(first)
    commit = site.commit("two")

    plan = run(release_plan, check=check, **site.arguments)

    assert plan["build"]
    assert plan["commit"] == commit
    assert plan["current"] == first["release"]
    assert plan["diff"]["before"] == f"commit: {first['commit']}\n"
    assert plan["changes"] == ["files: 0 changed, 0 of them static", "commits: 1", f"  {commit[:7]} author: two"]
    assert plan["diff"]["after"] == "\n".join([f"commit: {commit}", *plan["changes"], ""])


def test_plan_of_other_inputs_is_another_release(run: Run, site: Site) -> None:
    site.build(run(release_plan, **site.arguments))

    assert run(release_plan, **site.arguments | {"inputs": {"python": "python3.13"}})["build"]


def test_plan_takes_the_current_of_two_that_fit(run: Run, site: Site) -> None:
    plan = run(release_plan, **site.arguments)
    site.build({**plan, "release": ONE})
    site.build({**plan, "release": TWO}, current=False)

    assert run(release_plan, **site.arguments)["release"] == ONE


def test_plan_takes_the_newest_of_two_that_fit_where_none_is_current(run: Run, site: Site) -> None:
    plan = run(release_plan, **site.arguments)
    site.build({**plan, "release": ONE}, current=False)
    site.build({**plan, "release": TWO}, current=False)

    assert run(release_plan, **site.arguments)["release"] == TWO


@pytest.mark.parametrize("check", [False, True])
def test_plan_that_is_to_rebuild(run: Run, site: Site, check: bool) -> None:
    first = run(release_plan, **site.arguments)
    site.build({**first, "release": ONE})

    plan = run(release_plan, check=check, **site.arguments | {"rebuild": True})

    assert (plan["changed"], plan["build"], plan["commit"]) == (True, True, first["commit"])
    assert plan["release"] > ONE


def test_plan_builds_again_what_was_not_finished(run: Run, site: Site) -> None:
    plan = run(release_plan, **site.arguments)
    (site.root / "releases" / plan["release"]).mkdir(parents=True)

    assert run(release_plan, **site.arguments)["build"]


@pytest.mark.parametrize("check", [False, True])
def test_plan_of_a_short_commit(run: Run, site: Site, check: bool) -> None:
    plan = run(release_plan, **site.arguments)

    again = run(release_plan, check=check, **site.arguments | {"version": plan["commit"][:8]})

    assert again["commit"] == plan["commit"]


def test_plan_in_check_mode_where_the_account_does_not_exist_yet(run: Run, site: Site) -> None:
    plan = run(release_plan, check=True, **site.arguments | {"user": "no-such-account"})

    assert (plan["changed"], plan["build"], plan["commit"]) == (True, True, "")
    assert plan["diff"]["after"] == "commit: not known before git is installed\n"


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "no-such"}, "has no branch or tag 'no-such': set django_app_version to one it has"),
        ({"repository": "/no/such"}, "could not list the versions of /no/such: "),
    ],
)
def test_plan_that_cannot_be_made(run: Run, site: Site, change: dict[str, str], message: str, check: bool) -> None:
    result = run(release_plan, check=check, **site.arguments | change)

    assert result["failed"]
    assert message in result["msg"]


def test_plan_without_the_account(run: Run, site: Site) -> None:
    result = run(release_plan, **site.arguments | {"user": "no-such-account"})

    assert result["failed"]
    assert result["msg"] == "no-such-account cannot run git here: install git and make the account first"


def test_commands_run_as_the_user_in_that_users_home() -> None:
    """Without a password prompt of git's, and with messages that no locale changes."""
    calls = []

    class Module:
        def run_command(self, argv: list[str], **options: object) -> tuple[int, str, str]:
            calls.append((argv, options))
            return 0, "out", "err"

    module: Any = Module()
    assert _user.as_user(module, ME, ["git", "--version"]) == (0, "out", "err")
    [(argv, options)] = calls
    assert argv == ["runuser", "--user", ME, "--", "git", "--version"]
    assert options["cwd"] == "/"
    assert options["environ_update"] == {
        "HOME": pwd.getpwnam(ME).pw_dir,
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
    }


# --- release_venv


def test_venv_is_built_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "venvs" / ONE).mkdir(parents=True)
    (tmp_path / "requirements.txt").write_text("Django")
    arguments = {
        "root": str(tmp_path),
        "release": ONE,
        "source": str(tmp_path),
        "requirements": ["requirements.txt"],
        "python": sys.executable,
    }

    first = run(release_venv, **arguments)
    assert (first["changed"], first["build"], first["name"]) == (False, True, ONE)
    assert run(release_venv, **arguments | {"release": TWO})["name"] == TWO, "it was not finished"
    (tmp_path / "venvs" / ONE / "venv.json").write_text(json.dumps({"fingerprint": first["fingerprint"]}))

    again = run(release_venv, **arguments | {"release": TWO})
    assert (again["changed"], again["build"], again["name"]) == (False, False, ONE)
    fresh = run(release_venv, **arguments | {"release": TWO, "rebuild": True})
    assert (fresh["build"], fresh["name"], fresh["fingerprint"]) == (True, TWO, first["fingerprint"])
    other = run(release_venv, **arguments | {"release": TWO, "packages": ["gunicorn"]})
    assert (other["build"], other["name"]) == (True, TWO)


def test_venv_of_an_interpreter_that_cannot_make_one(run: Run, tmp_path: Path) -> None:
    arguments = {"root": str(tmp_path), "release": ONE, "source": str(tmp_path), "python": "false"}

    result = run(release_venv, **arguments)

    assert result["failed"]
    assert result["msg"].startswith("false cannot make virtual environments: ")


# --- release_restore


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return a file of which a good copy is kept, and which was changed since."""
    path = tmp_path / "secrets.json"
    path.write_text("good")
    release_restore.GoodSet(release_restore.directory(str(tmp_path)), [str(path)]).save()
    path.write_text("worse")
    return path


def test_restore(run: Run, tmp_path: Path, kept: Path) -> None:
    arguments = {"root": str(tmp_path), "config_files": [str(kept), str(tmp_path / "unknown")]}

    foreseen = run(release_restore, check=True, **arguments)
    assert kept.read_text() == "worse"
    done = run(release_restore, **arguments)
    assert kept.read_text() == "good"
    again = run(release_restore, **arguments)

    assert foreseen["changed"]
    assert foreseen["restored"] == done["restored"] == [str(kept)]
    assert (again["changed"], again["restored"]) == (False, [])
    assert "good" not in json.dumps(done["restored"])


def test_restore_that_cannot_be_done(run: Run, tmp_path: Path, kept: Path) -> None:
    path = Path(f"{kept}.new")
    path.mkdir()

    result = run(release_restore, root=str(tmp_path), config_files=[str(kept)])

    assert result["failed"]
    assert result["msg"].startswith("could not put the configuration back: ")


# --- release_switch


class Handed:
    """A host with two releases, an answering socket for each instance, and a front."""

    def __init__(self, path: Path, serve: Callable[[Server], Server], systemd: Systemd) -> None:
        self.root, self.systemd, self._serve = path, systemd, serve
        for release in (ONE, TWO):
            (path / "releases" / release).mkdir(parents=True)
        self.front = serve(Server(("127.0.0.1", 0)))

    def socket(self, instance: str) -> str:
        return str(self.root / f"{instance}.sock")

    def listen(self, instance: str) -> Server:
        return self._serve(UnixServer(self.socket(instance)))

    @property
    def arguments(self) -> dict[str, object]:
        return {
            "name": "reef",
            "root": str(self.root),
            "release": ONE,
            "host": "reef.coralnet.test",
            "release_header": "",
            "front": f"http://127.0.0.1:{self.front.server_address[1]}",
            "timeout": 1,
        }

    @property
    def current(self) -> str:
        link = self.root / "current"
        return link.readlink().name if link.is_symlink() else ""


@pytest.fixture
def handed(short_path: Path, serve: Callable[[Server], Server], monkeypatch: pytest.MonkeyPatch) -> Handed:
    systemd = Systemd()
    host = Handed(short_path, serve, systemd)

    def run_command(_module: AnsibleModule, argv: list[str], **options: object) -> tuple[int, str, str]:
        assert options == {"environ_update": {"LC_ALL": "C"}}
        return systemd(argv)

    monkeypatch.setattr(AnsibleModule, "run_command", run_command)
    # Where sockets are is fixed to /run, which is not a test's to write to
    monkeypatch.setattr(Switcher, "socket", lambda _switcher, instance: host.socket(instance))
    return host


def test_switch_check_mode_then_for_real_then_again(run: Run, handed: Handed) -> None:
    own = handed.listen(ONE)

    foreseen = run(release_switch, check=True, **handed.arguments)
    assert (foreseen["changed"], handed.systemd.changes, handed.current) == (True, [], "")

    done = run(release_switch, **handed.arguments)
    assert (done["changed"], done["instance"], done["before"], handed.current) == (True, ONE, "", ONE)
    assert done["diff"] == {"before": "\n", "after": f"{ONE}\n"}
    assert [path for path, _headers in own.requests] == ["/"]
    assert own.requests[0][1]["Host"] == handed.front.requests[0][1]["Host"] == "reef.coralnet.test"

    again = run(release_switch, **handed.arguments)
    assert (again["changed"], again["instance"], again["before"]) == (False, ONE, ONE)


def test_switch_to_a_new_release(run: Run, handed: Handed) -> None:
    handed.listen(ONE)
    handed.listen(TWO)
    run(release_switch, **handed.arguments)

    foreseen = run(release_switch, check=True, **handed.arguments | {"release": TWO})
    assert (foreseen["instance"], foreseen["before"], foreseen["drained"]) == (TWO, ONE, [ONE])
    assert (foreseen["pruned"], handed.current) == ([], ONE)

    done = run(release_switch, **handed.arguments | {"release": TWO, "keep": 1})
    assert done["drained"] == [ONE]
    assert handed.current == TWO
    # The old one still drains, so its code stays
    assert (handed.root / "releases" / ONE).exists()


def test_switch_prunes_what_is_not_needed(run: Run, handed: Handed) -> None:
    handed.listen(TWO)
    for release in (ONE, TWO):
        (handed.root / "releases" / release / "release.json").write_text('{"commit": "x", "inputs": "x"}')

        (handed.root / "venvs" / release).mkdir(parents=True)
        (handed.root / "releases" / release / "venv").symlink_to(f"../../venvs/{release}")

    done = run(release_switch, **handed.arguments | {"release": TWO, "keep": 1})

    assert done["pruned"] == done["pruned_venvs"] == [ONE]
    assert not (handed.root / "releases" / ONE).exists()
    assert [path.name for path in (handed.root / "venvs").iterdir()] == [TWO]


def test_switch_takes_the_current_release_where_none_is_named(run: Run, handed: Handed) -> None:
    handed.listen(ONE)
    run(release_switch, **handed.arguments)

    assert run(release_switch, **handed.arguments | {"release": ""})["instance"] == ONE


def test_switch_expects_the_instances_name_in_its_answers(run: Run, handed: Handed) -> None:
    handed.listen(ONE)

    result = run(release_switch, **handed.arguments | {"release_header": "X-Release"})

    assert result["failed"]
    # The test's server has a name of its own
    assert f"the header X-Release says '20261124T101500Z-0123456789' instead of '{ONE}'" in result["msg"]


def test_switch_that_is_refused(run: Run, handed: Handed) -> None:
    handed.listen(ONE)
    handed.listen(TWO)
    run(release_switch, **handed.arguments)
    checks = [{"path": "/200/fine"}, {"path": "/503/down", "status": [200, 404]}]

    result = run(release_switch, **handed.arguments | {"release": TWO, "checks": checks, "timeout": 0})

    assert result["failed"]
    assert result["msg"] == (
        f"reef@{TWO} does not work on its own socket: /503/down: status 503 instead of 200 or 404. "
        f"The site goes on with {ONE}\nThe end of its journal:\nthe last words"
    )
    assert handed.current == ONE


def test_switch_to_a_site_that_does_not_answer(run: Run, handed: Handed) -> None:
    result = run(release_switch, **handed.arguments | {"timeout": 0})

    assert result["failed"]
    assert "No such file or directory. No release was running" in result["msg"]


@pytest.mark.parametrize("place", ["own", "front"])
def test_switch_in_check_mode_fails_on_a_dead_site(run: Run, handed: Handed, place: str) -> None:
    own = handed.listen(ONE)
    run(release_switch, **handed.arguments)
    dead = own if place == "own" else handed.front
    dead.shutdown()
    dead.server_close()

    result = run(release_switch, check=True, **handed.arguments | {"timeout": 0})

    assert result["failed"]
    assert result["msg"].startswith(f"{ONE} runs, but does not work: /: no answer from ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"release": ""}, "reef has no current release yet: name the release to run"),
        ({"release": "no-such"}, "reef has no release no-such: build it first"),
        ({"checks": [{"path": "/", "body": "("}]}, "missing ), unterminated subpattern"),
    ],
)
def test_switch_that_cannot_be_made(run: Run, handed: Handed, change: dict[str, object], message: str) -> None:
    handed.listen(ONE)

    result = run(release_switch, **handed.arguments | change)

    assert result["failed"]
    assert message in result["msg"]
    assert handed.current == ""


def test_switch_without_systemd(run: Run, handed: Handed) -> None:
    handed.systemd.refuse["show",] = "System has not been booted with systemd"

    result = run(release_switch, **handed.arguments)

    assert result["failed"]
    assert result["msg"] == (f"could not read the state of reef@{ONE}.socket: System has not been booted with systemd")
