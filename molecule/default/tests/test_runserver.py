"""A development server of the release, beside the site: for whoever has a tunnel, and nobody else."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from shared.visitor import changed

ROOT = "/srv/www/coralnet"
UNIT = "coralnet-runserver.service"
Play = Callable[..., Any]


@pytest.fixture
def runserver(playbook: Play) -> Play:
    return partial(playbook, path="playbooks/runserver.yml")


def page(host: Any, path: str = "/", name: str = "127.0.0.1:8000") -> str:
    code = (
        "import http.client as h\n"
        "c = h.HTTPConnection('127.0.0.1', 8000, timeout=20)\n"
        f"c.request('GET', '{path}', headers={{'Host': '{name}'}})\n"
        "a = c.getresponse(); print(a.status, a.read().decode())"
    )
    return str(host.check_output(f'python3 -c "{code}"'))


def test_it_is_there_for_the_loopback_alone(host: Any, runserver: Play, address: str, inventory_name: str) -> None:
    result = runserver()
    assert changed(result) == 2
    container = host.backend.name
    said = re.sub(r"^ +", "", result.stdout, flags=re.MULTILINE)
    assert f"\nssh -L 8000:127.0.0.1:8000 {container} -N\n" in said
    assert (
        f"\nHost coralnet-runserver\nHostName {container}\nLocalForward 8000 127.0.0.1:8000\nSessionType none\n" in said
    )
    listening = host.check_output("ss --tcp --listening --numeric --no-header 'sport = :8000'").splitlines()
    assert [line.split()[3] for line in listening] == ["127.0.0.1:8000"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, 8000), timeout=5)
    assert changed(runserver()) == 0


def test_pages_come_with_their_files_at_the_end_of_a_tunnel(host: Any) -> None:
    answer = page(host)
    assert answer.startswith("200 ")
    assert '<meta name="site-version" content="v1"' in answer
    [style] = re.findall(r'href="(/static/[^"]+\.css)"', answer)[:1]
    assert page(host, style).startswith("200 ")
    assert "DEBUG = True" in page(host, "/no-such-page"), "it is for developers"
    assert page(host, name="coralnet.test").startswith("400 "), "nobody else's name leads here"


def test_it_is_confined_and_does_not_come_back_after_a_reboot(host: Any) -> None:
    shown = host.check_output(f"systemctl show --property=User,UnitFileState,ProtectSystem,NoNewPrivileges {UNIT}")
    assert set(shown.splitlines()) == {
        "User=coralnet",
        "UnitFileState=static",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
    }
    settings = host.file(f"{ROOT}/runserver/runserver_settings.py")
    assert (settings.user, settings.group, settings.mode) == ("root", "coralnet", 0o640)


@pytest.mark.on("debian-13")
def test_the_site_is_tried_through_it(host: Any, playbook: Play) -> None:
    values = ("-e", "smoke_front=http://127.0.0.1:8000", "-e", "smoke_host=127.0.0.1:8000")
    result = playbook(*values, path="playbooks/smoke.yml")
    assert changed(result) == 0
    assert "Log in as superuser" in result.stdout


@pytest.mark.on("debian-13")
def test_it_is_refused_where_people_could_be_harmed(host: Any, runserver: Play) -> None:
    result = runserver("-e", "deploy_environment=production")
    assert result.returncode != 0
    assert "so it is not run here: try the site on staging, or set runserver_allowed to true" in " ".join(
        result.stdout.split()
    )


@pytest.mark.on("debian-12")
def test_a_release_that_is_not_there(host: Any, runserver: Play) -> None:
    result = runserver("-e", "release=20200101T000000Z-0123456789")
    assert result.returncode != 0
    assert "There is no release 20200101T000000Z-0123456789 in /srv/www/coralnet: deploy one with site.yml" in " ".join(
        result.stdout.split()
    )
    assert "changed=0" in result.stdout


def test_it_is_stopped_and_nothing_of_it_stays(host: Any, runserver: Play) -> None:
    assert changed(runserver("-e", "runserver=stopped")) == 2
    assert host.check_output("ss --tcp --listening --numeric --no-header 'sport = :8000'") == ""
    assert not host.file(f"{ROOT}/runserver").exists
    assert not host.file(f"/etc/systemd/system/{UNIT}").exists
    assert changed(runserver("-e", "runserver=stopped")) == 0


@pytest.mark.on("debian-13")
def test_what_does_not_start_says_why_and_is_not_left_behind(host: Any, runserver: Play) -> None:
    result = runserver("-e", '{"runserver_settings": {"DEBUG": true, "ROOT_URLCONF": "config.nowhere"}}')
    assert result.returncode != 0
    assert "No module named 'config.nowhere'" in " ".join(result.stdout.split())
    assert host.run(f"systemctl is-active {UNIT}").rc != 0
    runserver("-e", "runserver=stopped")
