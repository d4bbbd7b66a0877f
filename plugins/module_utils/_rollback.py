# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way back to an older release: which one, what it does to the database, and what is lost."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import Any

from ansible_collections.coralnet.server.plugins.module_utils._dump import Dump, known
from ansible_collections.coralnet.server.plugins.module_utils._release import REFUSED, current, finished

# Run by each release's own code. The words are Django's.
ASK = """
import json
from django.db import connection
from django.db.migrations.loader import MigrationLoader
loader = MigrationLoader(connection)
print("\\n" + json.dumps({
    "leaves": loader.graph.leaf_nodes(),
    "migrations": [
        {
            "key": key,
            "applied": key in loader.applied_migrations,
            "replaces": migration.replaces,
            "stubborn": [
                f"Operation {operation} in {migration} is not reversible"
                for operation in migration.operations if not operation.reversible
            ],
        }
        for key, migration in sorted(loader.disk_migrations.items())
    ],
}))
"""
SHORT = 7


class RollbackError(Exception):
    """There is no such way back; the message says what there is."""


@dataclass(frozen=True)
class Kept:
    """A release on disk, and what is wrong with it."""

    name: str
    commit: str
    version: str
    trouble: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(filter(None, [self.version or self.commit[:10], self.trouble]))})"

    def answers_to(self, wanted: str) -> bool:
        commit = len(wanted) >= SHORT and self.commit.startswith(wanted)
        return commit or wanted in (self.name, self.version)


def kept(root: str) -> list[Kept]:
    """List the finished releases, oldest first. Only a release that was proven has a link to its socket."""

    def trouble(name: str) -> str:
        directory = os.path.join(root, "releases", name)
        if os.path.exists(os.path.join(directory, REFUSED)):
            return "refused"
        return "" if os.path.lexists(os.path.join(directory, "app.sock")) else "never in use"

    return [Kept(each.name, each.commit, each.version, trouble(each.name)) for each in finished(root)]


def brought_after(records: str, name: str) -> list[str]:
    """Name the releases that ran when one was deployed, the last time first, as the records of the site say."""
    found = []
    with contextlib.suppress(FileNotFoundError), open(records, encoding="utf-8", errors="replace") as file:
        for line in file:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                record = json.loads(line)
                if record["to"] == name and record["outcome"] == "deployed":
                    found.append(str(record["from"]))
    return found[::-1]


def choose(root: str, wanted: str, records: str = "") -> tuple[Kept, Kept]:
    """Give the release that runs and the one to go back to.

    Where none is named it is the one that ran before, which need not be the newest of the older ones: that one may have
    been gone back from as well.
    """
    releases, name = kept(root), current(root)
    running = next((each for each in releases if each.name == name), None)
    if running is None:
        raise RollbackError(f"no finished release of {root} is current, so there is none to go back from: run site.yml")
    there = f"there are {', '.join(map(str, releases))}"
    older = [each for each in releases if each.name < name]
    good = [each for each in older if not each.trouble]
    if not wanted:
        if not good:
            raise RollbackError(f"there is no good release before {running}: {there}")
        by_name = {each.name: each for each in good}
        before = (by_name[each] for each in brought_after(records, name) if each in by_name)
        return running, next(before, good[-1])
    named = [each for each in releases if each.answers_to(wanted)]
    fitting = [each for each in named if each in good]
    if fitting:
        return running, fitting[-1]
    if not named:
        raise RollbackError(f"no finished release answers to {wanted}: {there}")
    found = named[-1]
    if found.name == name:
        raise RollbackError(f"{found} is what runs: {there}")
    if found in older:
        raise RollbackError(f"{found} cannot be gone back to: {there}")
    raise RollbackError(f"{found} is newer than {running}, which runs: update.yml -e version={wanted} brings it")


@dataclass(frozen=True)
class Migrations:
    """What the older release lacks and has too much, as its code and that of the newer one see the database."""

    extra: list[str]
    targets: list[tuple[str, str]]
    obstacles: list[str]
    missing: list[str]


def compare(newer: dict[str, Any], older: dict[str, Any]) -> Migrations:
    has, knows = (_by_key(state) for state in (newer, older))
    new = [key for key, migration in has.items() if migration["applied"] and key not in knows]
    squashed = {key: [tuple(name) for name in has[key]["replaces"]] for key in new if has[key]["replaces"]}
    # One that stands for what the older release has is nothing new, and stands for it as a target as well
    stands_for = {name: key for key, names in squashed.items() if knows.keys() >= set(names) for name in names}
    extra = [key for key in new if key not in stands_for.values()]
    obstacles = [words for key in extra for words in has[key]["stubborn"]]
    obstacles += [
        f"{'.'.join(key)} stands for migrations of which the older release has some, and not all"
        for key in extra
        if knows.keys() & set(squashed.get(key, []))
    ]
    targets = []
    for app in sorted({app for app, _name in extra}):
        leaves = [stands_for.get((app, name), (app, name))[1] for leaf, name in older["leaves"] if leaf == app]
        targets.append((app, leaves[0] if leaves else "zero"))
        if len(leaves) > 1:
            obstacles.append(f"{app} ends in {' and '.join(leaves)} in the older release")
        elif leaves and (app, leaves[0]) not in has:
            obstacles.append(f"the newer release has no {app}.{leaves[0]} to go back to")
    missing = [".".join(key) for key, migration in knows.items() if not migration["applied"]]
    return Migrations([".".join(key) for key in extra], targets, obstacles, missing)


def _by_key(state: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["key"][0], each["key"][1]): each for each in state["migrations"]}


def read_answer(output: str) -> dict[str, Any]:
    """Read what ASK has printed; settings may print as well."""
    answer: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return answer


def dump_from_before(paths: list[str], older: Kept) -> Dump | None:
    """Find the newest dump that was made while the older release ran."""
    dumps = [dump for dump in map(known, paths) if dump and dump.running == older.name]
    return max(dumps, key=lambda dump: dump.made, default=None)


@dataclass(frozen=True)
class Way:
    """The way back, in words."""

    running: Kept
    older: Kept
    migrations: Migrations
    dump: Dump | None
    now: float

    def lines(self, mode: str, restore: str) -> list[str]:
        """Say what is returned and what is not, for the mode keep or reverse, or for a dump to restore."""
        said = [
            f"from {self.running} back to {self.older}",
            "returned: the code, its packages and its list of static files",
            "not returned: settings, uploads, and mail that was sent",
        ]
        if restore:
            said += self._restored(restore)
        elif mode == "reverse" and self.migrations.extra:
            said += ["database: these migrations are reversed, and the data in what they made is lost", *self._extra()]
        elif self.migrations.extra:
            said += [
                "database: not returned; it keeps these migrations, which the older release does not have",
                *self._extra(),
                "  nobody knows whether the older code works with them; it is asked before a visitor is",
                "  with -e migrations=reverse they are reversed" if not self.migrations.obstacles else "",
            ]
        else:
            said += ["database: not returned; it has no migration that the older release does not have"]
        if self.migrations.missing and not restore:
            said += [
                f"the older release has migrations that the database has not: {', '.join(self.migrations.missing)}"
            ]
        return [line for line in said if line] + ([] if restore else self._dump())

    def _extra(self) -> list[str]:
        obstacles = [f"  cannot be reversed: {words}" for words in self.migrations.obstacles]
        return [f"  {name}" for name in self.migrations.extra] + obstacles

    def _dump(self) -> list[str]:
        if not self.dump:
            return ["dump from before: none"]
        return [
            f"dump from before: {self.dump.path}",
            f"  with -e restore_dump={self.dump.path} the last {age(self.now - self.dump.made)} of data are lost",
        ]

    def _restored(self, path: str) -> list[str]:
        dump = known(path)
        lost = f"the last {age(self.now - dump.made)} of data are" if dump else "all data since that was made is"
        others = f"  it was made while {dump.running} ran" if dump and dump.running != self.older.name else ""
        return [
            f"database: restored from {path}; {lost} lost",
            others,
            "  the database of now is kept under another name, and named at the end",
        ]


def age(seconds: float) -> str:
    """Say a time as people do, not shorter than it is."""
    minutes = int(seconds // 60) + 1
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days {hours % 24} h"
