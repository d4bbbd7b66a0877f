"""What a server goes through: crashes, a reboot, a second operator, curious eyes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from shared.visitor import CUT, PEOPLE, Visitor, changed, report, visits

# Every secret of the lab begins with it, so that one search finds them all
CANARY = "lab-only-"
THREADS = '{"gunicorn_threads": 5}'


@pytest.fixture
def update(playbook: Callable[..., Any]) -> Callable[..., Any]:
    """Run the playbook for an update, which is quicker than the whole site's."""
    return partial(playbook, path="playbooks/update.yml")


def instance(host: Any) -> str:
    return str(host.check_output("basename $(readlink /srv/www/coralnet/current/app.sock) .sock"))


def test_killed_gunicorn_costs_a_wait(host: Any, address: str) -> None:
    unit = f"coralnet@{instance(host)}.service"
    # What may be asked twice is asked again, also where the killed processes had it in hand. What has begun to come
    # cannot be asked for again, and each visitor waits for one answer at a time.
    with visits(address) as seen:
        time.sleep(1)
        host.run_expect([0], f"kill -9 $(systemctl show --value --property=MainPID {unit})")
        time.sleep(4)
    assert sum(status == CUT for status, _seconds in seen) <= PEOPLE
    report(host, "gunicorn killed", [(status, seconds) for status, seconds in seen if status != CUT])
    assert int(host.check_output(f"systemctl show --value --property=NRestarts {unit}")) >= 1


def test_a_changed_setting_is_proven_beside_and_switched_to(
    host: Any, address: str, update: Callable[..., Any]
) -> None:
    before = instance(host)
    with visits(address) as seen:
        assert changed(update("-e", THREADS)) == 2  # the file and the switch
    report(host, "settings changed", seen)
    assert instance(host) == f"{before}.1"
    deadline = time.monotonic() + 10
    while host.run(f"systemctl is-active coralnet@{before}.service").rc == 0:
        assert time.monotonic() < deadline, f"{before} has no requests left and does not end"
        time.sleep(0.2)
    assert changed(update("-e", THREADS)) == 0


def test_a_lost_switch_is_completed_by_the_next_run(host: Any, update: Callable[..., Any]) -> None:
    host.run_expect([0], "touch /srv/www/coralnet/shared/secrets.json")
    before = instance(host)
    assert changed(update("-e", THREADS)) == 1
    assert instance(host) != before


def test_the_distributions_page_in_the_sites_place(address: str, playbook: Callable[..., Any]) -> None:
    swap = partial(playbook, path="playbooks/nginx_sites.yml")
    assert changed(swap("-e", '{"nginx_enabled_sites": ["default"]}')) == 1
    assert "Welcome to nginx!" in Visitor(address).get("/").text
    assert changed(swap("--check")) == 1
    assert changed(swap()) == 1
    assert "CoralNet sample site" in Visitor(address).get("/").text


def test_no_secret_can_be_seen(host: Any, playbook: Callable[..., Any]) -> None:
    secret = f"vault_export_signing_key={CANARY}new-for-this-test"
    shown = playbook("-vvv", "--diff", "-e", secret, path="playbooks/update.yml").stdout
    assert "secrets.json" in shown
    lines = [line for line in shown.splitlines() if CANARY in line]
    assert not lines, lines[0][:300]

    for where in (
        "systemctl show --all '*'",
        "systemctl cat 'coralnet@*'",
        "journalctl --no-pager --all",
        "ps axww -o args",
        "cat $(find /var/log -type f)",
    ):
        found = host.run(f"{where} 2>/dev/null | grep -a -m 3 -- {CANARY} | grep -v 'grep -'")
        assert found.stdout == "", f"{where}: {found.stdout}"
    search = f"-xdev -type f -size -4096k -exec grep -la -- {CANARY} {{}} +"
    assert host.run(f"find / -perm -o=r {search}").stdout == "", "anybody can read it there"
    assert host.run(f"find /srv/www {search}").stdout, "the search does not find what is there"


def test_reboot(host: Any) -> None:
    before = instance(host)
    subprocess.run(["docker", "restart", "--time", "60", host.backend.name], check=True, capture_output=True)
    deadline = time.monotonic() + 60
    while True:
        try:
            # The engine may have given it another address
            page = Visitor(host.check_output("hostname -I").split()[0]).get("/")
            if page.status_code == 200:
                break
        except (OSError, IndexError, AssertionError) as exc:
            page = exc
        assert time.monotonic() < deadline, f"last seen: {page}"
        time.sleep(0.2)
    assert page.headers["X-Release"] == before
    assert host.run("systemctl is-system-running --wait").stdout.strip() == "running"
