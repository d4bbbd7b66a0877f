"""What the role leaves on a host: a release that is ready, and nothing that anybody else can read or write."""

from __future__ import annotations

import configparser
import json
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from shared.visitor import changed

ROOT = "/opt/reef"
SHARED = f"{ROOT}/shared"
CANARY = "canary-7d3f"
VALUES = {
    "PLAIN": "coral",
    "MONEY": "$HOME costs $5",
    "COMMENT": "a # is no comment",
    "QUOTES": 'it\'s "quoted"',
    "LINES": "first\nsecond",
    "BLANKS": "  kept  ",
    "EMPTY": "",
    "PATHS": r"C:\new\table",
}


def releases(host: Any) -> list[str]:
    return sorted(host.check_output(f"ls {ROOT}/releases").split())


@pytest.fixture
def deploy(playbook: Callable[..., Any]) -> Callable[..., Any]:
    """Run the playbook for another version, on a host that is set up."""
    return partial(playbook, "--skip-tags", "host")


# What is in the virtual environment of the oldest release
FILES = f"cd {ROOT}/venvs && cd $(ls | head -n 1) && find . -type f -exec sha256sum {{}} + | sort"


def in_release(host: Any, command: str, number: int = -1) -> Any:
    return host.run(f"{ROOT}/run --instance {releases(host)[number]} {command}")


def venv(host: Any, number: int = -1) -> str:
    return str(host.check_output(f"readlink {ROOT}/releases/{releases(host)[number]}/venv"))


def test_the_site_is_ready_in_its_own_environment(host: Any) -> None:
    assert in_release(host, "python manage.py check").rc == 0
    assert in_release(host, "python manage.py migrate --check").rc == 0
    assert in_release(host, "gunicorn --version").rc == 0, "an extra package"
    assert in_release(host, "printenv PASSPHRASE").stdout == f"{CANARY} with 'quotes' and $HOME\n"
    assert in_release(host, "which python").stdout == f"{ROOT}/releases/{releases(host)[-1]}/venv/bin/python\n"
    assert in_release(host, "pwd").stdout.endswith("/src/project\n")
    assert in_release(host, "id -un").stdout == "reefer\n"


def test_files_say_what_the_inventory_says(host: Any) -> None:
    def read(name: str) -> str:
        return str(host.file(f"{SHARED}/{name}").content_string)

    assert json.loads(read("reef.json"))["SECRET_KEY"] == CANARY
    ini = configparser.RawConfigParser()
    ini.read_string(read("settings.ini"))
    assert ini["email"]["password"] == f"{CANARY}%"
    namespace: dict[str, Any] = {}
    exec(read("local_settings.py"), namespace)  # it is Python that we wrote
    assert {name: namespace[name] for name in VALUES} == VALUES
    assert namespace["SIZES"] == [1, 2.5, True, None]
    assert read("robots.txt") == "User-agent: *\nDisallow: /\n"
    assert read("motd") == (f"Host {host.check_output('hostname')}\n")


def test_files_are_linked_into_the_source(host: Any) -> None:
    source = f"{ROOT}/releases/{releases(host)[-1]}/src/project"
    assert host.check_output(f"readlink {source}/.env") == f"{SHARED}/dotenv"
    assert "\nCOMMENT='a # is no comment'\n" in host.check_output(f"cat {source}/.env")
    assert (
        in_release(host, "python -c 'from config.settings.site_local import PLAIN; print(PLAIN)'").stdout == "coral\n"
    )


@pytest.mark.parametrize(
    ("path", "owner", "group", "mode"),
    [
        (SHARED, "root", "root", 0o755),
        (f"{SHARED}/reef.json", "root", "reefer", 0o640),
        (f"{SHARED}/environment.json", "root", "reefer", 0o640),
        (f"{SHARED}/robots.txt", "builder", "www-data", 0o644),
        (f"{SHARED}/db", "reefer", "reefer", 0o700),
        (f"{SHARED}/media", "reefer", "www-data", 0o2750),
        (f"{ROOT}/run", "root", "root", 0o755),
        (f"{ROOT}/releases", "builder", "builder", 0o755),
        (f"{ROOT}/venvs", "builder", "reefer", 0o2755),
    ],
)
def test_owners(host: Any, path: str, owner: str, group: str, mode: int) -> None:
    file = host.file(path)
    assert (file.user, file.group, file.mode) == (owner, group, mode)


def test_code_belongs_to_the_deploy_account_and_others_cannot_read_it(host: Any) -> None:
    release = f"{ROOT}/releases/{releases(host)[-1]}"
    for tree in ("src", "venv"):
        assert host.run(f"find {release}/{tree}/ -not -user builder -not -type l | grep .").stdout == ""
        assert host.run(f"runuser -u reefer -- find {release}/{tree}/ -not -type l -writable").stdout == ""
        assert host.run(f"runuser -u nobody -- ls {release}/{tree}").rc != 0
        assert host.run(f"runuser -u reefer -- ls {release}/{tree}").rc == 0


def test_the_superuser_can_log_in(host: Any) -> None:
    code = "from django.contrib.auth import authenticate as log_in; print(log_in(username='root', password='{}'))"
    assert in_release(host, f'python manage.py shell -c "{code.format(CANARY)}"').stdout.endswith("root\n")


def test_the_superuser_is_what_the_vault_says(host: Any, deploy: Callable[..., Any]) -> None:
    words = {"django_app_superuser": {"username": "root", "email": "root@reef.test", "password": "another-canary-7d3f"}}
    result = deploy("-e", json.dumps(words))
    assert changed(result) == 1
    assert CANARY not in result.stdout
    code = "from django.contrib.auth import authenticate as log_in; print(log_in(username='root', password='{}'))"
    assert in_release(host, f'python manage.py shell -c "{code.format("another-" + CANARY)}"').stdout.endswith("root\n")
    assert changed(deploy("-e", json.dumps(words))) == 0
    assert changed(deploy()) == 1
    test_the_superuser_can_log_in(host)


def test_another_version_is_built_beside(host: Any, deploy: Callable[..., Any]) -> None:
    before = releases(host)
    head = host.check_output(f"git -c safe.directory='*' -C {ROOT}/repo.git rev-parse v2")
    check = deploy("-e", "version=v2", "--check", "--diff")
    assert head in check.stdout, "check mode names the commit that it would build"
    assert changed(check) == 1
    assert releases(host) == before, "check mode builds nothing"
    files = host.check_output(FILES)
    assert changed(deploy("-e", "version=v2")) > 1
    after = releases(host)
    assert after[:-1] == before
    newest = f"{ROOT}/releases/{after[-1]}"
    assert venv(host) != venv(host, 0), "its requirements are others"
    assert in_release(host, "python -c 'import humanize'").rc == 0
    assert in_release(host, "python -c 'import humanize'", 0).rc != 0, "the older release has what it had"
    assert in_release(host, "python manage.py check", 0).rc == 0
    versions = [in_release(host, "gunicorn --version", number).stdout for number in (0, -1)]
    assert versions[0] != versions[1]
    assert host.check_output(FILES) == files, "what the two share has been changed"
    assert host.check_output(f"find -H {newest}/venv/lib -name '*.py' -links +1 -print -quit"), "nothing is shared"
    assert changed(deploy("-e", "version=v2")) == 0, "it waits to be switched to, and is not built again"


def test_a_build_that_died_is_no_release(host: Any, deploy: Callable[..., Any]) -> None:
    newest, packages = releases(host)[-1], venv(host)
    host.run_expect([0], f"rm {ROOT}/releases/{newest}/release.json")
    result = deploy("-e", "version=v2")
    assert changed(result) > 1
    assert releases(host)[-1] > newest
    assert venv(host) == packages, "the requirements are the same, so nothing is installed"


def packages(host: Any) -> set[str]:
    """Name what was asked for: Python puts pip, and setuptools before 3.12, into each by itself."""
    code = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    names = in_release(host, f'python -c "{code}"').stdout.split()
    return {name for name in names if not name.startswith(("pip==", "setuptools=="))}


def test_pip_and_a_fresh_uv_install_what_a_copy_became(host: Any, deploy: Callable[..., Any]) -> None:
    before, by_uv = packages(host), venv(host)
    assert in_release(host, "python -m pip").rc != 0, "it was not uv"
    for installer in ("pip", "uv"):
        words = ("-e", "version=v2", "-e", f"django_app_installer={installer}")
        assert changed(deploy(*words)) == 0, "another installer alone is no reason to install anew"

        assert changed(deploy(*words, "-e", "django_app_upgrade_packages=true")) > 1
        assert venv(host) != by_uv
        assert packages(host) == before
        assert (in_release(host, "python -m pip").rc == 0) == (installer == "pip")
        assert in_release(host, "python manage.py check").rc == 0
        test_code_belongs_to_the_deploy_account_and_others_cannot_read_it(host)
        assert changed(deploy(*words)) == 0


KILLER = """
import contextlib, os, pwd, sys, time
deadline, venvs = time.monotonic() + 300, "/opt/reef/venvs"
while not any(os.path.exists(f"{venvs}/{name}/bin/python") for name in set(os.listdir(venvs)) - set(sys.argv[1:])):
    if time.monotonic() > deadline:
        sys.exit("nothing is installed")
    time.sleep(0.02)
# Who started it, the eldest first: they would tidy up
def parents(process):
    with open(f"/proc/{process}/stat") as file:
        parent = int(file.read().rpartition(")")[2].split()[1])
    return [*parents(parent), parent] if parent > 1 else []
killed = False
while not killed:  # it may just be between two programs
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{process}").st_uid == pwd.getpwnam("builder").pw_uid:
                for each in [*parents(process), int(process)]:
                    os.kill(each, 9)
                    killed = True
"""


def test_fresh_packages_on_request_also_after_a_run_that_was_killed(host: Any, deploy: Callable[..., Any]) -> None:
    fresh = ("-e", "version=v2", "-e", "django_app_upgrade_packages=true")
    before, packages = host.check_output(f"ls {ROOT}/venvs").split(), venv(host)
    with subprocess.Popen(["docker", "exec", host.backend.name, "python3", "-c", KILLER, *before]) as killer:
        assert deploy(*fresh).returncode != 0
        assert killer.wait(timeout=60) == 0, "it was not killed while it installed"
    [half] = set(host.check_output(f"ls {ROOT}/venvs").split()) - set(before)
    assert not host.file(f"{ROOT}/venvs/{half}/venv.json").exists

    result = deploy(*fresh)
    assert changed(result) > 1
    assert venv(host) not in (packages, f"../../venvs/{half}")
    assert in_release(host, "python manage.py check").rc == 0
    assert in_release(host, "python manage.py check", 0).rc == 0


def test_what_root_has_left_among_the_packages_ends_no_build(host: Any, deploy: Callable[..., Any]) -> None:
    left = f"{ROOT}/releases/{releases(host)[-1]}/venv/left-by-root"
    host.run_expect([0], f"touch {left} && chmod 600 {left}")
    more = {"version": "v2", "django_app_extra_packages": ["gunicorn", "tomli"]}
    assert changed(deploy("-e", json.dumps(more))) > 1
    newest = f"{ROOT}/releases/{releases(host)[-1]}"
    assert not left.startswith(newest)
    assert not host.file(f"{newest}/venv/left-by-root").exists
    assert in_release(host, "python -c 'import tomli'").rc == 0
    test_code_belongs_to_the_deploy_account_and_others_cannot_read_it(host)
    host.run_expect([0], f"rm {left}")


@pytest.mark.parametrize("mode", ["", "--check"])
def test_a_secret_that_is_missing_is_told_before_anything_happens(
    host: Any, deploy: Callable[..., Any], mode: str
) -> None:
    before = releases(host)
    result = deploy("-e", "version=v2", "-e", '{"django_app_config_files": []}', *filter(None, [mode]))
    assert result.returncode != 0
    assert "v2 needs SECRET_KEY, " in result.stdout
    assert "EXPORT_SIGNING_KEY (see its project/config/settings/secrets.example.json): set them in" in result.stdout
    assert releases(host) == before


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_an_index_that_does_not_answer(host: Any, deploy: Callable[..., Any], installer: str) -> None:
    settings = {
        "version": "v2",
        "django_app_installer": installer,
        "django_app_uv": f"{ROOT}/venvs/uv/bin/uv",
        "django_app_upgrade_packages": True,
        "django_app_pip_environment": {
            "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
            "PIP_RETRIES": "0",
            "UV_HTTP_RETRIES": "0",
        },
    }
    result = deploy("-e", json.dumps(settings))
    assert result.returncode != 0
    said = " ".join(result.stdout.split())
    assert "Build the release failed, and the site goes on with" in said
    assert f"could not install the requirements with {installer}: " in said
    assert in_release(host, "python manage.py check", 0).rc == 0


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("package-missing", "humanize==999.0"),
        ("migration-fails", "sources_no_such_table"),
        ("no-such-version", "has no branch or tag"),
    ],
)
def test_what_fails_says_why(deploy: Callable[..., Any], version: str, message: str) -> None:
    result = deploy("-e", f"version={version}")
    assert result.returncode != 0
    assert message in result.stdout
    assert CANARY not in result.stdout
