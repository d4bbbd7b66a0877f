# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What lies between two commits of a site, for a person who is about to put the second in the first one's place."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ansible_collections.coralnet.server.plugins.module_utils._git import Mirror
from ansible_collections.coralnet.server.plugins.module_utils._migrations import Migration, Reader

Git = Callable[[list[str]], str]
"""Takes git's words; returns its output."""

MIGRATION = re.compile(r"(?:^|/)migrations/(?!__init__)[^/]+\.py$")
STATIC = re.compile(r"(?:^|/)static/")
KINDS = {"A": "new", "M": "changed", "D": "removed", "T": "changed"}
SHOWN = 20


@dataclass(frozen=True)
class Changes:
    """Commits that come and that go, and the files between them that an update handles in a way of their own."""

    commits: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    requirements: list[str] = field(default_factory=list)
    migration_files: list[tuple[str, str]] = field(default_factory=list)
    migrations: list[Migration] = field(default_factory=list)
    reversed: list[Migration] = field(default_factory=list)
    static: int = 0
    files: int = 0

    def lines(self) -> list[str]:
        """Say it in words; nothing is said of what does not change."""
        told = {migration.path: migration.lines() for migration in [*self.migrations, *self.reversed]}
        files = [
            [f"{kind} {path}", *(f"  {line}" for line in told.get(path, []))] for kind, path in self.migration_files
        ]
        parts = [("commits", self.commits), ("commits that are left out", self.left_out)]
        parts += [("requirements", self.requirements)]
        said = [f"files: {self.files} changed, {self.static} of them static"]
        for title, items in parts:
            said += _listed(title, [[item] for item in items])
        said += _listed("migrations", files)
        if self.reversed:
            said.append("  the removed ones are not reversed in the database")
        return said


def _listed(title: str, items: list[list[str]]) -> list[str]:
    if not items:
        return []
    said = [f"{title}: {len(items)}", *(f"  {line}" for item in items[:SHOWN] for line in item)]
    return said + ([f"  and {len(items) - SHOWN} more"] if len(items) > SHOWN else [])


def between(source: Mirror, old: str, new: str, requirements: list[str]) -> Changes:
    """Compare two commits that a mirror has."""
    git = source.git
    shown = git(["diff", "--name-status", "--no-renames", old, new])
    files = [(KINDS.get(kind, kind), path) for kind, path in (line.split("\t", 1) for line in shown.splitlines())]
    migrations = [(kind, path) for kind, path in files if MIGRATION.search(path)]
    return Changes(
        commits=_log(git, old, new),
        left_out=_log(git, new, old),
        requirements=_requirements(git, old, new, requirements),
        migration_files=migrations,
        migrations=_read(source, new, [path for kind, path in migrations if kind == "new"], old),
        reversed=_read(source, old, [path for kind, path in migrations if kind == "removed"], new),
        static=sum(1 for _kind, path in files if STATIC.search(path)),
        files=len(files),
    )


def _read(source: Mirror, commit: str, paths: list[str], other: str) -> list[Migration]:
    """Read the migrations that one commit has and the other lacks."""
    reader = Reader(lambda path: source.text(other, path) is not None)
    return [reader.read(path, source.text(commit, path) or "") for path in paths]


def _log(git: Git, known: str, other: str) -> list[str]:
    return git(["log", "--no-show-signature", "--format=%h %an: %s", f"{known}..{other}"]).splitlines()


def _requirements(git: Git, old: str, new: str, files: list[str]) -> list[str]:
    """Give the lines that come (+) and go (-), in these files and in those beside them, which they may include."""
    files = [file for file in files if not file.startswith("/")]  # which are no commit's
    if not files:
        return []
    folders = {posixpath.dirname(file) for file in files}
    beside = [f":(top,glob){posixpath.join(folder, '*.txt')}" for folder in sorted(folders)]
    named = [f":(top,literal){file}" for file in files]
    shown = git(["diff", "--unified=0", "--no-color", "--no-ext-diff", old, new, "--", *named, *beside])
    changed = re.findall(r"^([+-])(?![+-]{2} )\s*([^#\s].*)$", shown, re.MULTILINE)
    return [f"{sign} {line.strip()}" for sign, line in changed if not line.startswith("--hash")]
