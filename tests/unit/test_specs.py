"""A role's documented options are the variables that it has: no more, no fewer, with the same defaults."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import NAMES, ROLES

Options = dict[str, dict[str, Any]]


def read(role: str, name: str) -> Any:
    path = ROLES / role / name
    return yaml.safe_load(path.read_text()) if path.exists() else None


def options_of(role: str, entry: str = "main") -> Options:
    return dict(read(role, "meta/argument_specs.yml")["argument_specs"][entry]["options"])


def defaults_of(role: str) -> dict[str, Any]:
    return dict(read(role, "defaults/main.yml") or {})


def nested(options: Options, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk through all options, those within options included."""
    for name, option in options.items():
        yield f"{prefix}{name}", option
        yield from nested(option.get("options", {}), f"{prefix}{name}.")


def files_of(role: str) -> list[Path]:
    return [path for path in (ROLES / role).rglob("*") if path.suffix in (".yml", ".j2")]


def tasks_of(role: str) -> list[Any]:
    return [yaml.safe_load(path.read_text()) for path in files_of(role) if path.parent.name in ("tasks", "handlers")]


def under(key: str, data: Any) -> Iterator[Any]:
    """Find what stands under a key, at any depth."""
    if isinstance(data, dict):
        for name, value in data.items():
            if name == key:
                yield value
            yield from under(key, value)
    elif isinstance(data, list):
        for item in data:
            yield from under(key, item)


def registered(role: str) -> set[str]:
    words = ("register", "index_var", "loop_var")
    return {name for word in words for name in under(word, tasks_of(role))}


def facts(role: str) -> set[str]:
    return {name for given in under("ansible.builtin.set_fact", tasks_of(role)) for name in given}


def private(role: str) -> set[str]:
    """Name the variables that a role gives itself."""
    given = {name for variables in under("vars", tasks_of(role)) for name in variables}
    return given | registered(role) | set(read(role, "vars/main.yml") or {})


@pytest.fixture(params=NAMES)
def role(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_defaults_are_the_documented_ones(role: str) -> None:
    documented = {name: option["default"] for name, option in options_of(role).items() if "default" in option}

    assert documented == defaults_of(role)


def test_a_variable_without_default_is_required_or_says_what_happens_without_it(role: str) -> None:
    for name, option in options_of(role).items():
        if "default" not in option:
            description = " ".join(
                [option["description"]] if isinstance(option["description"], str) else option["description"]
            )
            assert option.get("required") or "left out" in description.lower(), name
        else:
            assert not option.get("required"), name


def test_variables_begin_with_the_roles_name(role: str) -> None:
    for name in [*options_of(role), *defaults_of(role), *facts(role)]:
        assert name.startswith(f"{role}_")
    for name in private(role):
        assert name.startswith(f"__{role}_")


def test_no_fact_rewrites_a_variable_and_all_are_documented(role: str) -> None:
    description = str(read(role, "meta/argument_specs.yml")["argument_specs"]["main"]["description"])
    for name in facts(role):
        assert name not in options_of(role)
        assert f"V({name})" in description


def test_every_option_is_documented_to_its_last_leaf(role: str) -> None:
    for name, option in nested(options_of(role)):
        assert option["type"], name
        assert option["description"], name
        if option["type"] == "list":
            assert option["elements"], name
        if option.get("elements") == "dict":
            assert option["options"], name
        assert not (option.get("required") and "default" in option), name
        if "choices" in option and "default" in option:
            assert option["default"] in option["choices"], name


def test_validate_takes_the_options_of_main(role: str) -> None:
    entries = read(role, "meta/argument_specs.yml")["argument_specs"]
    has_validate = (ROLES / role / "tasks" / "validate.yml").exists()

    assert set(entries) == ({"main", "validate"} if has_validate else {"main"})
    for entry in entries:
        assert options_of(role, entry) == options_of(role)
        assert (ROLES / role / "tasks" / f"{entry}.yml").exists()


def test_main_validates_first(role: str) -> None:
    if (ROLES / role / "tasks" / "validate.yml").exists():
        first, *_rest = read(role, "tasks/main.yml")
        assert first["ansible.builtin.import_tasks"] == "validate.yml"


def test_what_is_used_is_defined_and_what_is_defined_is_used(role: str) -> None:
    files = [path for path in files_of(role) if path.parent.name not in ("meta", "defaults")]
    text = re.sub(r"(?m)(^|\s)#.*", "", "\n".join(path.read_text() for path in files))
    # One variable may stand in another's default
    text += "\n".join(map(str, defaults_of(role).values()))
    used = set(re.findall(rf"(?<![\w/.])(?:__)?{role}_\w+", text))
    handed = {
        name for words in re.findall(r"template_vars=\{([^}]*)\}", text) for name in re.findall(r"'(\w+)':", words)
    }
    known = set(options_of(role)) | private(role) | facts(role) | handed

    assert used - known == set()
    assert set(options_of(role)) | private(role) <= used


# nginx and gunicorn have settings with the name of a role at their beginning
SETTINGS = {"worker_class", "worker_connections", "worker_processes", "worker_rlimit_nofile", "worker_tmp_dir"}


def test_no_role_knows_another_roles_variables(role: str) -> None:
    others = "|".join(other for other in NAMES if other != role)
    for path in files_of(role):
        if path.name != "argument_specs.yml":
            found = re.findall(rf"(?<![\w/.])(?:__)?(?:{others})_\w+", path.read_text())
            assert set(found) - SETTINGS == set(), path


def test_no_setting_is_taken_for_a_variable() -> None:
    assert not {name for role in NAMES for name in [*options_of(role), *facts(role)]} & SETTINGS


def test_no_role_looks_at_groups_or_other_hosts(role: str) -> None:
    for path in files_of(role):
        text = path.read_text()
        assert not re.search(r"\bgroups[\[.]|\bgroup_names\b|\binventory_hostname\b", text), path
        # The guard compares the environments of all hosts, which is what it is for
        assert role == "guard" or "hostvars" not in text, path


def test_facts_are_never_taken_for_variables(role: str) -> None:
    for path in files_of(role):
        assert not re.search(r"\bansible_(os_family|distribution|hostname|default_ipv4|processor)", path.read_text()), (
            path
        )
