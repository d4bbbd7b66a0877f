# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The releases of a site on its host: directories beside each other, one of them current."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from dataclasses import dataclass, field, replace
from typing import Any

RECORD = "release.json"
REFUSED = "refused"
NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{10}")


@dataclass(frozen=True)
class Release:
    """A finished release: the record is written last, so a build that died has none."""

    name: str
    commit: str
    inputs: str
    version: str = field(default="", compare=False)
    ref: str = field(default="", compare=False)


def digest(inputs: Any) -> str:
    """Fingerprint what a build depends on besides the commit (interpreter, requirements, ...)."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


def new_name(commit: str, now: float) -> str:
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{commit[:10]}"


def finished(root: str) -> list[Release]:
    """List the finished releases, oldest first (their names begin with their time)."""
    found = []
    directory = os.path.join(root, "releases")
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        try:
            with open(os.path.join(directory, name, RECORD), encoding="utf-8") as file:
                record = json.load(file)
            release = Release(name, record["commit"], record["inputs"])
            found.append(replace(release, **{key: str(record.get(key, "")) for key in ("version", "ref")}))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def current(root: str) -> str:
    """Name the release that `current` points to; empty where there is none."""
    try:
        return os.path.basename(os.readlink(os.path.join(root, "current")))
    except OSError:
        return ""


def point(root: str, name: str) -> None:
    """Point `current` to a release, or remove it for an empty name."""
    link = os.path.join(root, "current")
    if name:
        link_to(link, os.path.join("releases", name))
    else:
        os.unlink(link)


def link_to(link: str, target: str) -> None:
    """Make or change a symbolic link in one atomic rename."""
    fresh = f"{link}.new"
    if os.path.lexists(fresh):
        os.unlink(fresh)
    os.symlink(target, fresh)
    os.replace(fresh, link)


def mark_refused(root: str, name: str, refused: bool) -> None:
    """Remember that a release did not work, or forget it. It may be tried again, and is the first to be pruned."""
    mark = os.path.join(root, "releases", name, REFUSED)
    if refused:
        with open(mark, "w", encoding="utf-8"):
            pass
    elif os.path.exists(mark):
        os.unlink(mark)


def prune(root: str, keep: int, needed: set[str]) -> list[str]:
    """Remove the oldest good releases beyond the number to keep, and older ones that were refused or never finished."""
    directory = os.path.join(root, "releases")
    named = sorted(filter(NAME.fullmatch, os.listdir(directory)))  # what else is there is not ours
    marked = {name for name in named if os.path.exists(os.path.join(directory, name, REFUSED))}
    good = [release.name for release in finished(root) if release.name not in marked]
    spare = [name for name in good if name not in needed]
    gone = spare[: max(len(good) - keep, 0)]
    newest = max(needed, default="")
    gone += [name for name in named if name not in good and name not in needed and name < newest]
    for name in gone:
        shutil.rmtree(os.path.join(directory, name))
    return gone
