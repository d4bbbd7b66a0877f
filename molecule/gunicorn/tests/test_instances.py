"""A release's life: proven beside, switched to, drained, refused."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from shared.visitor import changed

ROOT = "/srv/www/reef"
ASK = Path(__file__).parents[1] / "files" / "ask.py"


@pytest.fixture
def deploy(playbook: Callable[..., Any]) -> Callable[..., Any]:
    """Run the playbook for another version or setting, on a host that is set up."""
    return partial(playbook, "--skip-tags", "host")


@pytest.fixture
def ask(host: Any) -> Callable[..., dict[str, Any]]:
    """Ask the site where nginx would: through the link to the current release's socket."""
    subprocess.run(["docker", "cp", "--quiet", ASK, f"{host.backend.name}:/root/ask.py"], check=True)

    def ask(path: str, **fields: str) -> dict[str, Any]:
        command = f"python3 /root/ask.py {ROOT}/current/app.sock {shlex.quote(path)} {shlex.quote(json.dumps(fields))}"
        answer: dict[str, Any] = json.loads(host.check_output(command))
        return answer

    return ask


def instance(host: Any) -> str:
    return str(host.check_output(f"basename $(readlink {ROOT}/current/app.sock) .sock"))


def units(host: Any, *states: str) -> set[str]:
    listing = host.check_output(f"systemctl list-units --plain --no-legend --state={','.join(states)} 'reef@*.service'")
    return {line.split()[0] for line in listing.splitlines()}


def test_the_release_answers(host: Any, ask: Callable[..., dict[str, Any]]) -> None:
    answer = ask("/")
    assert answer["status"] == 200
    assert answer["headers"]["x-release"] == instance(host)
    assert units(host, "active") == {f"reef@{instance(host)}.service"}


def test_no_other_socket(host: Any) -> None:
    """Newer versions of gunicorn open a socket for control, which nobody asked for."""
    listening = host.check_output("ss --no-header --listening --unix").split()
    assert [path for path in listening if "reef" in path or "gunicorn" in path] == [f"/run/reef/{instance(host)}.sock"]


def test_settings_of_the_unit(host: Any) -> None:
    assert host.check_output(f"systemctl show --value --property=MemoryMax reef@{instance(host)}.service") == str(
        1024**3
    )
    report = host.check_output(f"systemd-analyze security --no-pager reef@{instance(host)}.service")
    assert float(report.split("Overall exposure level for")[1].split(":")[1].split()[0]) <= 1.2


ATTEMPT = """[Service]
Type=oneshot
Restart=no
ExecStart=
ExecStart=/bin/sh /usr/local/lib/attempt
"""


@pytest.fixture
def attempt(host: Any) -> Iterator[Callable[[str], bool]]:
    """Do something in the very sandbox of the site: one more instance of its unit, with another command."""
    folder = "/etc/systemd/system/reef@attempt.service.d"
    host.run_expect([0], f"mkdir -p {folder} && printf %s {shlex.quote(ATTEMPT)} > {folder}/attempt.conf")

    host.run_expect([0], "systemctl daemon-reload")

    def attempt(command: str) -> bool:
        script = (
            f"echo {shlex.quote(command)} > /usr/local/lib/attempt || exit 99; systemctl start reef@attempt.service"
        )
        return bool(host.run_expect([0, 1], script).rc == 0)

    yield attempt
    host.run("systemctl stop reef@attempt.socket; systemctl reset-failed 'reef@attempt.*'")
    host.run_expect([0], f"rm -r {folder} /usr/local/lib/attempt && systemctl daemon-reload")


def test_what_the_site_cannot_do(attempt: Callable[[str], bool]) -> None:
    media = f"{ROOT}/shared/media"
    assert attempt(f"echo x > {media}/x && rm {media}/x && echo x > $(mktemp) && tar --version"), "what it needs to do"
    allowed = {
        command: attempt(command)
        for command in (
            f"touch {ROOT}/current/src/project/config/wsgi.py",
            f"touch {ROOT}/static/css/site.css",
            f"touch {ROOT}/shared/secrets.json",
            "touch /etc/motd",
            "touch /usr/local/bin/x",
            f"cp /bin/true {media}/x && {media}/x",
            "ls /root",
            "cat /etc/shadow",
            "cat /proc/1/comm",
            "python3 -c 'import socket; socket.socket(socket.AF_NETLINK)'",
            "unshare --user true",
        )
    }
    assert not any(allowed.values()), allowed


def test_the_site_can_send_mail(host: Any, ask: Callable[..., dict[str, Any]]) -> None:
    name = f"newcomer{time.time_ns()}"
    fields = {"username": name, "email": "root@localhost", "password": "reef-and-sand-9"}
    assert ask("/accounts/register/", **fields)["status"] == 302
    deadline = time.monotonic() + 15
    while "/accounts/activate/" not in (mail := host.run("cat /var/mail/root /var/mail/nobody").stdout):
        assert time.monotonic() < deadline, host.run("journalctl -u 'postfix*' -n 20 --no-pager").stdout
        time.sleep(0.2)
    assert "From: site@reef.test" in mail


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("import-fails", "No module named 'config.forgotten'"),
        ("answers-500", "status 500"),
        ("hangs", "timed out"),
    ],
)
def test_a_broken_release_gets_no_visitors(
    host: Any, ask: Callable[..., dict[str, Any]], deploy: Callable[..., Any], version: str, reason: str
) -> None:
    before = instance(host)
    secrets, static = (
        host.file(f"{ROOT}/{name}").content for name in ("shared/secrets.json", "static/staticfiles.json")
    )
    result = deploy("-e", f"version={version}", "-e", "patience=6")
    assert result.returncode != 0
    assert reason in result.stdout
    assert f"The site goes on with {before}" in result.stdout
    assert ask("/")["headers"]["x-release"] == before
    assert units(host, "active", "activating", "deactivating") == {f"reef@{before}.service"}
    assert host.file(f"{ROOT}/shared/secrets.json").content == secrets
    assert host.file(f"{ROOT}/static/staticfiles.json").content == static
    host.run_expect([0], f"systemctl restart reef@{before}.service")
    assert ask("/")["status"] == 200


def test_after_refusals_there_is_nothing_to_do(deploy: Callable[..., Any]) -> None:
    assert changed(deploy()) == 0


def test_a_broken_setting_is_put_back(
    host: Any, ask: Callable[..., dict[str, Any]], deploy: Callable[..., Any]
) -> None:
    before = instance(host)
    for _run in range(2):  # it is refused again, not forgotten
        result = deploy("-e", '{"allowed_hosts": ["elsewhere.test"], "patience": 6}')
        assert result.returncode != 0
        said = " ".join(result.stdout.split())
        assert "status 400 instead of 200 (is the host name in the site" in said
        assert "these files are as they were before: /srv/www/reef/shared/secrets.json" in said
    host.run_expect([0], f"systemctl restart reef@{before}.service")
    assert ask("/")["headers"]["x-release"] == before


def test_requests_end_where_they_began(
    host: Any, ask: Callable[..., dict[str, Any]], deploy: Callable[..., Any]
) -> None:
    """A release is left while somebody waits for its answer; the way back is a version like any other."""
    assert changed(deploy("-e", "version=slow")) > 1
    old = instance(host)
    fields = json.dumps({"username": "nobody", "password": "wrong"})
    upload = ["python3", "/root/ask.py", f"{ROOT}/current/app.sock", "/accounts/login/", fields]
    with subprocess.Popen(
        ["docker", "exec", "--interactive", host.backend.name, *upload],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as slow:  # fmt: skip
        host.run_expect([0], f"timeout 30 sh -c 'until ss --no-header --unix | grep {old}.sock; do sleep 0.1; done'")
        assert changed(deploy()) >= 1
        answer = ask("/")
        assert answer["headers"]["x-release"] == instance(host) != old
        assert answer["headers"]["x-site-version"] == "v1"
        assert changed(deploy()) == 0, "an instance that finishes its requests is left alone"
        assert slow.poll() is None, "the request ended too early to prove anything"
        answer = json.loads(slow.communicate(timeout=90)[0])  # which closes its standard input
    assert answer["status"] == 200
    assert answer["headers"]["x-release"] == old
    deadline = time.monotonic() + 10
    while f"reef@{old}.service" in units(host, "active", "deactivating"):
        assert time.monotonic() < deadline, "the old instance stays"
        time.sleep(0.2)
    host.run_expect([0], f"test ! -e /run/reef/{old}.sock")


def test_what_was_refused_is_removed(host: Any) -> None:
    kept = host.check_output(f"ls {ROOT}/releases").split()
    assert len(kept) == 2, "v1 and slow; a release that was refused goes with the next success"
    assert instance(host).partition(".")[0] in kept
    [venv] = set(host.check_output(f"ls {ROOT}/venvs").split()) - {"uv"}  # all versions have the same requirements
    assert set(host.check_output(f"readlink {ROOT}/releases/*/venv").split()) == {f"../../venvs/{venv}"}
