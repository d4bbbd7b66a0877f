# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a version must not be put in the place of the running one. Each message says what to set."""

from __future__ import annotations

import fnmatch
import json
import os
import re

from ansible_collections.coralnet.server.plugins.module_utils._git import Mirror, Version
from ansible_collections.coralnet.server.plugins.module_utils._release import RECORD, Release
from ansible_collections.coralnet.server.plugins.module_utils._run import Run

DOTENV = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=", re.MULTILINE)


class RefusedError(Exception):
    """The update must not go on."""


def missing_settings(source: Mirror, version: Version, example: str, given: list[str]) -> None:
    """Refuse a version whose example file names a setting that this server does not have."""
    text = source.text(version.commit, example)
    if text is None:
        raise RefusedError(
            f"{version.name} has no file {example}: set django_app_secrets_example to the path of an example that it "
            f"has, or to '' for a version without one"
        )
    missing = [name for name in _names(text, example) if name not in given]
    if missing:
        raise RefusedError(
            f"{version.name} needs {', '.join(missing)} (see its {example}): set them in the data of "
            f"django_app_config_files or in django_app_environment"
        )


def _names(text: str, path: str) -> list[str]:
    if ".json" not in os.path.basename(path):
        return list(dict.fromkeys(DOTENV.findall(text)))
    try:
        return list(json.loads(text).keys())
    except (ValueError, AttributeError) as exc:
        raise RefusedError(
            f"{path} is no JSON object ({exc}): set django_app_secrets_example to a JSON or dotenv file"
        ) from None


def rewritten_branch(source: Mirror, version: Version, running: Release) -> None:
    """Refuse a branch that has lost the commit which was deployed from it."""
    branch = version.ref.startswith("refs/heads/") and version.ref == running.ref
    if branch and not source.contains(version.commit, running.commit):
        raise RefusedError(
            f"the branch {version.name} has lost the running commit {running.commit[:10]}, so its history was "
            f"rewritten: set django_app_version to a tag or a commit, or django_app_fast_forward to false for this run"
        )


def jumped_over(source: Mirror, version: Version, running: Release, required: list[str]) -> None:
    """Refuse to pass over a version that has to run before this one."""
    between = {}
    for name in required:
        commit = source.local_commit(name, "django_app_required_versions")
        on_the_way = commit != version.commit and source.contains(version.commit, commit)
        if on_the_way and not source.contains(running.commit, commit):
            between[name] = source.distance(running.commit, commit)
    if between:
        first = min(between, key=lambda name: between[name])
        raise RefusedError(
            f"{version.name} must not follow {running.commit[:10]} directly, since {first} has to run before it "
            f"(django_app_required_versions): set django_app_version to {first} first"
        )


def local_changes(run: Run, root: str, running: Release, kept: list[str]) -> None:
    """Refuse to leave behind what somebody changed in the running release's source.

    What the build itself left there was there before the release's record. Its links lead to the site's shared files.
    """
    release = os.path.join(root, "releases", running.name)
    source = os.path.join(release, "src")
    if not os.path.exists(os.path.join(source, ".git")):
        return
    rc, out, err = run(
        [
            "git",
            "--no-optional-locks",
            "-C",
            source,
            "status",
            "--porcelain",
            "-z",
            "--no-renames",
            "--untracked-files=all",
        ]
    )
    if rc != 0:
        raise RefusedError(f"could not look for local changes in {source}: {err.strip()}")
    built = os.stat(os.path.join(release, RECORD)).st_mtime
    shared = os.path.join(root, "shared", "")
    found = [line[3:] for line in out.split("\0") if line]
    changed = [
        path
        for path in found
        if not any(fnmatch.fnmatchcase(path, pattern) for pattern in kept)
        and not _left_by_the_build(os.path.join(source, path), built, shared)
    ]
    if changed:
        raise RefusedError(
            f"{source} has changes that are in no commit: {', '.join(changed)}. Commit or undo them, or name in "
            f"django_app_keep_files what may stay behind there"
        )


def _left_by_the_build(path: str, built: float, shared: str) -> bool:
    try:
        if os.path.islink(path) and os.readlink(path).startswith(shared):
            return True
        return os.lstat(path).st_ctime <= built
    except OSError:  # removed
        return False
