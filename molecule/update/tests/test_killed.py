"""The operator's machine dies in the middle of an update."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shared.deployed import ROOT, Queue, Site
from shared.visitor import Visitor, changed, start_ansible

# Its hosts have workers and Redis
INVENTORY = ("--inventory", str(Path(__file__).parents[1] / "inventory"))


def test_begin(at_v1: None, site: Site) -> None:
    assert site.version == "v1"


def killed(words: list[str], phase: str, playbook: str = "playbooks/update.yml") -> None:
    """Begin an update, and kill it when the phase begins."""
    with start_ansible("ansible-playbook", *INVENTORY, *words, playbook, PYTHONUNBUFFERED="1") as run:
        assert run.stdout
        for line in run.stdout:
            if f"TASK [Phase: {phase}]" in line:
                os.killpg(run.pid, signal.SIGKILL)
                return
    pytest.fail(f"there was no phase {phase}")


@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("plan", marks=pytest.mark.on("debian-13")),
        pytest.param("build", marks=pytest.mark.on("debian-12")),
        pytest.param("prepare", marks=pytest.mark.on("debian-13")),
        pytest.param("drain", marks=pytest.mark.on("debian-12")),
        pytest.param("database", marks=pytest.mark.on("debian-12")),
        "switch",
    ],
)
def test_killed_in_the_phase(site: Site, inventory_name: str, phase: str) -> None:
    killed(["--limit", inventory_name, "-e", "version=v2", "-e", "take_over=true"], phase)
    assert site.version in ({"v1"} if phase != "switch" else {"v1", "v2"})
    site.restart()
    assert site.version in ({"v1"} if phase != "switch" else {"v1", "v2"})
    assert site.host.file(f"{ROOT}/lock.json").exists


@pytest.fixture
def over_ssh(host: Any, address: str, tmp_path: Path) -> Iterator[str]:
    """Give the variables that lead there over SSH, and close that way again."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    host.run_expect([0], "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y openssh-server && systemctl start ssh")
    host.run_expect(
        [0], f"mkdir -p /root/.ssh && echo '{key.with_suffix('.pub').read_text()}' >/root/.ssh/authorized_keys"
    )
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    variables = {"ansible_connection": "ssh", "ansible_host": address, "ansible_user": "root"}
    yield json.dumps({**variables, "ansible_ssh_private_key_file": str(key), "ansible_ssh_common_args": options})
    host.run_expect([0], "rm /root/.ssh/authorized_keys; systemctl stop ssh.socket ssh")


@pytest.mark.on("debian-13")
def test_cut_off_from_the_host(site: Site, inventory_name: str, over_ssh: str) -> None:
    """The run itself lives on, and cannot reach the host any more."""
    words = ["--limit", inventory_name, "-e", over_ssh, "-e", "version=v2", "-e", "take_over=true"]
    with start_ansible("ansible-playbook", *INVENTORY, *words, "playbooks/update.yml", PYTHONUNBUFFERED="1") as run:
        assert run.stdout
        said = ""
        for line in run.stdout:
            said += line
            if "TASK [Phase: prepare]" in line:
                site.host.run_expect([0], "systemctl stop ssh.socket ssh; pkill -KILL -f '^sshd.*: root@notty'")
    assert "UNREACHABLE!" in said
    assert run.returncode != 0
    assert site.version == "v1"
    assert site.host.file(f"{ROOT}/lock.json").exists


def test_killed_behind_the_curtain(site: Site, address: str, inventory_name: str) -> None:
    """Visitors are told to come again until the next run has seen what the database is like."""
    words = ["--limit", inventory_name, "-e", "take_over=true", "-e", "strategy=window", "-e", "version=slow-v2"]
    killed(words, "database")
    for _look in ("at once", "after a restart"):
        answer = Visitor(address).get("/")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        site.restart()


def test_killed_again_before_it_was_opened(site: Site, inventory_name: str) -> None:
    """Whoever comes next still knows that nobody has closed the site on purpose, and opens it."""
    killed(["--limit", inventory_name, "-e", "take_over=true", "-e", "version=v2"], "plan")
    lock = json.loads(site.host.check_output(f"cat {ROOT}/lock.json"))
    assert lock["reason"].endswith("to v2")
    assert lock["closed"]


def test_the_next_run_is_told_and_completes(site: Site, update: Callable[..., Any]) -> None:
    refused = update("v2")
    assert refused.returncode != 0
    assert "if that run is dead, take the lock over with -e take_over=true" in " ".join(refused.stdout.split())
    changed(update("v2", "take_over=true"))
    assert site.version == "v2"
    assert changed(update("v2")) == 0
    assert not site.host.file(f"{ROOT}/lock.json").exists
    site.host.run_expect([0], f"systemctl is-active coralnet@{site.instance}.service")


@pytest.mark.on("debian-12")
def test_a_rollback_that_is_killed(site: Site, inventory_name: str, playbook: Callable[..., Any]) -> None:
    killed(["--limit", inventory_name, "-e", "release=v1"], "switch", "playbooks/rollback.yml")
    assert site.version in {"v1", "v2"}
    site.restart()
    assert site.version in {"v1", "v2"}
    refused = playbook("-e", "release=v1", path="playbooks/rollback.yml")
    assert refused.returncode != 0
    assert "(rollback to v1), and was seen alive" in " ".join(refused.stdout.split())
    changed(playbook("-e", "release=v1", "-e", "take_over=true", path="playbooks/rollback.yml"))
    assert site.version == "v1"
    assert not site.host.file(f"{ROOT}/lock.json").exists


@pytest.mark.on("debian-13")
def test_killed_before_the_workers_run(
    site: Site, queue: Queue, inventory_name: str, update: Callable[..., Any]
) -> None:
    changed(update("v1"))
    killed(["--limit", inventory_name, "-e", "version=v2"], "workers")
    assert site.version == "v2"
    waits = queue.add()
    changed(update("v2", "take_over=true"))
    assert queue.wait(waits) == {"state": "done", "release": site.release, "version": "v2"}
