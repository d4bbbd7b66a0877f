# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values written down in the file formats that Django sites read their settings from."""

from __future__ import annotations

import configparser
import io
import json
import keyword
import math
import re
from collections.abc import Mapping
from typing import Any

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
INI_NAME = re.compile(r"[^\s=:#;\[\]]([^=:\r\n]*[^\s=:])?")
INI_SECTION = re.compile(r"[^\]\r\n]+")
PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./\\~^!?*()\[\]{}<>|;&-]+")


class FormatError(ValueError):
    """A value that the format cannot hold; the message names its key, never the value."""


def to_json(data: Mapping[str, Any]) -> str:
    for name, value in data.items():
        _json(name, value)
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def to_dotenv(data: Mapping[str, Any]) -> str:
    """Write a `.env` file for python-dotenv.

    A plain value stands as it is. Any other is put between single quotes, where only the backslash
    and the quote itself are special. Some things no quoting can say to python-dotenv: `${`, which it
    expands between quotes as well, a backslash at the end of a value that needs quotes, and a carriage
    return, which it reads as a line break.
    """
    return "".join(f"{_name(name)}={_dotenv_value(name, value)}\n" for name, value in data.items())


def to_ini(data: Mapping[str, Mapping[str, Any]]) -> str:
    """Write an INI file with names in their own case; `%` stands as it is (the reader may interpolate)."""
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # typeshed declares it as a method
    for section, options in data.items():
        if not isinstance(options, Mapping):
            raise FormatError(f"INI needs sections: give {section!r} a dictionary of options")
        if not INI_SECTION.fullmatch(str(section)):
            raise FormatError(f"{section!r} cannot be a section's name in INI")
        names = [_ini_name(name) for name in options]
        twice = {name for name in names if [other.lower() for other in names].count(name.lower()) > 1}
        if twice:
            raise FormatError(f"INI readers take these names for the same: {sorted(twice)}")
        parser[str(section)] = {str(name): _ini_value(name, value) for name, value in options.items()}
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def to_python(data: Mapping[str, Any]) -> str:
    """Write Python assignments; strings, numbers, booleans, None, lists and dictionaries only."""
    for name in data:
        if keyword.iskeyword(str(name)):
            raise FormatError(f"{name!r} cannot be a variable's name: it is a word of Python's own")
    return "".join(f"{_name(name)} = {_literal(name, value)!r}\n" for name, value in data.items())


FORMATS = {"json": to_json, "dotenv": to_dotenv, "ini": to_ini, "python": to_python}


def _name(name: Any) -> str:
    if not NAME.fullmatch(str(name)):
        raise FormatError(f"{str(name)!r} cannot be a variable's name: use letters, digits and underscores")
    return str(name)


def _json(name: Any, value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise FormatError(f"the value of {name} has something in it that JSON cannot hold: write it as text") from None


def _text(name: Any, value: Any) -> str:
    """Turn a value into the text that programs expect in a variable."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (Mapping, list, tuple, set)):
        return _json(name, value)
    return str(value)


def _dotenv_value(name: str, value: Any) -> str:
    raw = _text(name, value)
    if "\r" in raw or "\0" in raw:
        raise FormatError(f"the value of {name} has a carriage return or NUL in it, which .env cannot hold: use JSON")
    if "${" in raw:
        raise FormatError(f"the value of {name} contains '${{', which .env readers expand even in quotes: use JSON")
    if not raw or PLAIN.fullmatch(raw):
        return raw
    if raw.endswith("\\"):
        raise FormatError(f"the value of {name} ends with a backslash, which .env cannot quote: use JSON")
    escaped = raw.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _ini_name(name: Any) -> str:
    if not INI_NAME.fullmatch(str(name)):
        raise FormatError(f"{str(name)!r} cannot be an option's name in INI")
    return str(name)


def _ini_value(name: Any, value: Any) -> str:
    # A continued line would be read back with other blanks, or as a comment.
    raw = _text(name, value)
    if "\n" in raw or "\r" in raw or raw != raw.strip():
        raise FormatError(f"the value of {name} has line breaks or outer blanks, which INI cannot hold: use JSON")
    return raw


def _literal(name: Any, value: Any) -> Any:
    """Strip Ansible's own string and number types, whose repr is not Python's."""
    if isinstance(value, Mapping):
        return {_literal(name, key): _literal(name, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_literal(name, item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    finite = not isinstance(value, float) or math.isfinite(value)
    for kind in (str, int, float):
        if isinstance(value, kind) and finite:
            return kind(value)
    raise FormatError(f"the value of {name} has something in it that is no literal of Python: write it as text")
