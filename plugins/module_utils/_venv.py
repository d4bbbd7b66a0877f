# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The virtual environments of a site: each serves all releases whose requirements are the same."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

from ansible_collections.coralnet.server.plugins.module_utils._release import NAME, digest

RECORD = "venv.json"
# What is known to bring in packages of an index and nothing else; all the rest may be the project's own code
PACKAGE = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(\[[\w\s,.-]*\]\s*)?([<>=!~;(].*|@\s*(?!\S*file:)\w[\w+.-]*://.*)?")
NESTED = re.compile(r"(?:-[rc]\s*|--(?:requirement|constraint)(?:\s+|=))([^\s-]\S*)")
HASHED = re.compile(r"(?:^|\s)--(?:hash[=\s]|require-hashes)")
INDEX = re.compile(r"(?:-i|--index-url|--extra-index-url)[\s=]+https?://\S+")
OPTIONS = {
    "--config-settings", "--hash", "--no-binary", "--no-index", "--only-binary", "--pre", "--prefer-binary",
    "--require-hashes", "--trusted-host",
}  # fmt: skip
# By these pip finds files that nothing else names
UNKNOWN_FILES = {
    "PIP_BUILD_CONSTRAINT", "PIP_CONFIG_FILE", "PIP_CONSTRAINT", "PIP_EDITABLE", "PIP_FIND_LINKS", "PIP_REQUIREMENT",
    "PIP_REQUIREMENTS",
}  # fmt: skip


class OwnCodeError(Exception):
    """The requirements may name the project itself, or files of it, so what they bring in is not for others."""


def fingerprint(
    source: str, files: list[str], packages: list[str], environment: dict[str, Any], interpreter: str
) -> str:
    """Tell all that an installation depends on in one digest; empty where it must not be shared."""
    try:
        if UNKNOWN_FILES & set(environment):
            raise OwnCodeError
        for package in packages:
            _judge(package, source)
        texts = list(_read(source, files))
        for line in (line for text in texts for line in text.splitlines()):
            if not NESTED.fullmatch(_bare(line)):
                _judge(line, source)
    except (OwnCodeError, OSError):  # a file that is missing is pip's to complain about
        return ""
    return digest([interpreter, environment, texts, packages])


def common_ground(
    source: str, files: list[str], packages: list[str], environment: dict[str, Any], interpreter: str
) -> str:
    """Tell what a copy must have in common with its model, whatever the packages; empty where there must be none.

    An installer leaves alone what is there in the wanted version: it would neither compare a hash nor see that the same
    version is now to come from an address.
    """
    lines = [*packages, *(line for text in _read(source, files) for line in text.splitlines())]
    if any(HASHED.search(_bare(line)) or "@" in _bare(line) for line in lines):
        return ""
    return digest([interpreter, environment])


def hashed(source: str, files: list[str]) -> bool:
    """Say whether a file has a hash. pip takes nothing without one then, and so must whatever stands in for it."""
    try:
        return any(HASHED.search(_bare(line)) for text in _read(source, files) for line in text.splitlines())
    except OSError:
        return False


def _read(source: str, files: list[str], seen: set[str] | None = None) -> Iterator[str]:
    """Read requirements files, and after each those that it includes."""
    seen = set() if seen is None else seen
    for file in files:
        path = os.path.realpath(os.path.join(source, file))
        if path in seen:
            continue
        seen.add(path)
        with open(path, encoding="utf-8", errors="surrogateescape") as text:
            content = text.read()
        yield content
        nested = [found[1] for line in content.splitlines() if (found := NESTED.fullmatch(_bare(line)))]
        yield from _read(os.path.dirname(os.path.join(source, file)), nested, seen)


def _bare(line: str) -> str:
    """Take the comment off. A continued line is judged piece by piece, which at worst shares too little."""
    return re.sub(r"(^|\s)#.*", "", line).removesuffix("\\").strip()


def _judge(line: str, source: str) -> None:
    bare = INDEX.sub("", _bare(line)).strip()
    if not bare:
        return
    package = PACKAGE.fullmatch(bare)
    options = {word.partition("=")[0] for word in bare.split() if word.startswith("-")}
    # pip takes a file before a package of the same name
    shadowed = package and os.path.isfile(os.path.join(source, package[1]))
    if shadowed or options - OPTIONS or not (package or bare.startswith("-")):
        raise OwnCodeError(line)


def reusable(root: str, key: str, value: str) -> str:
    """Name the newest finished virtual environment with that in its record, which is written last."""
    directory = os.path.join(root, "venvs")
    for name in sorted(os.listdir(directory) if value else [], reverse=True):
        try:
            with open(os.path.join(directory, name, RECORD), encoding="utf-8") as file:
                if json.load(file)[key] == value:
                    return name
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return ""


def prune_venvs(root: str, newest: str) -> list[str]:
    """Remove those that no release needs any more, except what may just be built for one after the newest."""
    releases, venvs = os.path.join(root, "releases"), os.path.join(root, "venvs")
    links = [os.path.join(releases, name, "venv") for name in os.listdir(releases)]
    used = {os.path.basename(os.readlink(link)) for link in links if os.path.islink(link)}
    named = sorted(filter(NAME.fullmatch, os.listdir(venvs) if os.path.isdir(venvs) else []))
    gone = [name for name in named if name not in used and name < newest]
    for name in gone:
        shutil.rmtree(os.path.join(venvs, name))
    return gone
