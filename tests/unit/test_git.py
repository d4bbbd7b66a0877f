from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._git import GitError, Mirror, Version


def run(argv: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


class Origin:
    """The site's own repository."""

    def __init__(self, path: Path) -> None:
        self.path = path
        subprocess.run(["git", "init", "--quiet", "--initial-branch=main", path], check=True)

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", "-C", self.path, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path / "origin")


@pytest.fixture
def mirror(tmp_path: Path, origin: Origin) -> Mirror:
    return Mirror(str(tmp_path / "repo.git"), str(origin.path), run)


Setup = Callable[[Origin], "tuple[str, str]"]
"""Makes something in the repository; returns the version to ask for and the commit that it is."""


def branch(origin: Origin) -> tuple[str, str]:
    origin.commit("one")
    origin.git("checkout", "--quiet", "-b", "feature/x")
    commit = origin.commit("two")
    origin.git("checkout", "--quiet", "main")
    return "feature/x", commit


def tag(origin: Origin) -> tuple[str, str]:
    commit = origin.commit("one")
    origin.git("tag", "v1")
    origin.commit("two")
    return "v1", commit


def annotated_tag(origin: Origin) -> tuple[str, str]:
    commit = origin.commit("one")
    origin.git("tag", "--annotate", "--message", "first", "v1")
    origin.commit("two")
    return "v1", commit


def head(origin: Origin) -> tuple[str, str]:
    origin.commit("one")
    return "HEAD", origin.commit("two")


def head_elsewhere(origin: Origin) -> tuple[str, str]:
    origin.commit("one")
    origin.git("checkout", "--quiet", "-b", "trunk")
    return "HEAD", origin.commit("two")


def full_branch(origin: Origin) -> tuple[str, str]:
    return "refs/heads/main", origin.commit("one")


def full_annotated_tag(origin: Origin) -> tuple[str, str]:
    commit = origin.commit("one")
    origin.git("tag", "--annotate", "--message", "first", "v1")
    return "refs/tags/v1", commit


def full_name_of_two(origin: Origin) -> tuple[str, str]:
    commit = origin.commit("one")
    origin.git("tag", "both")
    origin.commit("two")
    origin.git("branch", "both")
    return "refs/tags/both", commit


def branch_that_looks_like_a_commit(origin: Origin) -> tuple[str, str]:
    commit = origin.commit("one")
    origin.git("branch", "abcdef1")
    return "abcdef1", commit


def branch_that_ends_like_another(origin: Origin) -> tuple[str, str]:
    commit = origin.commit("one")
    origin.git("branch", "x")
    origin.commit("two")
    origin.git("branch", "refs/heads/x")
    return "x", commit


NAMES = [
    branch,
    tag,
    annotated_tag,
    head,
    head_elsewhere,
    full_branch,
    full_annotated_tag,
    full_name_of_two,
    branch_that_looks_like_a_commit,
    branch_that_ends_like_another,
]


@pytest.mark.parametrize("setup", NAMES)
def test_remote_of_a_name(origin: Origin, mirror: Mirror, setup: Setup) -> None:
    version, commit = setup(origin)

    assert mirror.remote(version).commit == commit
    assert not mirror.exists()


@pytest.mark.parametrize("setup", NAMES)
def test_fetch_brings_what_was_found(origin: Origin, mirror: Mirror, setup: Setup) -> None:
    _version, commit = setup(origin)
    assert not mirror.has(commit)

    mirror.fetch()

    assert mirror.has(commit)
    assert mirror.local_commit(commit) == commit


def test_remote_takes_a_whole_commit_unasked(tmp_path: Path) -> None:
    mirror = Mirror(str(tmp_path / "repo.git"), str(tmp_path / "nowhere"), run)

    commit = "0123456789abcdef0123456789abcdef01234567"
    assert mirror.remote(commit) == Version(commit, commit)


def test_short_commit_is_left_to_the_mirror(origin: Origin, mirror: Mirror) -> None:
    commit = origin.commit("one")
    short = commit[:10]

    assert mirror.remote(short) == Version("", short)
    assert not mirror.has(short)
    mirror.fetch()
    assert mirror.has(short)
    assert mirror.local_commit(short) == commit


@pytest.mark.parametrize(
    "version", ["no-such", "refs/heads/no-such", "ABCDEF1", "v*", "refs/heads/*", "--help", "-x", ""]
)
def test_unknown_version(origin: Origin, mirror: Mirror, version: str) -> None:
    origin.commit("one")
    origin.git("tag", "v1")

    with pytest.raises(GitError) as caught:
        mirror.remote(version)

    assert str(caught.value) == (
        f"{origin.path} has no branch or tag {version!r}: set django_app_version to one it has"
    )


def test_head_of_an_empty_repository(origin: Origin, mirror: Mirror) -> None:
    with pytest.raises(GitError, match="has no branch or tag 'HEAD'"):
        mirror.remote("HEAD")
    assert origin.path.exists()


@pytest.mark.parametrize("version", ["0123456789abcdef0123456789abcdef01234567", "0123456"])
def test_unknown_commit(origin: Origin, mirror: Mirror, version: str) -> None:
    origin.commit("one")
    mirror.fetch()

    assert not mirror.has(version)
    with pytest.raises(GitError, match=f"has no commit '{version}': set django_app_version to one it has"):
        mirror.local_commit(version)


def test_branch_and_tag_of_one_name(origin: Origin, mirror: Mirror) -> None:
    origin.commit("one")
    origin.git("tag", "both")
    origin.git("branch", "both")

    with pytest.raises(GitError, match=r"both is a branch and a tag of .*: say which by its full name"):
        mirror.remote("both")


def test_repository_that_cannot_be_reached(tmp_path: Path) -> None:
    mirror = Mirror(str(tmp_path / "repo.git"), str(tmp_path / "nowhere"), run)

    with pytest.raises(GitError, match=r"could not list the versions of .*nowhere: .*does not appear to be a git repo"):
        mirror.remote("main")
    with pytest.raises(GitError, match=r"could not fetch .*nowhere: .*does not appear to be a git repo"):
        mirror.fetch()


def test_fetch_can_be_repeated_after_it_failed(tmp_path: Path, origin: Origin) -> None:
    commit = origin.commit("one")
    path = str(tmp_path / "repo.git")
    with pytest.raises(GitError):
        Mirror(path, str(tmp_path / "nowhere"), run).fetch()

    mirror = Mirror(path, str(origin.path), run)
    mirror.fetch()

    assert mirror.has(commit)


def test_fetch_after_a_forced_push(origin: Origin, mirror: Mirror) -> None:
    origin.commit("one")
    old = origin.commit("two")
    mirror.fetch()
    origin.git("reset", "--quiet", "--hard", "HEAD~1")
    new = origin.commit("another two")

    assert mirror.remote("main").commit == new
    mirror.fetch()

    assert mirror.local_commit("main") == new
    # A commit that only the moved branch had: what is built from it stays known, and can be asked for in full
    assert mirror.has(old)
    assert mirror.local_commit(mirror.remote(old).commit) == old


def test_fetch_after_a_tag_was_moved(origin: Origin, mirror: Mirror) -> None:
    origin.commit("one")
    origin.git("tag", "v1")
    mirror.fetch()
    new = origin.commit("two")
    origin.git("tag", "--force", "v1")

    assert mirror.remote("v1").commit == new
    mirror.fetch()
    assert mirror.local_commit("v1") == new


def test_commit_that_only_a_moved_branch_had_is_not_fetched_later(origin: Origin, mirror: Mirror) -> None:
    origin.commit("one")
    lost = origin.commit("two")
    origin.git("reset", "--quiet", "--hard", "HEAD~1")

    mirror.fetch()

    assert not mirror.has(lost)
    with pytest.raises(GitError, match=f"has no commit '{lost}'"):
        mirror.local_commit(lost)


def test_fetch_prunes_a_branch_that_is_gone(origin: Origin, mirror: Mirror) -> None:
    origin.commit("one")
    origin.git("branch", "topic")
    mirror.fetch()
    origin.git("branch", "--quiet", "--delete", "topic")
    # git cannot hold both names at once
    origin.git("branch", "topic/part")

    mirror.fetch()

    assert mirror.has("topic/part")
    with pytest.raises(GitError, match="has no branch or tag 'topic'"):
        mirror.remote("topic")
    assert not mirror.has("topic")


def test_a_version_is_never_taken_for_an_option(origin: Origin, tmp_path: Path) -> None:
    origin.commit("one")
    calls: list[list[str]] = []

    def record(argv: list[str]) -> tuple[int, str, str]:
        calls.append(argv)
        return run(argv)

    mirror = Mirror(str(tmp_path / "repo.git"), "--upload-pack=/bin/false", record)
    with pytest.raises(GitError):
        mirror.remote("main")
    with pytest.raises(GitError):
        mirror.fetch()

    assert [argv[argv.index("--") + 1] for argv in calls if "--" in argv] == ["--upload-pack=/bin/false"] * 2
