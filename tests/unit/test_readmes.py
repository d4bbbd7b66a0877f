from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from rendering import NAMES, ROLES

TOOL = Path(__file__).parents[1] / "support" / "role_readmes.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(TOOL.stem, TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_as_the_specifications_say() -> None:
    done = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_a_stale_table_is_found_and_written(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    role = tmp_path / "roles" / "reef"
    (role / "meta").mkdir(parents=True)
    options = {"reef_size": {"type": "int", "default": 3, "description": "How large."}}
    spec = {"argument_specs": {"main": {"short_description": "A V(reef)", "options": options}}}
    (role / "meta" / "argument_specs.yml").write_text(yaml.safe_dump(spec))
    readme = role / "README.md"
    readme.write_text(f"# reef\n\nWords.\n\n{tool.BEGIN}\nold\n{tool.END}\nmore words\n")
    monkeypatch.setattr(tool, "ROLES", tmp_path / "roles")

    monkeypatch.setattr(sys, "argv", ["role_readmes.py", "--check"])
    with pytest.raises(
        SystemExit, match=r"not as meta/argument_specs\.yml says: roles/reef/README\.md, docs/variables\.md"
    ):
        tool.main()
    assert "old" in readme.read_text()

    monkeypatch.setattr(sys, "argv", ["role_readmes.py"])
    tool.main()
    assert capsys.readouterr().out == "written: roles/reef/README.md, docs/variables.md\n"
    assert readme.read_text() == (
        f"# reef\n\nWords.\n\n{tool.BEGIN}\n\n"
        "| variable | type | default | meaning |\n|---|---|---|---|\n"
        "| `reef_size` | int | `3` | How large. |\n"
        f"\n{tool.END}\nmore words\n"
    )
    assert (tmp_path / "docs" / "variables.md").read_text() == (
        f"{tool.PAGE_HEAD}[reef](#reef).\n\n## reef\n\nA `reef`: [README](../roles/reef/README.md)\n\n"
        "| variable | type | default | meaning |\n|---|---|---|---|\n"
        "| `reef_size` | int | `3` | How large. |\n"
    )

    monkeypatch.setattr(sys, "argv", ["role_readmes.py", "--check"])
    tool.main()


def test_a_readme_without_markers_is_an_error(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# reef\n")

    with pytest.raises(SystemExit, match=r"README\.md needs the lines"):
        tool.wanted(tmp_path)


@pytest.mark.parametrize(
    ("markup", "markdown"),
    [
        ("plain (in brackets)", "plain (in brackets)"),
        ("V(staging)", "`staging`"),
        ("V(a\\)b\\\\c)", "`a)b\\c`"),
        ("O(nginx_ipv6=false)", "`nginx_ipv6: false`"),
        ("O(nginx_sites[].name)", "`nginx_sites[].name`"),
        ("E(PATH) and C(nginx.conf)", "`PATH` and `nginx.conf`"),
        ("M(coralnet.server.release_switch)", "`coralnet.server.release_switch`"),
        ("U(https://coralnet.test/x_y)", "<https://coralnet.test/x_y>"),
        ("L(the docs, https://coralnet.test/)", "[the docs](https://coralnet.test/)"),
        ("B(bold) and I(not)", "**bold** and *not*"),
        ("V(a`b)", "``a`b``"),
        ("PEM(x)", "PEM(x)"),
    ],
)
def test_markup(tool: ModuleType, markup: str, markdown: str) -> None:
    assert tool.to_markdown(markup) == markdown


@pytest.mark.parametrize(
    ("option", "default"),
    [
        ({"required": True}, "required"),
        ({}, ""),
        ({"default": ""}, '`""`'),
        ({"default": "a b"}, "`a b`"),
        ({"default": True}, "`true`"),
        ({"default": 40}, "`40`"),
        ({"default": []}, "`[]`"),
        ({"default": [{"path": "/", "status": [404]}]}, '`[{"path": "/", "status": [404]}]`'),
    ],
)
def test_defaults(tool: ModuleType, option: dict[str, object], default: str) -> None:
    assert tool.default(option) == default


def test_rows_of_nested_options(tool: ModuleType) -> None:
    leaf = {"type": "str", "choices": ["x", "y|z"], "description": ["First V(x).", "Then\n  more."]}
    options = {
        "items": {"type": "list", "elements": "dict", "description": "A list.", "options": {"leaf": leaf}},
        "one": {"type": "dict", "description": "One.", "options": {"leaf": leaf}},
    }

    assert list(tool.rows(options)) == [
        "| `items` | list of dict |  | A list. |",
        "| `items[].leaf` | str |  | First `x`. Then more. One of `x`, `y\\|z`. |",
        "| `one` | dict |  | One. |",
        "| `one.leaf` | str |  | First `x`. Then more. One of `x`, `y\\|z`. |",
    ]


@pytest.mark.parametrize("role", NAMES)
def test_the_example_uses_variables_that_exist_and_all_that_are_required(role: str) -> None:
    text = (ROLES / role / "README.md").read_text()
    [play] = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    [used] = play["roles"]
    spec = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())
    options = spec["argument_specs"]["main"]["options"]

    assert used.pop("role") == f"coralnet.server.{role}"
    assert set(used) <= set(options)
    assert {name for name, option in options.items() if option.get("required")} <= set(used)
