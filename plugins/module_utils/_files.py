# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small text files as they should be: content, owner, group and mode, each replaced in one rename."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from dataclasses import dataclass
from typing import Any

FILES: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "required": True,
    "options": {
        "path": {"type": "path", "required": True},
        "content": {"type": "str", "required": True},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
        "mode": {"type": "str", "default": "0644"},
    },
}
"""The option of a module that takes files."""


class FilesError(Exception):
    """A file cannot be as it should; the message says why."""


@dataclass(frozen=True)
class TextFile:
    """What a file should be; the mode is octal, as chmod takes it."""

    path: str
    content: str
    owner: str
    group: str
    mode: str

    def check(self) -> None:
        """Refuse what could not be written, before any other file is."""
        _number(self.mode)
        if os.path.isdir(self.path):
            raise FilesError(f"{self.path} is a directory")

    def check_accounts(self) -> None:
        """Refuse accounts that are not there, which they need not be for a look."""
        for name, exists in ((self.owner, pwd.getpwnam), (self.group, grp.getgrnam)):
            try:
                exists(name)
            except KeyError:
                raise FilesError(f"{self.path} is to belong to {name}, and there is no such account") from None

    @property
    def before(self) -> str:
        """What is there; binary content is shown as far as it is text."""
        return (self._found() or b"").decode("utf-8", "replace")

    @property
    def differs(self) -> bool:
        return self._found() != self.content.encode() or not self._is_as_wanted(os.stat(self.path))

    def write(self) -> None:
        """Put it there, never readable for others on the way.

        The directory may be another account's, who must not lead this elsewhere by a link.
        """
        if self._found() == self.content.encode():
            # Not written anew: a process that is older than a file counts as outdated
            with open(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                self._own(file.fileno())
            return
        make_directory(os.path.dirname(self.path))
        fresh = f"{self.path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)  # a run that died left it
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(self.content.encode())
            self._own(file.fileno())
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path)

    def _found(self) -> bytes | None:
        """Read the file; a link is none, whatever it leads to."""
        if os.path.islink(self.path) or not os.path.exists(self.path):
            return None
        with open(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return file.read()

    def _is_as_wanted(self, found: os.stat_result) -> bool:
        try:
            accounts = pwd.getpwnam(self.owner).pw_uid, grp.getgrnam(self.group).gr_gid
        except KeyError:
            return False
        return (found.st_uid, found.st_gid) == accounts and stat.S_IMODE(found.st_mode) == _number(self.mode)

    def _own(self, descriptor: int) -> None:
        os.fchown(descriptor, pwd.getpwnam(self.owner).pw_uid, grp.getgrnam(self.group).gr_gid)
        os.fchmod(descriptor, _number(self.mode))  # last: a change of owner takes bits away


def make_directory(path: str) -> None:
    """Make it and those above it where they are not there, for everybody to pass through, whatever the umask."""
    if not os.path.isdir(path):
        make_directory(os.path.dirname(path))
        os.mkdir(path)
        os.chmod(path, 0o755)  # noqa: S103 - what is in it has modes of its own


def _number(mode: str) -> int:
    try:
        number = int(mode, 8)
    except ValueError:
        number = -1
    if not 0 <= number <= 0o7777:
        raise FilesError(f"set the mode to an octal number such as '0640'; {mode!r} is not")
    return number
