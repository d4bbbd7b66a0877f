"""Runs that bring a site to several hosts, which are to have the same code in the end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shared.database import sql
from shared.deployed import ROOT, Site
from shared.visitor import ROOT as PROJECT
from shared.visitor import Visitor, ansible

INVENTORY = f"--inventory={Path(__file__).parents[1] / 'inventory'}"
HOSTS = ("debian-12", "debian-13")
REPOSITORY = PROJECT / ".lab/srv/site.git"
Together = Callable[..., Any]


def wait_for(path: Path, seconds: int) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not come within {seconds} s"
        time.sleep(0.2)


@pytest.fixture
def together(inventory_name: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Together:
    """Run a playbook once for both hosts, whose tests run side by side: it begins when both have come so far."""
    if "PYTEST_XDIST_WORKER" not in os.environ or os.environ.get("LAB_HOSTS"):
        pytest.skip("it takes both hosts, side by side")
    place = tmp_path_factory.getbasetemp().parent / request.node.originalname
    place.mkdir(exist_ok=True)
    answer = place / "answer.json"

    def run(playbook: str, *variables: str) -> subprocess.CompletedProcess[str]:
        (place / inventory_name).touch()
        if inventory_name == HOSTS[0]:
            for host in HOSTS:
                wait_for(place / host, 300)
            words = [word for variable in variables for word in ("-e", variable)]
            done = ansible("ansible-playbook", INVENTORY, "--limit", ",".join(HOSTS), playbook, *words)
            fresh = answer.with_suffix(".new")
            fresh.write_text(json.dumps({"args": "", "returncode": done.returncode, "stdout": done.stdout}))
            fresh.rename(answer)
        wait_for(answer, 300)
        told: dict[str, Any] = json.loads(answer.read_text())
        return subprocess.CompletedProcess(**told)

    return run


def test_a_branch_that_moves_between_two_batches(at_v1: None, site: Site, together: Together) -> None:
    def git(*words: str) -> list[str]:
        return ["git", "-C", str(REPOSITORY), *words]

    # Whoever is told of the first batch moves it
    moves = json.dumps({"site_notify": {"command": git("branch", "--force", "moving", "slow")}})
    subprocess.run(git("branch", "--force", "moving", "v2"), check=True)
    done = together("playbooks/update.yml", "version=moving", "batches=1", moves)
    assert done.returncode == 0, done.stdout
    wanted = subprocess.check_output(git("rev-parse", "v2^{commit}"), text=True).strip()
    assert json.loads(site.host.check_output(f"cat {ROOT}/current/release.json"))["commit"] == wanted


def test_a_way_back_that_one_host_refuses_is_nobodys(site: Site, address: str, together: Together) -> None:
    """Where it was taken, the newer release comes back: with its schema, and with its own list of static files."""
    release = site.release
    check = """[{'path': '/', 'body': 'content="v2"'}] if inventory_hostname == 'debian-13' else []"""
    refuses = json.dumps({"gunicorn_checks": "{{ " + check + " }}", "gunicorn_probe_timeout": 4})
    failed = together("playbooks/rollback.yml", "migrations=reverse", refuses)
    assert failed.returncode != 0
    assert (site.version, site.release) == ("v2", release)
    assert site.records[-1]["outcome"] == "failed"
    site.host.run_expect([0], f"{ROOT}/run python manage.py migrate --check")
    style = re.search(r'href="(/static/css/site[^"]+\.css)"', Visitor(address).get("/").text)
    assert style
    assert style[1].removeprefix("/static/") in site.host.file(f"{ROOT}/static/staticfiles.json").content_string
    assert Visitor(address).get(style[1]).status_code == 200
    assert not site.host.file(f"{ROOT}/lock.json").exists


def test_a_worker_that_does_not_start_on_one_host_leaves_all_on_the_older_release(
    site: Site, together: Together
) -> None:
    """Each host's release has a name of its own."""
    command = "{{ ['false'] if inventory_hostname == 'debian-13' else ['sleep', 'infinity'] }}"
    workers = json.dumps({"site_workers": [{"name": "queue", "command": command}]})
    failed = together("playbooks/rollback.yml", "migrations=reverse", workers)
    assert failed.returncode != 0
    assert site.version == "v1"
    assert site.host.run(f"{ROOT}/run python manage.py migrate --check").rc == 0
    names = "select count(*) from django_migrations where app = 'sources' and name = '0002_image_file_size'"
    assert sql(site.host, "postgres", "coralnet", names).stdout == "0\n"
