"""A site on a developer's own machine: up in one command, as somebody who is not root, seen from that machine alone."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from shared.visitor import ROOT, ansible_on, changed

HOME = "/home/anna"
SOURCE, STATE = f"{HOME}/coralnet", f"{HOME}/.local/state/coralnet"
HOSTS = ("debian-12", "debian-13")
INVENTORIES = ("inventories/development", "molecule/development/inventory")
Play = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def play(inventory_name: str) -> Play:
    """Run a playbook as anna, with the inventory of development."""

    def run(*words: str, playbook: str = "runserver") -> subprocess.CompletedProcess[str]:
        path = str(ROOT / "playbooks" / f"{playbook}.yml")
        return ansible_on(
            INVENTORIES, "ansible-playbook", "-l", inventory_name, path, "-e", "ansible_user=anna", *words
        )

    return run


def anna(host: Any, command: str) -> str:
    done = host.run(f"runuser -u anna -- sh -c '{command}'")
    assert done.rc == 0, f"{command}: {done.stderr}"
    return str(done.stdout).strip()


def page(host: Any, path: str = "/") -> str:
    """Open a page at the machine itself; begins with its status."""
    code = (
        "import urllib.request as r, urllib.error\n"
        f"try: a = r.urlopen('http://127.0.0.1:8000{path}', timeout=10)\n"
        "except urllib.error.HTTPError as e: a = e\n"
        "except OSError as e: print(0, e)\n"
        "if 'a' in vars(): print(a.status, a.read().decode())"
    )
    return str(host.check_output(f'python3 -c "{code}"'))


def until(host: Any, path: str, words: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not re.search(words, seen := page(host, path)):
        assert time.monotonic() < deadline, f"{seen[-500:]}\n{log(host)[-1500:]}"
        time.sleep(0.3)


def log(host: Any) -> str:
    return str(host.check_output(f"cat {STATE}/log"))


def words(result: subprocess.CompletedProcess[str]) -> str:
    return " ".join(result.stdout.split())


def test_the_page_answers_and_nothing_but_the_loopback_listens(host: Any, address: str) -> None:
    assert page(host).startswith("200 ")
    assert '<meta name="site-version" content="v1"' in page(host)
    listening = host.check_output("ss --tcp --listening --numeric --no-header").splitlines()
    assert [line.split()[3] for line in listening] == ["127.0.0.1:8000"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, 8000), timeout=5)


def test_nobody_needed_root(host: Any) -> None:
    assert host.run("runuser -u anna -- sudo -n true").rc != 0
    owners = host.check_output(f"find {HOME} -not -user anna | wc -l")
    assert owners == "0"
    for package in ("nginx", "postgresql", "gunicorn", "certbot"):
        assert not host.exists(package)


def test_the_checkout_is_clean(host: Any) -> None:
    assert anna(host, f"git -C {SOURCE} status --porcelain") == ""
    assert anna(host, f"git -C {SOURCE} describe --tags") == "v1"
    assert host.file(STATE).mode == 0o700


def test_the_site_is_tried_and_its_mail_is_on_the_console(host: Any, play: Play) -> None:
    result = play(playbook="smoke")
    assert changed(result) == 0
    assert "Read the activation mail" in result.stdout
    assert "Log in as superuser" in result.stdout
    assert re.search(r"Subject: Activate your account[\s\S]+/accounts/activate/", log(host))
    # Its uploads were no reason to start it again
    assert "started again" not in log(host)


def test_it_is_started_again_when_a_file_is_added(host: Any) -> None:
    tags = f"{SOURCE}/project/sources/templatetags"
    before = serving(host)
    anna(host, f"mkdir {tags} && touch {tags}/__init__.py {tags}/reef.py")
    until_log(host, "started again: project/sources/templatetags/__init__.py is new")
    until(host, "/", "^200 ")
    assert serving(host) != before
    anna(host, f"rm -r {tags}")
    until_log(host, "is gone")
    until(host, "/", "^200 ")


def serving(host: Any) -> int:
    return int(told(host)["group"])


def told(host: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.check_output(f"cat {STATE}/serve.json"))
    return found


def until_log(host: Any, text: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while text not in log(host):
        assert time.monotonic() < deadline, log(host)[-1500:]
        time.sleep(0.3)


@pytest.mark.on(HOSTS[1])
def test_work_of_ones_own_is_kept_and_a_mistake_is_mended(host: Any, play: Play) -> None:
    anna(host, f"sed -i s/reefs/reefs-of-mine/ {SOURCE}/project/templates/home.html")
    until(host, "/", "of-mine")
    urls = f"{SOURCE}/project/config/urls.py"
    anna(host, f"cp {urls} /tmp/urls.py && echo import forgotten >> {urls}")
    until_log(host, "No module named")
    result = play()
    assert result.returncode != 0
    assert "forgotten" in words(result)
    anna(host, f"cp /tmp/urls.py {urls}")
    until(host, "/", "of-mine")  # its keeper has started it again
    assert changed(play("-e", "version=v2")) == 0, "a version is for a clone alone"
    assert anna(host, f"git -C {SOURCE} describe --tags --dirty") == "v1-dirty"
    assert "of-mine" in page(host)
    anna(host, f"git -C {SOURCE} checkout --quiet -- .")


@pytest.mark.on(HOSTS[0])
def test_another_branch_brings_its_packages_and_migrations(host: Any, play: Play) -> None:
    anna(host, f"git -C {SOURCE} checkout --quiet v2")
    check = play("--check", "--diff")
    assert changed(check) == 1, "check mode names what it would install"
    result = play()
    assert changed(result) == 3, "packages, migration, start"
    assert '<meta name="site-version" content="v2"' in page(host)
    assert changed(play()) == 0


@pytest.mark.on(HOSTS[1])
def test_what_a_killed_keeper_has_left_is_put_right(host: Any, play: Play) -> None:
    host.run_expect([0], f"kill -9 {told(host)['pid']}")
    assert page(host).startswith("200 ")
    assert changed(play("-e", "runserver=stopped")) == 1
    assert page(host).startswith("0 ")
    assert changed(play()) == 1


def test_it_is_stopped(host: Any, play: Play) -> None:
    assert changed(play("-e", "runserver=stopped", "--check")) == 1
    assert page(host).startswith("200 "), "check mode stops nothing"
    assert changed(play("-e", "runserver=stopped")) == 1
    assert host.check_output("ss --tcp --listening --numeric --no-header") == ""
    assert changed(play("-e", "runserver=stopped")) == 0
    assert host.check_output("find /proc -maxdepth 1 -name '[0-9]*' -user anna") == "", "nothing of it lives"


@pytest.mark.on(HOSTS[1])
def test_a_port_that_is_taken_is_told_before_anything_changes(host: Any, play: Play) -> None:
    server = "python3 -m http.server --bind 0.0.0.0 8000 >/dev/null 2>&1 & echo $! >/var/tmp/pid; sleep 1"
    host.run_expect([0], server)
    try:
        result = play()
    finally:
        host.run_expect([0], "kill $(cat /var/tmp/pid)")
    assert result.returncode != 0
    assert "port 8000 of 127.0.0.1 is taken by another program: end that, or set runserver_port to an" in words(result)
    assert "changed=0" in result.stdout


@pytest.mark.on(HOSTS[0])
def test_a_repository_that_is_not_there_is_told_before_anything_changes(host: Any, play: Play) -> None:
    values = {
        "runserver_source": f"{HOME}/none",
        "runserver_directory": f"{HOME}/state",
        "site_repository": "/none.git",
    }
    result = play("-e", json.dumps(values))
    assert result.returncode != 0
    assert "/none.git" in words(result)
    assert "changed=0" in result.stdout
    assert host.check_output(f"ls {HOME}") == "coralnet"


@pytest.mark.on(HOSTS[1])
def test_a_python_without_virtual_environments(host: Any, play: Play) -> None:
    host.run_expect([0], "mv /usr/lib/python3.13/ensurepip /var/tmp/")
    result = play()
    host.run_expect([0], "mv /var/tmp/ensurepip /usr/lib/python3.13/")
    assert "python3 cannot make virtual environments: install its package (python3-venv on" in words(result)
    assert "changed=0" in result.stdout


@pytest.mark.on(HOSTS[0])
def test_it_is_refused_in_production(host: Any, play: Play) -> None:
    result = play("-e", "deploy_environment=production")
    assert result.returncode != 0
    assert "runserver shows its code and settings to whoever meets an error, so it is not run here" in words(result)
    assert "changed=0" in result.stdout


@pytest.mark.on(HOSTS[0])
def test_settings_and_secrets_of_ones_own(host: Any, play: Play) -> None:
    """Settings are laid over the site's, in a module of their own, and a file of secrets is written once."""
    values = {
        "site_secrets": {"DEFAULT_FROM_EMAIL": "canary-3f1a@reef.test"},
        "runserver_settings": {"SITE_NOTE": "laid over"},
    }
    result = play("-e", json.dumps(values), "--diff")
    assert changed(result) == 3
    assert "canary-3f1a" not in result.stdout
    say = "from django.conf import settings as s; print(s.SITE_NOTE, s.DEFAULT_FROM_EMAIL, s.DEBUG)"
    shown = host.run(f"runuser -u anna -- {STATE}/run python manage.py shell -v 0 -c '{say}'").stdout
    assert shown == "laid over canary-3f1a@reef.test True\n"
    assert host.file(f"{SOURCE}/project/config/settings/secrets.json").mode == 0o600
    values["site_secrets"] = {"DEFAULT_FROM_EMAIL": "other@reef.test"}
    assert changed(play("-e", json.dumps(values))) == 0, "it is the developer's own now"
