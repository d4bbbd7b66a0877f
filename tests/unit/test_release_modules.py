"""The modules as Ansible runs them: arguments in, JSON out. git is real, systemd is simulated."""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
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
    release_build,
    release_plan,
    release_restore,
    release_switch,
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

    def git(self, *words: str, **environment: str) -> str:
        command = ["git", "-C", str(self.origin), *words]
        return subprocess.check_output(command, text=True, env={**os.environ, **environment}).strip()

    def commit(self, message: str, files: dict[str, str] | None = None, *words: str) -> str:
        for name, content in (files or {}).items():
            path = self.origin / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message, *words)
        return self.git("rev-parse", "HEAD")

    def build(self, plan: dict[str, Any], *, current: bool = True) -> Path:
        """Do what the role does after the plan; returns the source."""
        path = self.root / "releases" / plan["release"]
        path.mkdir(parents=True)
        subprocess.run(["git", "clone", "--quiet", self.mirror, path / "src"], check=True)
        subprocess.run(["git", "-C", path / "src", "checkout", "--quiet", plan["commit"]], check=True)
        (path / "release.json").write_text(json.dumps({name: plan[name] for name in ("commit", "inputs", "ref")}))
        if current:
            (self.root / "current").unlink(missing_ok=True)
            (self.root / "current").symlink_to(path)
        return path / "src"

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


@pytest.mark.parametrize("check", [False, True])
def test_plan_of_a_branch_as_another_host_got_it(run: Run, site: Site, check: bool) -> None:
    got = run(release_plan, **site.arguments)
    site.commit("two")
    site.git("tag", "v2")

    assert run(release_plan, check=check, **site.arguments | {"commit": got["commit"]})["commit"] == got["commit"]
    tag = run(release_plan, check=check, **site.arguments | {"commit": got["commit"], "version": "v2"})
    assert tag["commit"] != got["commit"], "a tag is what it is"


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


MIGRATION = """
from django.db import migrations, models
class Migration(migrations.Migration):
    operations = [migrations.AddField("image", "size", models.IntegerField(null=True))]
"""


@pytest.mark.parametrize("check", [False, True])
def test_plan_of_migrations_there_and_back(run: Run, site: Site, check: bool) -> None:
    site.build(run(release_plan, **site.arguments))
    old = site.commit("two", {"shop/migrations/0001_initial.py": MIGRATION.replace("AddField", "Unheard")})
    site.build(run(release_plan, **site.arguments))
    site.commit("three", {"shop/migrations/0002_size.py": MIGRATION})

    plan = run(release_plan, check=check, **site.arguments)
    site.build(run(release_plan, **site.arguments))
    back = run(release_plan, check=check, **site.arguments | {"version": old})

    [migration] = plan["migrations"]
    assert (migration["app"], migration["name"], migration["compatible"]) == ("shop", "0002_size", True)
    assert (plan["reversed"], back["migrations"], back["reversed"]) == ([], [], plan["migrations"])
    words = [
        "  new shop/migrations/0002_size.py",
        "    adds the field image.size (IntegerField)",
        "    ACCESS EXCLUSIVE on shop.image: reads and writes wait, shortly",
        "    the older code can go on with it",
    ]
    assert plan["changes"][-5:] == ["migrations: 1", *words]
    assert plan["diff"]["after"].splitlines()[1:] == plan["changes"]
    assert back["changes"][-5] == "  removed shop/migrations/0002_size.py"


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("path", "text", "missing"),
    [
        ("secrets.example.json", '{"A": "", "B": {"C": 1}, "D": null}', "B, D"),
        ("conf/secrets.json.example", '{"A": ""}', ""),
        (".env.example", "# E=1\nA=x\nexport B = 'y'\nlong=\nB=again\n", "B, long"),
        (".env.example", "A=", ""),
    ],
)
def test_plan_of_a_version_whose_secrets_are_missing(
    run: Run, site: Site, path: str, text: str, missing: str, check: bool
) -> None:
    site.build(run(release_plan, **site.arguments))
    site.commit("two", {path: text})

    plan = run(release_plan, check=check, **site.arguments, example=path, given=["A", "Z"])

    if missing:
        assert plan["msg"] == (
            f"main needs {missing} (see its {path}): set them in the data of django_app_config_files or in "
            f"django_app_environment"
        )
    else:
        assert plan["build"]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no/such", "main has no file no/such: set django_app_secrets_example to the path of an example"),
        ("*.json", "main has no file *.json"),
        ("broken.json", "broken.json is no JSON object (Expecting value"),
        ("list.json", "list.json is no JSON object"),
    ],
)
def test_plan_with_an_example_that_is_none(run: Run, site: Site, path: str, message: str, check: bool) -> None:
    """A first deployment is refused as well, and in check mode leaves no mirror behind."""
    site.commit("two", {"broken.json": "x", "list.json": "[]"})

    plan = run(release_plan, check=check, **site.arguments, example=path)

    assert message in plan["msg"]
    assert list(site.mirror.iterdir()) == [] or not check


@pytest.mark.parametrize("check", [False, True])
def test_a_branch_moves_forward_only(run: Run, site: Site, check: bool) -> None:
    first = site.commit("two")
    lost = site.commit("three")
    site.build(run(release_plan, **site.arguments | {"version": "HEAD"}))
    site.git("reset", "--quiet", "--hard", first)
    new = site.commit("another three")
    site.git("tag", "v3")

    refused = run(release_plan, check=check, **site.arguments)

    assert refused["msg"] == (
        f"the branch main has lost the running commit {lost[:10]}, so its history was rewritten: set "
        f"django_app_version to a tag or a commit, or django_app_fast_forward to false for this run"
    )
    for other in ({"fast_forward": False}, {"version": "v3"}, {"version": new}, {"version": new[:9]}):
        plan = run(release_plan, check=True, **site.arguments | other)
        assert plan["commit"] == new
        assert f"  {lost[:7]} author: three" in plan["changes"]


@pytest.mark.parametrize("check", [False, True])
def test_another_branch_may_be_anywhere(run: Run, site: Site, check: bool) -> None:
    start = site.commit("two")
    site.commit("three")
    site.build(run(release_plan, **site.arguments))
    site.git("branch", "stable", start)

    assert run(release_plan, check=check, **site.arguments | {"version": "stable"})["commit"] == start


def test_a_branch_that_has_lost_what_the_mirror_has_lost_too(run: Run, site: Site) -> None:
    plan = run(release_plan, **site.arguments)
    site.build(plan)
    record = site.root / "releases" / plan["release"] / "release.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "commit": "1" * 40}))

    assert "has lost the running commit 1111111111" in run(release_plan, **site.arguments)["msg"]
    assert run(release_plan, **site.arguments, fast_forward=False, required_versions=["main"])["changes"] == []


@pytest.mark.parametrize("check", [False, True])
def test_what_must_run_on_the_way_is_not_jumped_over(run: Run, site: Site, check: bool) -> None:
    site.git("tag", "v1")
    site.build(run(release_plan, **site.arguments))
    for tag in ("v2", "v3", "v4"):
        site.commit(tag)
        site.git("tag", tag)
    required = {"required_versions": ["v3", "v2", "v1"]}

    refused = run(release_plan, check=check, **site.arguments | required)
    assert refused["msg"].endswith(
        " directly, since v2 has to run before it (django_app_required_versions): set django_app_version to v2 first"
    )
    assert run(release_plan, check=check, **site.arguments | required | {"version": "v2"})["build"]
    site.build(run(release_plan, **site.arguments | required | {"version": "v2"}))
    assert "set django_app_version to v3 first" in run(release_plan, check=check, **site.arguments | required)["msg"]
    site.build(run(release_plan, **site.arguments | required | {"version": "v3"}))
    assert run(release_plan, check=check, **site.arguments | required)["build"]
    assert run(release_plan, check=check, **site.arguments | required | {"version": "v1"})["commit"]
    unknown = run(release_plan, check=check, **site.arguments | {"required_versions": ["v9"]})
    assert unknown["msg"].endswith("has no commit 'v9': set django_app_required_versions to one it has")


@pytest.mark.parametrize("check", [False, True])
def test_local_changes_are_not_left_behind(run: Run, site: Site, check: bool) -> None:
    site.commit("two", {"a.py": "1", "b.py": "1", "c.py": "1", ".gitignore": "*.pyc\n"})
    source = site.build(run(release_plan, **site.arguments))
    (site.root / "shared").mkdir()
    (source / "secrets.json").symlink_to(site.root / "shared" / "secrets.json")
    (source / "a.pyc").touch()
    site.commit("three")
    assert run(release_plan, check=True, **site.arguments)["build"], "a link to shared files, and what git ignores"
    before = (source / ".git" / "index").read_bytes()
    record = source.parent / "release.json"

    (source / "built.mo").touch()
    os.utime(record, (record.stat().st_mtime + 60,) * 2)
    assert run(release_plan, check=True, **site.arguments)["build"], "there before the release's record"
    os.utime(record, (record.stat().st_mtime - 120,) * 2)
    (source / "a.py").write_text("2")
    (source / "b.py").unlink()
    (source / "deep er").mkdir()
    (source / "deep er" / "größe").touch()
    (source / "link").symlink_to("/elsewhere")

    refused = run(release_plan, check=check, **site.arguments)
    assert refused["msg"] == (
        f"{source} has changes that are in no commit: a.py, b.py, built.mo, deep er/größe, link. Commit or undo them, "
        f"or name in django_app_keep_files what may stay behind there"
    )
    some = run(release_plan, check=check, **site.arguments, keep_files=["*.mo", "deep er/*", "[ab].py"])
    assert "in no commit: link. " in some["msg"]
    assert run(release_plan, check=check, **site.arguments, keep_files=["*"])["build"]
    same = run(release_plan, check=check, **site.arguments | {"version": "HEAD~1"})
    assert "has no branch" in same["msg"]
    running = subprocess.check_output(["git", "-C", source, "rev-parse", "HEAD"], text=True).strip()
    assert not run(release_plan, check=check, **site.arguments | {"version": running})["build"], "nothing is left"
    assert (source / ".git" / "index").read_bytes() == before


def test_local_changes_where_git_does_not_answer(run: Run, site: Site) -> None:
    source = site.build(run(release_plan, **site.arguments))
    site.commit("two")
    (source / ".git" / "HEAD").write_text("nonsense")

    assert run(release_plan, **site.arguments)["msg"].startswith(f"could not look for local changes in {source}: ")


class Signer:
    """Somebody with a key of their own."""

    def __init__(self, path: Path, name: str) -> None:
        self._key = path / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self._key], check=True)
        self.line = f"{name}@coralnet.test {self._key.with_suffix('.pub').read_text().strip()}"
        self.git = ["-c", "gpg.format=ssh", "-c", f"user.signingKey={self._key}"]


@pytest.fixture
def anna(tmp_path: Path) -> Signer:
    return Signer(tmp_path, "anna")


@pytest.fixture
def bert(tmp_path: Path) -> Signer:
    return Signer(tmp_path, "bert")


@pytest.mark.parametrize("check", [False, True])
def test_signed_commits(run: Run, site: Site, anna: Signer, bert: Signer, check: bool) -> None:
    def plan(*lines: str, version: str = "main") -> dict[str, Any]:
        arguments = {**site.arguments, "version": version, "verify": "commit", "allowed_signers": list(lines)}
        return run(release_plan, check=check, **arguments)

    said = "git does not accept the signature of the commit main: "
    assert plan(anna.line)["msg"].startswith(f"{said}it has no signature (django_app_verify")
    site.git(*anna.git, "commit", "--quiet", "--allow-empty", "-S", "--message", "two")
    commit = site.git("rev-parse", "HEAD")
    site.git("tag", "plain")

    for version in ("main", "plain", commit):
        assert plan(bert.line, anna.line, version=version)["commit"] == commit
    refused = plan(bert.line)["msg"]
    assert refused.startswith(said)
    assert "No principal matched" in refused
    assert plan()["msg"].startswith(f"{said}error: gpg.ssh.allowedSignersFile needs to be configured")
    assert list(site.mirror.iterdir()) == [] or not check


@pytest.mark.parametrize("check", [False, True])
def test_signed_tags(run: Run, site: Site, anna: Signer, bert: Signer, check: bool) -> None:
    def plan(version: str) -> dict[str, Any]:
        arguments = {**site.arguments, "version": version, "verify": "tag", "allowed_signers": [anna.line]}
        return run(release_plan, check=check, **arguments)

    for signer, tag in ((anna, "v1"), (bert, "v2")):
        site.git(*signer.git, "tag", "-s", "--message", tag, tag)
    site.git("tag", "plain")
    site.git("tag", "-a", "--message", "annotated", "annotated")
    site.git("update-ref", "refs/tags/renamed", "refs/tags/v1")

    assert plan("v1")["ref"] == "refs/tags/v1"
    for version, message in (
        ("v2", 'of the tag v2: Good "git" signature with ED25519 key '),
        ("plain", "of the tag plain: error: "),
        ("annotated", "of the tag annotated: error: no signature found"),
        ("renamed", "is signed as v1: ask for it by that name"),
        ("main", "main is no tag, and django_app_verify is tag"),
        ("HEAD", "main is no tag, and django_app_verify is tag"),
    ):
        assert message in plan(version)["msg"]


@pytest.mark.parametrize("check", [False, True])
def test_signed_by_openpgp(
    run: Run, site: Site, short_path: Path, monkeypatch: pytest.MonkeyPatch, check: bool
) -> None:
    """The keyring is the account's own."""
    short_path.chmod(0o700)
    monkeypatch.setenv("GNUPGHOME", str(short_path))
    gpg = ["gpg", "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
    subprocess.run([*gpg, "--quick-generate-key", "anna@coralnet.test", "ed25519"], check=True)
    try:
        site.git("commit", "--quiet", "--allow-empty", "-Sanna@coralnet.test", "--message", "two")
        asked = {**site.arguments, "verify": "commit"}
        assert run(release_plan, check=check, **asked)["build"]
        (short_path / "other").mkdir(mode=0o700)
        monkeypatch.setenv("GNUPGHOME", str(short_path / "other"))
        assert "Can't check signature: No public key" in run(release_plan, check=check, **asked)["msg"]
    finally:
        subprocess.run(["gpgconf", "--homedir", short_path, "--kill", "gpg-agent"], check=True)


def test_plan_keeps_the_password_of_the_repository(run: Run, site: Site) -> None:
    address = "https://deploy:s3cret-of-anna@127.0.0.1:9/reef.git"
    refused = run(release_plan, **site.arguments | {"repository": address})
    assert "could not list the versions of https://" in refused["msg"]
    assert "s3cret-of-anna" not in json.dumps(refused)


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
        "TMPDIR": "/tmp",
    }


# --- release_build

FAKE_UV = """#!/bin/sh
echo "uv $*" >>"$LOG"
if [ "$1" = venv ]; then
  mkdir -p "$5/bin"
  ln -s "$(command -v "$4")" "$5/bin/python"
  echo "home $5" >"$5/pyvenv.cfg"
fi
case "$*" in *no-such*) echo "no solution found" >&2; exit 1;; esac
"""


@pytest.fixture
def site_to_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Make a site's directory and mirror, and an uv that only tells what it is asked for."""
    site = Site(tmp_path)
    (site.origin / "requirements.txt").write_text("Django\n")
    site.git("add", "--all")
    commit = site.commit("two")
    subprocess.run(["git", "clone", "--quiet", "--bare", site.origin, tmp_path / "mirror"], check=True)
    for name in ("releases", "venvs"):
        (site.root / name).mkdir()
    uv = tmp_path / "uv"
    uv.write_text(FAKE_UV)
    uv.chmod(0o755)
    monkeypatch.setattr(release_build, "as_user", as_nobody_else)
    return {
        "root": str(site.root),
        "release": ONE,
        "mirror": str(tmp_path / "mirror"),
        "commit": commit,
        "record": {"inputs": "i", "ref": "refs/heads/main", "version": "main"},
        "user": ME,
        "group": grp.getgrgid(os.getegid()).gr_name,
        "links": [{"link": "secrets.json", "target": "/srv/shared/secrets.json"}],
        "requirements": ["requirements.txt"],
        "environment": {
            "LOG": str(tmp_path / "log"),
            "PIP_INDEX_URL": "https://me:s3cret@index.example/simple",
            "ONE": "1",
        },
        "python": sys.executable,
        "uv": str(uv),
    }


def as_nobody_else(
    module: AnsibleModule, _user: str, argv: list[str], cwd: str, environment: dict[str, str], umask: int
) -> tuple[int, str, str]:
    """Run as whoever tests, who need not be root."""
    rc, out, err = module.run_command(argv, cwd=cwd, environ_update=environment, umask=umask)
    return int(rc), str(out), str(err)


def asked(site: dict[str, Any]) -> list[str]:
    """Tell the last lines that uv was asked with, oldest first."""
    path = Path(site["environment"]["LOG"])
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_build(run: Run, site_to_build: dict[str, Any]) -> None:
    root, site = Path(site_to_build["root"]), site_to_build
    release = root / "releases" / ONE

    result = run(release_build, **site)

    assert (result["changed"], result["venv"], result["installed"], result["copied"]) == (True, ONE, True, "")
    assert (release / "src" / "requirements.txt").read_text() == "Django\n"
    assert stat.S_IMODE((release / "src" / "requirements.txt").stat().st_mode) == 0o640
    assert stat.S_IMODE(release.stat().st_mode) == 0o2755
    assert str((release / "src" / "secrets.json").readlink()) == "/srv/shared/secrets.json"
    assert (release / "venv").resolve() == root / "venvs" / ONE
    assert json.loads((release / "release.json").read_text()) == {"commit": site["commit"], **site["record"]}
    making, installing = asked(site)
    assert making == f"uv venv --quiet --python {sys.executable} {root}/venvs/{ONE}"
    assert installing.endswith(f"/venvs/{ONE}/bin/python --exact --upgrade --requirement requirements.txt")
    assert "s3cret" not in json.dumps(result)


def test_build_finds_submodules_beside_the_repository_and_not_the_mirror(
    run: Run, site_to_build: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # git takes submodules from a path only where it is told that it may
    for name, value in {"COUNT": "1", "KEY_0": "protocol.file.allow", "VALUE_0": "always"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    (tmp_path / "whole").mkdir()
    site = Site(tmp_path / "whole")
    library = Site(site.origin.parent / "site")
    library.commit("two", {"coral.py": ""})
    library.origin.rename(site.origin.parent / "library")
    site.git("clone", "--quiet", str(site.origin.parent / "library"), "library")
    modules = '[submodule "library"]\n\tpath = library\n\turl = ../library\n'
    commit = site.commit("two", {".gitmodules": modules, "requirements.txt": "Django\n"})
    subprocess.run(["git", "clone", "--quiet", "--bare", site.origin, tmp_path / "other" / "mirror"], check=True)
    words = {"mirror": str(tmp_path / "other" / "mirror"), "commit": commit}

    run(release_build, **site_to_build | words | {"repository": str(site.origin)})

    assert (Path(site_to_build["root"]) / "releases" / ONE / "src" / "library" / "coral.py").exists()


def test_build_shares_what_is_the_same(run: Run, site_to_build: dict[str, Any]) -> None:
    run(release_build, **site_to_build)
    asked(site_to_build)

    result = run(release_build, **site_to_build | {"release": TWO})

    assert (result["venv"], result["installed"]) == (ONE, False)
    assert asked(site_to_build) == []
    assert (Path(site_to_build["root"]) / "releases" / TWO / "venv").resolve().name == ONE


def test_build_begins_with_a_copy(run: Run, site_to_build: dict[str, Any]) -> None:
    run(release_build, **site_to_build)
    venvs = Path(site_to_build["root"]) / "venvs"
    (venvs / ONE / "bin" / "django-admin").write_text(f"#!{venvs}/{ONE}/bin/python\n")
    asked(site_to_build)

    result = run(release_build, **site_to_build | {"release": TWO, "packages": ["gunicorn"]})

    assert (result["venv"], result["installed"], result["copied"]) == (TWO, True, ONE)
    assert (venvs / TWO / "bin" / "django-admin").read_text() == f"#!{venvs}/{TWO}/bin/python\n"
    assert (venvs / ONE / "bin" / "django-admin").read_text() == f"#!{venvs}/{ONE}/bin/python\n"
    assert (venvs / TWO / "bin" / "python").is_symlink()
    [installing] = asked(site_to_build)
    assert f"/venvs/{TWO}/bin/python --exact --upgrade" in installing


@pytest.mark.parametrize(
    "change",
    [
        {"rebuild": True},
        {"packages": ["reef==1 --hash=sha256:00"]},
        {"packages": ["reef @ https://example.org/reef.tar.gz"]},
        {"packages": ["-e ."]},
        {"environment": {"PIP_INDEX_URL": "https://other.example/simple"}},
    ],
)
def test_build_afresh(run: Run, site_to_build: dict[str, Any], change: dict[str, Any]) -> None:
    run(release_build, **site_to_build)
    log = site_to_build["environment"]["LOG"]
    change = change | {"environment": {**change.get("environment", site_to_build["environment"]), "LOG": log}}

    result = run(release_build, **site_to_build | {"release": TWO} | change)

    assert (result["venv"], result["installed"], result["copied"]) == (TWO, True, "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"packages": ["no-such"]}, "could not install the requirements with uv: no solution found"),
        ({"commit": "f" * 40}, "could not check the source out: fatal: "),
        ({"python": "false"}, "could not make virtual environments: "),
        ({"links": [{"link": "no/such/x", "target": "/x"}]}, "could not link "),
        ({"group": "no-such-group"}, "no-such-group"),
    ],
)
def test_build_that_fails_leaves_nothing(
    run: Run, site_to_build: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    result = run(release_build, **site_to_build | change)

    assert result["failed"]
    assert words in result["msg"]
    assert "s3cret" not in json.dumps(result)
    assert not any((Path(site_to_build["root"]) / name / ONE).exists() for name in ("releases", "venvs"))


def test_build_leaves_a_release_of_that_name_alone(run: Run, site_to_build: dict[str, Any]) -> None:
    run(release_build, **site_to_build)

    result = run(release_build, **site_to_build)

    assert "File exists" in result["msg"]
    assert (Path(site_to_build["root"]) / "releases" / ONE / "release.json").exists()
    assert (Path(site_to_build["root"]) / "venvs" / ONE / "venv.json").exists()


def test_build_with_pip(run: Run, site_to_build: dict[str, Any]) -> None:
    """The interpreter's own pip, which need not reach any index when nothing is asked for."""
    result = run(release_build, **site_to_build | {"installer": "pip", "requirements": [], "uv": None})

    assert result["installed"]
    assert (Path(site_to_build["root"]) / "venvs" / ONE / "bin" / "pip").exists()
    assert asked(site_to_build) == []


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
    assert not foreseen["proven"], "nobody could be asked"

    done = run(release_switch, **handed.arguments)
    assert (done["changed"], done["instance"], done["before"], handed.current) == (True, ONE, "", ONE)
    assert done["diff"] == {"before": "\n", "after": f"{ONE}\n"}
    assert [path for path, _headers in own.requests] == ["/"]
    assert own.requests[0][1]["Host"] == handed.front.requests[0][1]["Host"] == "reef.coralnet.test"

    again = run(release_switch, **handed.arguments)
    assert (again["changed"], again["instance"], again["before"]) == (False, ONE, ONE)
    assert done["proven"]
    assert run(release_switch, check=True, **handed.arguments)["proven"]


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


def test_switch_says_what_it_could_not_end_and_not_remove(
    run: Run, handed: Handed, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed.listen(ONE)
    handed.listen(TWO)
    run(release_switch, **handed.arguments)
    handed.systemd.refuse["stop", f"reef@{ONE}.socket"] = "Access denied"
    monkeypatch.setattr(release_switch, "prune", refuse_to_remove)
    warnings: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, warning: warnings.append(warning))

    done = run(release_switch, **handed.arguments | {"release": TWO})

    assert (done["instance"], handed.current) == (TWO, TWO)
    said = " ".join(warnings)
    assert f"{TWO} serves, but not all of what came before could be ended: " in said
    assert "Access denied" in said
    assert f"{TWO} serves, but not all old releases could be removed: [Errno 30] Read-only file system" in said


def refuse_to_remove(*_given: object) -> list[str]:
    raise OSError(30, "Read-only file system")


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
