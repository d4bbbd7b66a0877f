"""Environments that cannot be mixed up, and a guard that stops what was not meant."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager

ENVIRONMENTS = ["staging", "production"]
INVENTORIES = [*ENVIRONMENTS, "lab"]
DEVELOPMENT = "development"
PARTS = {"web", "worker", "database", "cache", "mail", "balancer"}
PLACEHOLDER = "<replace"

Ansible = Callable[..., subprocess.CompletedProcess[str]]


class Inventory:
    """Inventories as Ansible reads them, with the variables of their groups."""

    def __init__(self, root: Path, names: list[str]) -> None:
        loader = DataLoader()
        self._manager = InventoryManager(loader=loader, sources=[str(root / "inventories" / name) for name in names])
        self._variables = VariableManager(loader=loader, inventory=self._manager)
        self.hosts = {host.name for host in self._manager.get_hosts("all")}
        self.groups = {
            name: set(hosts)
            for name, hosts in self._manager.get_groups_dict().items()
            if name not in ("all", "ungrouped")
        }

    def variables(self, host: str, names: set[str]) -> dict[str, Any]:
        """Give some variables of a host, as they are written."""
        found = self._variables.get_vars(host=self._manager.get_host(host))
        return {name: found[name] for name in names}


@pytest.fixture(params=INVENTORIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def inventory(root: Path, name: str) -> Inventory:
    return Inventory(root, [name])


def values(root: Path, name: str, file: str) -> dict[str, Any]:
    return dict(yaml.safe_load((root / "inventories" / name / "group_vars" / name / file).read_text()))


def test_every_part_lies_within_the_environment(inventory: Inventory, name: str) -> None:
    assert inventory.groups[name] == inventory.hosts
    assert inventory.hosts
    assert {"web", "database"} <= set(inventory.groups) <= {name} | PARTS


def test_a_developers_machine_is_no_server(root: Path) -> None:
    """Whatever playbook is run there by mistake, only runserver.yml and smoke.yml find a host."""
    groups = Inventory(root, [DEVELOPMENT]).groups

    assert groups == {DEVELOPMENT: {"localhost"}, "database": set()}
    assert "vault_" not in (root / "inventories" / DEVELOPMENT / "group_vars" / DEVELOPMENT / "main.yml").read_text()


def test_environments_share_no_host(root: Path) -> None:
    hosts = [Inventory(root, [name]).hosts for name in [*INVENTORIES, DEVELOPMENT]]

    assert len(set.union(*hosts)) == sum(map(len, hosts))


def test_ansible_knows_both_environments_without_being_told(root: Path) -> None:
    config = configparser.ConfigParser()
    config.read(root / "ansible.cfg")

    assert config["defaults"]["inventory"].split(",") == [f"inventories/{name}" for name in ENVIRONMENTS]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environments_loaded_together_do_not_leak_into_each_other(root: Path, name: str, inventory: Inventory) -> None:
    together = Inventory(root, ENVIRONMENTS)
    own = values(root, name, "main.yml") | values(root, name, "vault.yml")

    for host in inventory.hosts:
        assert together.variables(host, set(own)) == inventory.variables(host, set(own)) == own


def test_hosts_stand_directly_under_their_environment(root: Path, name: str) -> None:
    """A child group that two environments share would have `-l` of one reach the other."""
    groups = yaml.safe_load((root / "inventories" / name / "hosts.yml").read_text())["all"]["children"]

    assert all("children" not in group for group in groups.values())


def test_values_are_the_environments_own(root: Path, name: str) -> None:
    files = {
        str(path.relative_to(root / "inventories" / name)) for path in (root / "inventories" / name).rglob("*.yml")
    }

    assert files == {"hosts.yml", f"group_vars/{name}/main.yml", f"group_vars/{name}/vault.yml"}


def test_every_secret_that_is_used_is_in_the_vault_and_the_other_way_round(root: Path, name: str) -> None:
    used = set(re.findall(r"\bvault_\w+", (root / "inventories" / name / "group_vars" / name / "main.yml").read_text()))

    assert used == set(values(root, name, "vault.yml"))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_secret_is_an_example_that_says_what_to_put_there(root: Path, name: str) -> None:
    text = (root / "inventories" / name / "group_vars" / name / "vault.yml").read_text()
    for variable, value in values(root, name, "vault.yml").items():
        assert re.fullmatch(rf"{PLACEHOLDER}: .+>", value), variable
        assert re.search(rf"^# .+\n{variable}:", text, re.MULTILINE), f"{variable} has no comment"


def test_no_secret_stands_outside_the_vault(root: Path, name: str) -> None:
    for variable in values(root, name, "main.yml"):
        assert not variable.startswith("vault_")


def test_both_environments_set_the_same_variables(root: Path) -> None:
    """What staging does not have is never tried before production."""
    staging, production = (set(values(root, name, "main.yml")) for name in ENVIRONMENTS)

    assert staging == production


def test_shared_values_are_not_an_environments(root: Path) -> None:
    shared = set(yaml.safe_load((root / "playbooks" / "group_vars" / "all.yml").read_text()))

    assert shared
    assert not shared & {"deploy_environment", "site_name", "site_hosts", "site_repository"}
    assert not any(name.startswith("vault_") for name in shared)


# --- the guard


def test_every_playbook_begins_with_the_guard(root: Path) -> None:
    for path in (root / "playbooks").glob("*.yml"):
        first, *_rest = yaml.safe_load(path.read_text())
        if path.name == "guard.yml":
            assert (first["hosts"], first["roles"]) == ("all", ["coralnet.server.guard"])
        elif path.name != "validate.yml":  # which is a part of others
            assert first["ansible.builtin.import_playbook"] == "guard.yml", path


SITE, UPDATE = "playbooks/site.yml", "playbooks/update.yml"
SECRETS = {name: f"<not a placeholder: {name}>" for name in ("vault_secret_key", "vault_superuser_password")}
# What one environment alone has
OWN_SECRETS = {"staging": {"vault_site_password"}, "production": set()}
RUNS: dict[str, list[str]] = {
    "site": [SITE],
    "update": [UPDATE],
    "production": [SITE, "--limit", "production"],
    "staging": [UPDATE, "--inventory", "inventories/staging"],
    "unnamed": [UPDATE, "--inventory", "inventories/production"],
    "stray": [UPDATE, "--inventory", "inventories/staging", "--inventory", "stray.example,"],
    "secrets": ["playbooks/guard.yml", "--limit", "production", "--extra-vars", json.dumps(SECRETS)],
    "list": [SITE, UPDATE, "--limit", "production", "--list-hosts"],
}


@pytest.fixture(scope="module")
def runs(ansible: Ansible) -> dict[str, subprocess.CompletedProcess[str]]:
    """Do all runs, two at a time, since each takes seconds."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(RUNS, pool.map(lambda words: ansible("playbook", *words), RUNS.values()), strict=True))


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("site", "This run would touch production and staging together: name one of them with -l"),
        ("update", "This run would touch production and staging together: name one of them with -l"),
        (
            "production",
            "Set in the vault of production (inventories/production/group_vars/production/vault.yml): "
            "vault_secret_key, vault_superuser_password",
        ),
        (
            "staging",
            "Set in the vault of staging (inventories/staging/group_vars/staging/vault.yml): "
            "vault_secret_key, vault_superuser_password, vault_site_password",
        ),
        ("unnamed", "production is touched only when it is named: add -l production"),
        ("stray", "guard_environment"),
    ],
)
def test_the_guard_ends_the_run(runs: dict[str, subprocess.CompletedProcess[str]], run: str, words: str) -> None:
    done = runs[run]

    assert done.returncode == 2, f"{done.stdout}\n{done.stderr}"
    # No connection was tried, and no play begun but the guard's
    assert re.findall(r"^PLAY \[(.*)\]", done.stdout, re.MULTILINE) == ["Guard"]
    assert set(re.findall(r"(?:changed|unreachable)=(\d+)", done.stdout)) == {"0"}
    assert words in re.sub(r"\s+", " ", done.stdout)


def test_real_secrets_pass_the_guard(runs: dict[str, subprocess.CompletedProcess[str]]) -> None:
    assert runs["secrets"].returncode == 0, runs["secrets"].stdout


def test_the_guard_shows_no_secret(runs: dict[str, subprocess.CompletedProcess[str]]) -> None:
    done = runs["secrets"]

    assert not any(value in done.stdout + done.stderr for value in SECRETS.values())


def test_hosts_can_be_listed(root: Path, runs: dict[str, subprocess.CompletedProcess[str]]) -> None:
    done = runs["list"]

    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"^ {6}(\S+)$", done.stdout, re.MULTILINE)) == Inventory(root, ["production"]).hosts
    assert re.findall(r"play #1 \((\w+)\): (\w+)", done.stdout) == [("all", "Guard")] * 2


def test_the_secrets_here_are_those_of_the_environments(root: Path) -> None:
    for name in ENVIRONMENTS:
        assert set(values(root, name, "vault.yml")) == set(SECRETS) | OWN_SECRETS[name]


# --- the examples of docs/


EXAMPLES = ["reef", "tide", "kelp"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_role_takes_an_example(root: Path, ansible: Ansible, name: str) -> None:
    """All that can be said without a host: each role's specification and rules, with what the inventory hands it."""
    folder = root / "docs" / "examples" / name
    done = ansible("playbook", "--inventory", folder, "playbooks/validate.yml")

    assert done.returncode == 0, done.stdout[-3000:]
    parts = yaml.safe_load((folder / "hosts.yml").read_text())["all"]["children"]
    validated = set(re.findall(r"^TASK \[coralnet\.server\.(\w+) :", done.stdout, re.MULTILINE))
    roles = {"web": {"nginx", "letsencrypt", "django_app", "gunicorn"}, "database": {"postgresql"}}
    roles |= {"cache": {"redis"}, "worker": {"worker"}, "mail": {"postfix"}}
    validated -= {"services"}  # as an example wants them
    assert validated == {role for part in parts for role in roles.get(part, set())}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_no_secret_but_in_its_vault(root: Path, name: str) -> None:
    folder = root / "docs" / "examples" / name / "group_vars" / name
    vault = yaml.safe_load((folder / "vault.yml").read_text())

    assert set(re.findall(r"\bvault_\w+", (folder / "main.yml").read_text())) == set(vault)
    assert all(PLACEHOLDER in value for value in vault.values())


def test_the_page_names_every_example(root: Path) -> None:
    text = (root / "docs" / "bring-your-own.md").read_text()

    assert set(re.findall(r"\(examples/(\w+)\)", text)) == set(EXAMPLES)
    assert {path.name for path in (root / "docs" / "examples").iterdir()} == set(EXAMPLES)


def test_the_page_names_variables_that_exist(root: Path) -> None:
    text = (root / "docs" / "bring-your-own.md").read_text()
    known = (root / "docs" / "variables.md").read_text() + (root / "playbooks" / "group_vars" / "all.yml").read_text()

    for variable in re.findall(r"`(site_\w+|django_app_\w+|gunicorn_\w+|nginx_\w+|smoke_\w+|services_\w+)", text):
        assert re.search(rf"\b{variable}", known), variable
