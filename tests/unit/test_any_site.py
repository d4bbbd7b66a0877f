"""Sites of all shapes: what an inventory can say of one, as it comes out in files and commands.

The scenario `sites` has what only a running site can show. Roles' own tests have the rest: see docs/variables.md.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.coralnet.server.plugins.module_utils._git import Mirror, Package, mirror_of
from ansible_collections.coralnet.server.plugins.module_utils._installer import (
    Wanted,
    install_with_pip,
    install_with_uv,
)
from rendering import ROLES, render, role_variables


def run(argv: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def value(role: str, name: str, **variables: Any) -> Any:
    """Give a role's variable as Ansible works it out."""
    known = role_variables(role, **variables)
    return Templar(loader=DataLoader(), variables=known).template(known[name])


# --- source: a package of an index


@pytest.fixture
def package(tmp_path: Path) -> Mirror:
    return mirror_of(str(tmp_path / "repo.git"), "package:reef[pdf]", run)


def test_a_package_is_a_commit_that_asks_for_it(package: Mirror) -> None:
    asked = package.remote("2.0")
    assert not package.has(asked.object)
    package.fetch()

    commit = package.local_commit(asked.object)

    assert asked.name == "reef-pdf-2.0"
    assert package.git(["ls-tree", "--name-only", commit]) == "requirements.txt\n"
    assert package.text(commit, "requirements.txt") == "reef[pdf]==2.0\n"


def test_each_version_of_a_package_is_another_commit_and_always_the_same(package: Mirror, tmp_path: Path) -> None:
    other = mirror_of(str(tmp_path / "other.git"), "package:reef[pdf]", run)
    commits = []
    for each in (package, other):
        for version in ("1.0", "2.0"):
            asked = each.remote(version)
            each.fetch()
            commits.append(each.local_commit(asked.object))

    assert commits[:2] == commits[2:]
    assert commits[0] != commits[1]


def test_check_mode_makes_a_package_elsewhere(package: Mirror, tmp_path: Path) -> None:
    asked = package.remote("2.0")
    with package.aside() as other:
        assert other.text(other.local_commit(asked.object), "requirements.txt") == "reef[pdf]==2.0\n"

    assert not (tmp_path / "repo.git").exists()


def test_a_repository_stays_a_repository(tmp_path: Path) -> None:
    assert not isinstance(mirror_of(str(tmp_path), "https://git.example/reef.git", run), Package)


# --- source: a deploy key


def test_the_deploy_key_is_the_deploy_accounts_alone() -> None:
    key = {"django_app_deploy_key": "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----"}
    files = {
        Path(file["path"]).name: file
        for file in value("django_app", "__django_app_ssh_files", **key, django_app_known_hosts=["a ssh-rsa A", "b x"])
    }

    assert {Path(file["path"]).parent for file in files.values()} == {Path("/var/lib/reef-deploy/.ssh")}
    assert value("django_app", "__django_app_ssh_owner") == {
        "owner": "reef-deploy",
        "group": "reef-deploy",
        "mode": "0600",
    }
    assert files["deploy_key"]["content"].endswith("-----END PRIVATE KEY-----\n")
    assert files["known_hosts"]["content"] == "a ssh-rsa A\nb x\n"
    # One setting a line, or ssh refuses the file
    assert files["config"]["content"].splitlines() == [
        "IdentityFile ~/.ssh/deploy_key",
        "IdentitiesOnly yes",
        "StrictHostKeyChecking yes",
        # ssh would write further keys of the server into the file
        "UpdateHostKeys no",
    ]
    assert "openssh-client" in value("django_app", "__django_app_packages", **key)
    assert "openssh-client" not in value("django_app", "__django_app_packages")


# --- Python and requirements


def calls(installer: str, **wanted: Any) -> list[list[str]]:
    """Name the programs that an installer calls."""
    seen: list[list[str]] = []

    def program(_purpose: str, argv: list[str], _environment: dict[str, str]) -> str:
        seen.append(argv)
        return ""

    what = Wanted("/v", "python3.9", ["a.txt", "/srv/b.txt"], ["gunicorn"], hashed=False, **wanted)
    if installer == "pip":
        install_with_pip(program, what, upgrade=False)
    else:
        install_with_uv(program, what, "uv", {}, like="")
    return seen


@pytest.mark.parametrize(("installer", "make"), [("pip", ["python3.9", "-m", "venv"]), ("uv", ["uv", "venv"])])
def test_a_virtual_environment_is_made_by_the_command_that_is_named(installer: str, make: list[str]) -> None:
    assert calls(installer)[0][: len(make)] == make
    first = calls(installer, command=["/opt/python2.7/bin/virtualenv", "--quiet"])[0]
    assert first == ["/opt/python2.7/bin/virtualenv", "--quiet", "/v"]


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_further_calls_of_the_installer_come_last_with_their_own_arguments(installer: str) -> None:
    extra = [["--no-deps", "legacy==1.2"], ["--no-binary", ":all:", "x"]]
    found = [argv for argv in calls(installer, extra=extra) if "install" in argv]

    assert found[0][-5:] == ["--requirement", "a.txt", "--requirement", "/srv/b.txt", "gunicorn"]
    assert [argv[-len(words) :] for argv, words in zip(found[1:], extra, strict=True)] == extra


def test_other_ways_to_build_make_another_release() -> None:
    """What a release is built with decides whether one that is there is taken again."""
    inputs = [
        value("django_app", "__django_app_inputs", **variables)
        for variables in (
            {},
            {"django_app_python": "python3.9"},
            {"django_app_virtualenv": ["virtualenv"]},
            {"django_app_requirements": ["a.txt", "/srv/b.txt"]},
            {"django_app_extra_packages": ["gunicorn"]},
            {"django_app_extra_installs": [["x"]]},
        )
    ]
    assert len({json.dumps(each, sort_keys=True) for each in inputs}) == len(inputs)


# --- migrations


@pytest.mark.parametrize(
    ("said", "again"),
    [
        ("django.db.utils.OperationalError: canceling statement due to lock timeout", True),
        ("psycopg.errors.LockNotAvailable: Anweisung wird storniert wegen Zeitüberschreitung einer Sperre", True),
        ('psycopg.errors.UndefinedTable: relation "x" does not exist', False),
    ],
)
def test_a_lock_that_was_not_had_is_known_in_every_language(said: str, again: bool) -> None:
    assert bool(re.search(value("django_app", "__django_app_lock_timed_out"), said)) == again


def test_what_is_left_to_migrate() -> None:
    shown = ["[X]  sources.0001_initial", "[ ]  sources.0002_size", "[ ]  jobs.0001_initial ... (sources.0001_initial)"]
    left = value("django_app", "__django_app_unapplied", __django_app_shown=shown)
    assert left == ["sources.0002_size", "jobs.0001_initial"]


# --- steps


def test_a_step_has_a_command_an_account_a_directory_and_an_environment() -> None:
    [task] = yaml.safe_load((ROLES / "django_app" / "tasks" / "steps.yml").read_text())
    step = {
        "name": "messages",
        "command": ["django-admin", "compilemessages"],
        "user": "reef-deploy",
        "directory": "web",
        "environment": {"A": "b c", "N": 1},
        "once": True,
    }
    variables = {**role_variables("django_app"), "__django_app_plan": {"release": "one"}}

    def words(item: dict[str, Any]) -> list[str]:
        templar = Templar(loader=DataLoader(), variables={**variables, "item": item})
        found = templar.template(trust_as_template(task["ansible.builtin.command"]["argv"]))
        return list(map(str, found))[4:]

    run = ["/srv/www/reef/run", "--instance", "one"]
    assert words({"name": "plain", "command": ["true"]}) == ["", *run, "true"]
    assert words(step) == [
        "/srv/www/reef/steps/messages",
        *run,
        *("--user", "reef-deploy", "--directory", "web", "env", "A=b c", "N=1", "django-admin", "compilemessages"),
    ]


@pytest.mark.parametrize(("command", "remembered"), [(["true"], True), (["false"], False)])
def test_a_step_is_remembered_when_it_has_succeeded(tmp_path: Path, command: list[str], remembered: bool) -> None:
    mark = tmp_path / "steps" / "places"
    script = value("django_app", "__django_app_step")

    done = subprocess.run(["sh", "-euc", script, "sh", str(mark), *command], check=False)

    assert (done.returncode == 0, mark.exists()) == (remembered, remembered)


# --- layout, environment, config files: the site's `run`


class Site:
    """A release on disk, and its `run`."""

    def __init__(self, path: Path, **variables: Any) -> None:
        self.source = path / "releases" / "one" / "src"
        (self.source / "web").mkdir(parents=True)
        (self.source / "lib").mkdir()
        (path / "current").symlink_to("releases/one")
        (path / "shared").mkdir()
        (path / "shared" / "environment.json").write_text(json.dumps(variables.get("django_app_environment", {})))
        self.program = path / "run"
        me = pwd.getpwuid(os.geteuid()).pw_name
        settings = {"django_app_root": str(path), "django_app_user": me, **variables}
        self.program.write_text(render("django_app", "run.j2", **settings))

    def run(self, *words: str) -> str:
        command = [sys.executable, self.program, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_project_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    inside = Site(tmp_path / "a", django_app_project_directory="web")
    (tmp_path / "work").mkdir()
    outside = Site(tmp_path / "b", django_app_project_directory=str(tmp_path / "work"))

    assert inside.run("pwd") == str(inside.source / "web")
    assert outside.run("pwd") == str(tmp_path / "work")


def test_python_finds_modules_beside_the_project(tmp_path: Path) -> None:
    site = Site(tmp_path, django_app_project_directory="web", django_app_python_path=["lib", "/opt/shared"])

    assert site.run("sh", "-c", "echo $PYTHONPATH") == f"{site.source}/lib:/opt/shared"
    (site.source / "lib" / "currents.py").write_text("VERSION = 1\n")
    assert site.run(sys.executable, "-c", "import currents; print(currents.VERSION)") == "1"


def test_without_a_path_python_has_none(tmp_path: Path) -> None:
    assert Site(tmp_path).run("sh", "-c", "echo ${PYTHONPATH-none}") == "none"


def test_one_environment_with_the_virtual_environment_first_and_a_home_when_asked(tmp_path: Path) -> None:
    plain = Site(tmp_path / "a", django_app_environment={"A": "b"})
    own = Site(tmp_path / "b", django_app_environment={"HOME": "/srv/home"})
    print_all = "echo $A $HOME ${PATH%%:*}"

    assert plain.run("sh", "-c", print_all) == f"b {tmp_path}/a/shared {plain.source.parent}/venv/bin"
    assert own.run("sh", "-c", print_all) == f"/srv/home {own.source.parent}/venv/bin"


def test_a_command_can_run_elsewhere(tmp_path: Path) -> None:
    site = Site(tmp_path, django_app_project_directory="web")

    assert site.run("--directory", "lib", "pwd") == str(site.source / "lib")
    assert site.run("--directory", "/", "pwd") == "/"


def test_a_file_that_is_read_anew_each_time_restarts_nothing() -> None:
    files = [
        {"path": "a.json", "content": "x"},
        {"path": "robots.txt", "content": "x", "restart": False},
        {"path": "b.ini", "content": "x", "restart": True},
    ]

    assert value("django_app", "__django_app_config_files", django_app_config_files=files) == [
        "/srv/www/reef/shared/environment.json",
        "/srv/www/reef/static/staticfiles.json",
        "/srv/www/reef/shared/a.json",
        "/srv/www/reef/shared/b.ini",
    ]


# --- gunicorn


def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str, **variables: Any) -> dict[str, Any]:
    """Run gunicorn's configuration file as gunicorn does, with a file of the site's own."""
    (tmp_path / "src" / "deploy").mkdir(parents=True)
    (tmp_path / "src" / "deploy" / "gunicorn.py").write_text(site)
    for name, text in (("VIRTUAL_ENV", f"{tmp_path}/venv"), ("RUNTIME_DIRECTORY", "/run/x"), ("RELEASE", "one")):
        monkeypatch.setenv(name, text)
    names: dict[str, Any] = {}
    text = render("gunicorn", "etc/gunicorn/site.conf.py.j2", gunicorn_config="deploy/gunicorn.py", **variables)
    exec(compile(text, "reef.conf.py", "exec"), names)
    return names


def test_gunicorn_takes_the_repositorys_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = "workers = 7\ntimeout = 30\ndaemon = True\npidfile = 'x'\nwsgi_app = 'old:app'\nmax_requests = 5\n"
    names = configured(tmp_path, monkeypatch, site, gunicorn_workers=2, gunicorn_settings={"max_requests": 9})

    assert (names["workers"], names["timeout"], names["max_requests"]) == (7, 30, 9)
    assert (names["daemon"], names["pidfile"], names["wsgi_app"]) == (False, None, "config.wsgi:application")


def test_what_the_repositorys_file_does_to_a_worker_is_still_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Worker:
        seen = False

        @staticmethod
        def wsgi(_environ: Any, start: Any) -> list[bytes]:
            start("200 OK", [])
            return []

    names = configured(tmp_path, monkeypatch, "def post_worker_init(worker):\n    worker.seen = True\n")
    worker, headers = Worker(), []
    names["post_worker_init"](worker)
    worker.wsgi({}, lambda _status, found, _exc: headers.extend(found))

    assert worker.seen
    assert headers == [("X-Release", "one")]


def test_gunicorn_takes_further_arguments_and_addresses() -> None:
    service = render(
        "gunicorn", "etc/systemd/system/site@.service.j2", gunicorn_arguments=["--umask", "0 %7", '--name="$x"']
    )
    socket = render("gunicorn", "etc/systemd/system/site@.socket.j2", gunicorn_bind=["127.0.0.1:8000", "[::1]:8000"])

    assert '--config /etc/gunicorn/reef.conf.py "--umask" "0 %%7" "--name=\\"$$x\\""\nExecReload' in service
    assert (
        "ListenStream=/run/%p/%i.sock\nListenStream=127.0.0.1:8000\nListenStream=[::1]:8000\nReusePort=yes\n" in socket
    )


# --- nginx


def test_sites_of_other_inventories_stay_enabled() -> None:
    site = {"name": "reef", "server_names": ["reef.example"], "socket": "/run/x"}
    enabled = value("nginx", "nginx_enabled_sites", nginx_sites=[site], nginx_other_sites=["kelp"])

    assert enabled == ["refuse", "reef", "kelp"]


def test_a_site_can_have_a_template_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "own.j2").write_text("# {{ item.name }} by hand\n")
    reef = {
        "name": "reef",
        "server_names": ["reef.example"],
        "socket": "/run/reef",
        "template": str(tmp_path / "own.j2"),
    }
    kelp = {"name": "kelp", "server_names": ["kelp.example"], "socket": "/run/kelp", "curtain": {}}

    written = value("nginx", "__nginx_texts", nginx_sites=[reef, kelp], ansible_search_path=[str(ROLES / "nginx")])
    texts = {text["path"]: text["content"] for text in written}

    assert texts["/etc/nginx/sites-available/reef"] == "# reef by hand\n"
    assert "server_name kelp.example;" in texts["/etc/nginx/sites-available/kelp"]
    assert [path for path in texts if "reef" in path] == ["/etc/nginx/sites-available/reef"]
    assert len([path for path in texts if "kelp" in path]) == 6


# --- backing services


def test_a_service_has_settings_of_its_unit() -> None:
    wanted = [{"name": "memcached", "settings": {"MemoryMax": "64M"}}, {"name": "plain"}]
    [dropin] = value("services", "__services_dropin_texts", services_wanted=wanted)

    assert dropin["path"] == "/etc/systemd/system/memcached.service.d/site.conf"
    assert dropin["content"].endswith("[Service]\nMemoryMax=64M\n")
