# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The mirror of a site's repository: which commit a version is, and fetching it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

from ansible_collections.coralnet.server.plugins.module_utils._run import Run

COMMIT = re.compile(r"[0-9a-f]{40}")
SHORT_COMMIT = re.compile(r"[0-9a-f]{7,39}")
REFSPECS = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]


class GitError(Exception):
    """Git refused, or a version does not exist; the message says what to do."""


class Mirror:
    """A bare repository on the host that follows the site's own."""

    def __init__(self, path: str, repository: str, run: Run) -> None:
        self._path = path
        self._repository = repository
        self._run = run

    def exists(self) -> bool:
        return os.path.isdir(os.path.join(self._path, "objects"))

    def has(self, commit: str) -> bool:
        if not self.exists():
            return False
        return self._run(["git", "-C", self._path, "cat-file", "-e", f"{commit}^{{commit}}"])[0] == 0

    def remote_commit(self, version: str) -> str:
        """Ask the remote which commit a branch, a tag or HEAD is; a whole commit needs no asking.

        A short commit cannot be asked for: the answer is then empty, and the mirror must know it.
        """
        if COMMIT.fullmatch(version):
            return version
        head, tag = f"refs/heads/{version}", f"refs/tags/{version}"
        full = version == "HEAD" or version.startswith("refs/")
        names = [version, f"{version}^{{}}"] if full else [head, tag, f"{tag}^{{}}"]
        rc, out, err = self._run(["git", "ls-remote", "--", self._repository, *names])
        if rc != 0:
            raise GitError(f"could not list the versions of {self._repository}: {err.strip()}")
        refs = {name: commit for commit, _tab, name in (line.partition("\t") for line in out.splitlines())}
        if head in refs and tag in refs:
            raise GitError(f"{version} is a branch and a tag of {self._repository}: say which by its full name")
        for name in reversed(names):
            if name in refs:
                return refs[name]
        if SHORT_COMMIT.fullmatch(version):
            return ""
        raise GitError(f"{self._repository} has no branch or tag {version!r}: set django_app_version to one it has")

    def fetch(self) -> None:
        if not self.exists():
            self._must(["git", "init", "--quiet", "--bare", self._path])
        self._must(["git", "-C", self._path, "fetch", "--quiet", "--prune", "--", self._repository, *REFSPECS])

    @contextlib.contextmanager
    def aside(self) -> Iterator[Mirror]:
        """Fetch into another mirror, which borrows what this one has and is thrown away; this one stays as it is."""
        path = self._must(["mktemp", "--directory"]).strip()
        try:
            self._must(["git", "clone", "--quiet", "--bare", "--shared", "--", self._path, path])
            other = Mirror(path, self._repository, self._run)
            other.fetch()
            yield other
        finally:
            self._run(["rm", "-r", "-f", "--", path])

    def git(self, words: list[str]) -> str:
        """Ask git something; quoted paths would be hard to read."""
        return self._must(["git", "-C", self._path, "-c", "core.quotePath=false", *words], "read")

    def local_commit(self, version: str) -> str:
        rc, out, _err = self._run(
            ["git", "-C", self._path, "rev-parse", "--verify", "--quiet", f"{version}^{{commit}}"]
        )
        if rc != 0:
            raise GitError(f"{self._repository} has no commit {version!r}: set django_app_version to one it has")
        return out.strip()

    def _must(self, argv: list[str], verb: str = "fetch") -> str:
        rc, out, err = self._run(argv)
        if rc != 0:
            raise GitError(f"could not {verb} {self._repository}: {err.strip()}")
        return out
