# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The mirror of a site's repository: which commit a version is, and fetching it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.coralnet.server.plugins.module_utils._run import Run

COMMIT = re.compile(r"[0-9a-f]{40}")
SHORT_COMMIT = re.compile(r"[0-9a-f]{7,39}")
# A site that is a package of an index, in a repository's place: package:NAME
PACKAGE = "package:"
# Its commit, the same wherever it is made: author and time are no one's
COMMIT_PACKAGE = """
cd "$1"
file=$(printf '%s\\n' "$2" | git hash-object -w --stdin)
tree=$(printf '100644 blob %s\\trequirements.txt\\n' "$file" | git mktree)
export GIT_AUTHOR_NAME=index GIT_AUTHOR_EMAIL= GIT_AUTHOR_DATE='@0 +0000'
export GIT_COMMITTER_NAME=index GIT_COMMITTER_EMAIL= GIT_COMMITTER_DATE='@0 +0000'
git update-ref "$3" "$(git commit-tree -m "$2" "$tree")"
"""
REFSPECS = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]


class GitError(Exception):
    """Git refused, or a version does not exist; the message says what to do."""


@dataclass(frozen=True)
class Version:
    """What somebody asked for: its commit, the object that has its signature (a tag or the commit), its full name.

    A commit has no name, and an abbreviated one is not known before it is looked up in the mirror.
    """

    commit: str
    object: str
    ref: str = ""

    @property
    def name(self) -> str:
        return re.sub(r"^refs/(heads|tags)/", "", self.ref) or self.object[:10]


def mirror_of(path: str, repository: str, run: Run) -> Mirror:
    """Give the mirror of a repository, or what stands in for one where the site is a package."""
    return (Package if repository.startswith(PACKAGE) else Mirror)(path, repository, run)


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

    def remote(self, version: str) -> Version:
        """Ask the remote what a branch, a tag or HEAD is; a whole commit needs no asking.

        A short commit cannot be asked for: its commit is then empty, and the mirror must know it.
        """
        if COMMIT.fullmatch(version):
            return Version(version, version)
        head, tag = f"refs/heads/{version}", f"refs/tags/{version}"
        full = version == "HEAD" or version.startswith("refs/")
        names = [version, f"{version}^{{}}"] if full else [head, tag, f"{tag}^{{}}"]
        rc, out, err = self._run(["git", "ls-remote", "--symref", "--", self._repository, *names])
        if rc != 0:
            raise GitError(f"could not list the versions of {self._repository}: {err.strip()}")
        refs, links = {}, {}
        for line in out.splitlines():
            found, _tab, name = line.partition("\t")
            if found.startswith("ref: "):
                links[name] = found[5:]
            else:
                refs[name] = found
        if head in refs and tag in refs:
            raise GitError(f"{version} is a branch and a tag of {self._repository}: say which by its full name")
        for name in reversed(names):
            if name in refs:
                ref = name.removesuffix("^{}")
                return Version(refs[name], refs[ref], links.get(ref, ref))
        if SHORT_COMMIT.fullmatch(version):
            return Version("", version)
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
            if self.exists():
                self._must(["git", "clone", "--quiet", "--bare", "--shared", "--", self._path, path])
            other = self._at(path)
            other.fetch()
            yield other
        finally:
            self._run(["rm", "-r", "-f", "--", path])

    def git(self, words: list[str]) -> str:
        """Ask git something; quoted paths would be hard to read."""
        return self._must(["git", "-C", self._path, "-c", "core.quotePath=false", *words], "read")

    def text(self, commit: str, path: str) -> str | None:
        """Read a file as a commit has it."""
        there = self.git(["ls-tree", "--full-tree", "--name-only", commit, "--", f":(literal){path}"])
        return self.git(["cat-file", "blob", f"{commit}:{path}"]) if there.strip() else None

    def contains(self, commit: str, older: str) -> bool:
        """Say whether a commit is another one or comes after it."""
        if not self.has(older):
            return False
        rc, _out, err = self._run(["git", "-C", self._path, "merge-base", "--is-ancestor", older, commit])
        if rc > 1:
            raise GitError(f"could not compare {older} and {commit} in {self._repository}: {err.strip()}")
        return rc == 0

    def distance(self, old: str, new: str) -> int:
        """Count the commits that one has and the other does not."""
        return int(self.git(["rev-list", "--count", f"{old}..{new}"]))

    def verify(self, version: Version, kind: str, signers: str) -> None:
        """Have git check the signature of the commit or of the tag; refuse what is not signed by one who may."""
        name = version.name
        if kind == "tag" and not version.ref.startswith("refs/tags/"):
            raise GitError(f"{name} is no tag, and django_app_verify is tag: set django_app_version to a signed tag")
        checked = version.object if kind == "tag" else version.commit
        setting = ["-c", f"gpg.ssh.allowedSignersFile={signers}"] if signers else []
        rc, _out, err = self._run(["git", "-C", self._path, *setting, f"verify-{kind}", checked])
        if rc != 0:
            said = " ".join(err.split()) or "it has no signature"
            raise GitError(
                f"git does not accept the signature of the {kind} {name}: {said} (django_app_verify, "
                f"django_app_allowed_signers)"
            )
        if kind == "tag":
            # Somebody may have given a signed tag another name
            signed = re.findall(r"^tag (.+)$", self.git(["cat-file", "tag", checked]), re.MULTILINE)[0]
            if f"refs/tags/{signed}" != version.ref:
                raise GitError(f"the tag {name} of {self._repository} is signed as {signed}: ask for it by that name")

    def local_commit(self, version: str, variable: str = "django_app_version") -> str:
        rc, out, _err = self._run(
            ["git", "-C", self._path, "rev-parse", "--verify", "--quiet", f"{version}^{{commit}}"]
        )
        if rc != 0:
            raise GitError(f"{self._repository} has no commit {version!r}: set {variable} to one it has")
        return out.strip()

    def _at(self, path: str) -> Mirror:
        return Mirror(path, self._repository, self._run)

    def _must(self, argv: list[str], verb: str = "fetch") -> str:
        rc, out, err = self._run(argv)
        if rc != 0:
            raise GitError(f"could not {verb} {self._repository}: {err.strip()}")
        return out


class Package(Mirror):
    """A package of an index. Each version is a commit with one file, which asks pip for that version."""

    _requirement = ""
    _ref = ""

    def remote(self, version: str) -> Version:
        """Take the version as it is: whether the index has it is pip's to say."""
        self._requirement = f"{self._repository.removeprefix(PACKAGE)}=={version}"
        self._ref = "refs/tags/" + re.sub(r"[^\w.+-]+", "-", self._requirement)
        return Version("", self._ref, self._ref)

    def fetch(self) -> None:
        if not self.exists():
            self._must(["git", "init", "--quiet", "--bare", self._path])
        self._must(["sh", "-euc", COMMIT_PACKAGE, "sh", self._path, self._requirement, self._ref])

    def _at(self, path: str) -> Mirror:
        other = Package(path, self._repository, self._run)
        other._requirement, other._ref = self._requirement, self._ref
        return other
