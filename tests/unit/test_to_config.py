"""Every format is read back with the reader that sites use, from a file."""

from __future__ import annotations

import configparser
import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dotenv
import pytest
from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret, VaultSecretsContext
from ansible.template import Templar, trust_as_template
from ansible_collections.coralnet.server.plugins.filter.to_config import FilterModule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

to_config = FilterModule().filters()["to_config"]

AWKWARD = {
    "empty": "",
    "plain": "abc",
    "dollar": "pa$$word $HOME $(date) `date`",
    "brace": "{{ not a template }} {x}",
    "hash": "a #b",
    "hash at once": "#a",
    "hash inside": "a#b",
    "single quote": "it's",
    "double quote": 'say "reef"',
    "both quotes": """'"'"''""",
    "quoted": "'abc'",
    "double quoted": '"abc"',
    "one quote": "'",
    "equals": "a=b==",
    "url": "postgres://u:p%40ss@db:5432/coral?sslmode=require&x=1",
    "blank before": "  a",
    "blank after": "a  ",
    "blanks": "   ",
    "tab": "\ta\tb\t",
    "backslash": r"C:\new\table",
    "backslash before quote": r"a\'b",
    "backslashes before quote": r"a\\'b \"c",
    "backslash n": r"a\nb",
    "backslash last": "a\\",
    "backslash last after blank": "a b\\",
    "backslash and quote last": "a b\\'",
    "line break": "-----BEGIN KEY-----\nabc\n-----END KEY-----\n",
    "line break first": "\na",
    "carriage return": "a\r\nb\rc",
    "semicolon": "a ; b",
    "semicolon at once": "; a",
    "percent": "50% %(name)s %%",
    "exclamation": "!a ! b",
    "tilde": "~/x",
    "colon": "a: b",
    "section": "[section]",
    "export": "export A=b",
    "comment after a line break": "a\n# b\n; c\nd = e",
    "unicode": "Ōnohi — 珊瑚 🪸",
    "other blanks": "\N{NO-BREAK SPACE}a\N{LINE SEPARATOR}b\x0bc\x0cd\x85e\x1cf\N{EM SPACE}",
    "byte order mark": "\N{ZERO WIDTH NO-BREAK SPACE}a",
    "nul": "a\x00b",
    "escape": "\x1b[31m",
    "interpolated": "${HOME}",
    "interpolated default": "a ${NO_SUCH:-x} b",
    "interpolated open": "a ${",
}


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def read_dotenv(path: Path) -> dict[str, str | None]:
    return dotenv.dotenv_values(path, interpolate=True)


def read_ini(path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    with path.open(encoding="utf-8") as file:
        parser.read_file(file)
    return {name: dict(parser[name]) for name in parser.sections()}


def read_python(path: Path) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), {"__builtins__": {}}, names)
    return names


READERS: dict[str, Callable[[Path], Any]] = {
    "json": read_json,
    "dotenv": read_dotenv,
    "ini": read_ini,
    "python": read_python,
}
# What only some formats can say; all other AWKWARD values come back from every format
REFUSED = {
    ("dotenv", "backslash last after blank"),
    ("dotenv", "carriage return"),
    ("dotenv", "nul"),
    ("dotenv", "interpolated"),
    ("dotenv", "interpolated default"),
    ("dotenv", "interpolated open"),
    *(
        ("ini", name)
        for name in (
            "blank before",
            "blank after",
            "blanks",
            "tab",
            "line break",
            "line break first",
            "carriage return",
            "comment after a line break",
            "other blanks",
        )
    ),
}


def round_trip(format: str, data: dict[str, Any], path: Path) -> Any:  # noqa: A002
    wrapped = {"section": data} if format == "ini" else data
    # As Ansible's copy writes it: UTF-8, and no byte changed
    path.write_bytes(to_config(wrapped, format).encode())
    back = READERS[format](path)
    return back["section"] if format == "ini" else back


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("format", READERS)
def test_awkward_values(format: str, name: str, tmp_path: Path) -> None:  # noqa: A002
    data = {"BEFORE": "x'y", "VALUE": AWKWARD[name], "AFTER": "it's"}

    if (format, name) in REFUSED:
        with pytest.raises(AnsibleFilterError, match="VALUE"):
            to_config({"section": data} if format == "ini" else data, format)
    else:
        assert round_trip(format, data, tmp_path / "file") == data


@pytest.mark.parametrize("format", READERS)
def test_all_that_a_format_can_say_in_one_file(format: str, tmp_path: Path) -> None:  # noqa: A002
    said = {name: value for name, value in AWKWARD.items() if (format, name) not in REFUSED}
    data = {f"VALUE_{number}": value for number, value in enumerate(said.values())}

    assert round_trip(format, data, tmp_path / "file") == data


MARK = "s3cret"


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.parametrize("format", READERS)
@given(
    values=st.lists(
        st.tuples(st.text("aB0 '\"\\$#=\n\r\t{}%;:[]!\x00é🪸\x85", max_size=12), st.text(max_size=4)), max_size=3
    )
)
def test_any_text_comes_back_or_is_refused_unseen(
    format: str,  # noqa: A002
    values: list[tuple[str, str]],
    tmp_path: Path,
) -> None:
    data = {f"NAME_{number}": f"{before}{MARK}{after}" for number, (before, after) in enumerate(values)}
    data |= {f"BARE_{number}": before for number, (before, _after) in enumerate(values)}
    try:
        assert round_trip(format, data, tmp_path / "file") == data
    except AnsibleFilterError as exc:
        assert MARK not in str(exc)  # noqa: PT017
        assert "NAME_" in str(exc) or "BARE_" in str(exc)  # noqa: PT017


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.parametrize("format", ["json", "python"])
@given(value=st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)))
def test_any_structure_comes_back(format: str, value: Any, tmp_path: Path) -> None:  # noqa: A002
    assert round_trip(format, {"VALUE": value}, tmp_path / "file") == {"VALUE": value}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (None, ""),
        (0, "0"),
        (5432, "5432"),
        (1.5, "1.5"),
        (["a", 1], '["a", 1]'),
        ({"a": None}, '{"a": null}'),
        (datetime.date(2026, 11, 24), "2026-11-24"),
    ],
)
@pytest.mark.parametrize("format", ["dotenv", "ini"])
def test_formats_of_text_take_other_types_as_programs_expect_them(
    format: str,  # noqa: A002
    value: object,
    text: str,
    tmp_path: Path,
) -> None:
    assert round_trip(format, {"VALUE": value}, tmp_path / "file") == {"VALUE": text}


@pytest.mark.parametrize(
    ("format", "data", "message"),
    [
        ("yaml", {}, "to_config knows no format 'yaml': choose one of dotenv, ini, json, python"),
        ("json", ["a"], "to_config takes a dictionary"),
        ("dotenv", "A=b", "to_config takes a dictionary"),
        ("dotenv", {"A B": MARK}, "'A B' cannot be a variable's name"),
        ("dotenv", {"A\nB": MARK}, "cannot be a variable's name"),
        ("dotenv", {"": MARK}, "'' cannot be a variable's name"),
        ("dotenv", {1: MARK}, "'1' cannot be a variable's name"),
        ("dotenv", {"É": MARK}, "'É' cannot be a variable's name"),
        ("python", {"a-b": MARK}, "'a-b' cannot be a variable's name"),
        ("python", {"class": MARK}, "'class' cannot be a variable's name"),
        ("python", {"None": MARK}, "'None' cannot be a variable's name"),
        ("python", {"VALUE": float("nan")}, "VALUE"),
        ("python", {"VALUE": {"x": [float("-inf")]}}, "VALUE"),
        ("python", {"VALUE": datetime.date(2026, 11, 24)}, "VALUE"),
        ("json", {"VALUE": {"x": float("inf")}}, "VALUE"),
        ("json", {"VALUE": {"x": {MARK, "other"}}}, "VALUE"),
        ("json", {"VALUE": datetime.date(2026, 11, 24)}, "VALUE"),
        ("dotenv", {"VALUE": [{MARK}]}, "VALUE"),
        ("ini", {"section": {"VALUE": {MARK}}}, "VALUE"),
        ("ini", {"A": MARK}, "INI needs sections: give 'A' a dictionary of options"),
        ("ini", {"section": {"a=b": MARK}}, "a=b"),
        ("ini", {"section": {"a:b": MARK}}, "a:b"),
        ("ini", {"section": {"a\nb": MARK}}, "a\\nb"),
        ("ini", {"section": {"#a": MARK}}, "#a"),
        ("ini", {"section": {";a": MARK}}, ";a"),
        ("ini", {"section": {"[a": MARK}}, "[a"),
        ("ini", {"section": {" a": MARK}}, " a"),
        ("ini", {"section": {"": MARK}}, "''"),
        ("ini", {"section": {"A": MARK, "a": MARK}}, "'a'"),
        ("ini", {"a\nb": {"A": MARK}}, "a\\nb"),
        ("ini", {"a]b": {"A": MARK}}, "a]b"),
        ("ini", {"": {"A": MARK}}, "''"),
    ],
)
def test_refused(format: str, data: Any, message: str) -> None:  # noqa: A002
    with pytest.raises(AnsibleFilterError) as caught:
        to_config(data, format)

    assert message in str(caught.value)
    assert MARK not in str(caught.value)
    assert MARK not in str(caught.value.__cause__)


def test_ini_sections_and_defaults(tmp_path: Path) -> None:
    data = {"DEFAULT": {"host": "db"}, "one two": {"port": 5432, "a b": "c"}, "empty": {}}
    path = tmp_path / "file"
    path.write_text(to_config(data, "ini"))

    assert read_ini(path) == {"one two": {"host": "db", "port": "5432", "a b": "c"}, "empty": {"host": "db"}}


def test_dotenv_is_the_shortest_that_is_right() -> None:
    assert to_config({"DEBUG": False, "NAME": "coral", "SECRET": "a b's"}, "dotenv") == (
        "DEBUG=false\nNAME=coral\nSECRET='a b\\'s'\n"
    )


def test_json_is_for_people_too() -> None:
    assert to_config({"NAME": "Ōnohi"}, "json") == '{\n  "NAME": "Ōnohi"\n}\n'


@pytest.mark.parametrize("format", READERS)
def test_nothing_is_an_empty_file_that_can_be_read(format: str, tmp_path: Path) -> None:  # noqa: A002
    path = tmp_path / "file"
    path.write_text(to_config({}, format))

    assert READERS[format](path) == {}


@pytest.mark.parametrize("format", READERS)
def test_values_as_ansible_hands_them_over(
    format: str,  # noqa: A002
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a template, with values that are templates or encrypted themselves, and types of Ansible's own."""
    word, password = "pa$$ #it's", VaultSecret(b"the vault's own")
    encrypted = VaultLib().encrypt(word, secret=password).decode()
    path = tmp_path / "vars.yml"
    path.write_text(
        f"""
word: "{word}"
data:
  A: "{{{{ word }}}}"
  B: ["{{{{ word }}}}", 1]
  C: {{D: "{{{{ 1 + 1 }}}}"}}
  E: true
  F: !vault |
    {encrypted.replace(chr(10), f"{chr(10)}    ")}
wrapped:
  section: "{{{{ data }}}}"
text: "{{{{ {"wrapped" if format == "ini" else "data"} | coralnet.server.to_config('{format}') }}}}"
"""
    )
    loader = DataLoader()
    monkeypatch.setattr(VaultSecretsContext, "_current", VaultSecretsContext(secrets=[("default", password)]))
    variables = loader.load_from_file(str(path), trusted_as_template=True)
    text = Templar(loader=loader, variables=variables).template(trust_as_template("{{ text }}"))
    (tmp_path / "file").write_text(text)
    read = READERS[format](tmp_path / "file")

    if format in ("json", "python"):
        assert read == {"A": word, "B": [word, 1], "C": {"D": 2}, "E": True, "F": word}
    else:
        expected = {"A": word, "B": json.dumps([word, 1]), "C": '{"D": 2}', "E": "true", "F": word}
        assert read == ({"section": expected} if format == "ini" else expected)
