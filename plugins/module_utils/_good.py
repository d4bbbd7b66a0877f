# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The last set of configuration files with which a site was seen to work."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
from urllib.parse import quote


def directory(root: str) -> str:
    """Where the copies of a site's files are."""
    return os.path.join(root, "good")


class GoodSet:
    """Copies of files, kept for the case that their next version is refused."""

    def __init__(self, directory: str, files: list[str]) -> None:
        self._directory = directory
        self._files = files

    def save(self) -> None:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        for path in self._files:
            kept = self._kept(path)
            if os.path.exists(path) and not _same(path, kept):
                _replace(path, kept)

    def differing(self) -> list[str]:
        """Name the files that are not as they were when they were kept."""
        return [path for path in self._files if os.path.exists(self._kept(path)) and not _same(self._kept(path), path)]

    def restore(self) -> list[str]:
        """Put back what differs, and name it."""
        restored = self.differing()
        for path in restored:
            _replace(self._kept(path), path)
        return restored

    def _kept(self, path: str) -> str:
        return os.path.join(self._directory, quote(path, safe=""))


def _same(one: str, other: str) -> bool:
    if not os.path.exists(other):
        return False
    owners = [(stat.st_uid, stat.st_gid, stat.st_mode) for stat in (os.stat(one), os.stat(other))]
    return owners[0] == owners[1] and filecmp.cmp(one, other, shallow=False)


def _replace(source: str, target: str) -> None:
    """Copy a file with its owner, mode and time, never readable for others on the way, in one rename.

    With its time, because a file that is younger than a process counts as one that it has not read.
    """
    fresh = f"{target}.new"
    stat = os.stat(source)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)  # a run that died left it
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        with open(source, "rb") as content:
            shutil.copyfileobj(content, file)
        os.fchown(file.fileno(), stat.st_uid, stat.st_gid)
        os.fchmod(file.fileno(), stat.st_mode & 0o7777)
    os.utime(fresh, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.replace(fresh, target)
