"""Point pytest-testinfra at the lab's containers, and show their journal when a test fails."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar
from ansible.vars.manager import VariableManager
from shared.visitor import ROOT, Visitor, run_playbook
from xdist.scheduler import LoadScopeScheduling

INVENTORY = Path(__file__).parent.parent / "inventories" / "lab"


class Lab:
    """The lab's inventory as Ansible sees it, templates resolved."""

    def __init__(self) -> None:
        init_plugin_loader()
        self._loader = DataLoader()
        self._inventory = InventoryManager(loader=self._loader, sources=[str(INVENTORY)])
        self._variables = VariableManager(loader=self._loader, inventory=self._inventory)
        hosts = self._inventory.get_hosts(os.environ.get("LAB_HOSTS") or "lab")
        self.names = {str(self.value(host.name, "ansible_host")): host.name for host in hosts}

    def value(self, name: str, variable: str) -> Any:
        """Return one variable of one inventory host."""
        host = self._inventory.get_host(name)
        variables = self._variables.get_vars(host=host)
        return Templar(loader=self._loader, variables=variables).template(variables[variable])


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Test every container of the scenario, unless told otherwise with --hosts."""
    config.stash[LAB] = Lab()
    if config.option.hosts is None:
        config.option.hosts = ",".join(f"docker://{name}" for name in config.stash[LAB].names)


LAB = pytest.StashKey[Lab]()


class ByHost(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist ships no types
    """Test the hosts side by side, and each by itself in the order of its tests."""

    def _split_scope(self, nodeid: str) -> str:
        host = re.search(r"docker://[\w-]+debian-\d+", nodeid)
        return host[0] if host else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByHost:
    return ByHost(config, log)


@pytest.fixture
def variable(host: Any, pytestconfig: pytest.Config) -> Callable[[str], Any]:
    """Look a variable of the host's inventory up: `variable("gunicorn_workers")`."""
    lab = pytestconfig.stash[LAB]
    return lambda name: lab.value(lab.names[host.backend.name], name)


@pytest.fixture
def address(host: Any) -> str:
    """Find the container's own IPv4 address, at which this machine reaches it."""
    return str(host.check_output("hostname -I").split()[0])


@pytest.fixture
def visitor(address: str) -> Visitor:
    """Somebody who opens the site through nginx."""
    return Visitor(address)


@pytest.fixture
def inventory_name(host: Any, pytestconfig: pytest.Config) -> str:
    """Name the host as the inventory does."""
    return str(pytestconfig.stash[LAB].names[host.backend.name])


@pytest.fixture(autouse=True)
def its_host(request: pytest.FixtureRequest) -> None:
    """Skip what is tested on the other host: most that fails here is not the distribution's, and updates take time."""
    mark = request.node.get_closest_marker("on")
    if mark and mark.args[0] != request.getfixturevalue("inventory_name") and not os.environ.get("LAB_HOSTS"):
        pytest.skip(f"it is on {mark.args[0]}")


@pytest.fixture
def playbook(inventory_name: str, request: pytest.FixtureRequest) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the scenario's own playbook again, or another: `playbook("-e", "version=v2")`."""
    converge = request.path.parents[1] / "converge.yml"

    def run(*arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
        return run_playbook(inventory_name, ROOT / path if path else converge, *arguments)

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Append the host's journal to a failure: it mostly says why."""
    report = yield
    host = getattr(item, "funcargs", {}).get("host")
    if report.failed and host is not None:
        journal = host.run("journalctl --no-pager --lines=80 --output=short-iso")
        report.sections.append((f"journal of {host.backend.name}", journal.stdout or journal.stderr))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures that the tests have measured."""
    for report in terminalreporter.getreports("passed"):
        if report.when == "call" and report.capstdout:
            terminalreporter.write(report.capstdout)
