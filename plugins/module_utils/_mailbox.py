# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The mail that a site has sent, where it can be read on this host: files, mailboxes, a log or the journal."""

from __future__ import annotations

import email
import email.policy
import mailbox
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from email.message import EmailMessage

from ansible_collections.coralnet.server.plugins.module_utils._run import Run

BETWEEN = re.compile(rb"^-{79}$", re.MULTILINE)
"""What Django writes after each message, into files and on the console alike."""
BEGINNING = re.compile(rb"^(Content-Type|MIME-Version|Subject|From|To): ", re.MULTILINE)


class MailError(Exception):
    """The mail cannot be read."""


class Mail(ABC):
    """A place to which mail comes; what was there before the run began (a time) does not count."""

    def __init__(self, path: str, began: float) -> None:
        self._path = path
        self._began = began

    def wait(self, address: str, seconds: float) -> str:
        """Give the text of the newest message to an address, or say what is there instead."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                texts = [text_of(message) for message in self.messages() if address in recipients(message)]
                last = f"no mail to {address} came within {seconds:g} seconds"
            except OSError as exc:
                texts, last = [], f"the mail in {self._path} cannot be read: {exc.strerror or exc}"
            if texts:
                return texts[-1]
            if time.monotonic() >= deadline:
                raise MailError(last)
            time.sleep(0.2)

    @abstractmethod
    def messages(self) -> Iterator[EmailMessage]:
        """Go through the messages, the newest last."""

    def remove(self, run: str) -> None:  # noqa: B027  # a log keeps what it has
        """Remove the messages to the run's own addresses."""


class Directory(Mail):
    """A directory of files, as Django's file-based backend writes them."""

    def messages(self) -> Iterator[EmailMessage]:
        for path in self._files():
            yield from self._read(path)

    def remove(self, run: str) -> None:
        for path in self._files():
            addresses = [address for message in self._read(path) for address in recipients(message)]
            # One with a letter to anybody else is not ours
            if addresses and all(run in address for address in addresses):
                os.unlink(path)

    def _files(self) -> list[str]:
        paths = [entry for entry in os.scandir(self._path) if entry.is_file(follow_symlinks=False)]
        times = [(entry.stat().st_mtime, entry.path) for entry in paths]
        # A file's time may be of the clock's last tick, a little before the run began
        return [path for changed, path in sorted(times) if changed >= self._began - 1]

    def _read(self, path: str) -> list[EmailMessage]:
        # What the site's account may write is read with care, since this runs as root
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return split(file.read())


class Log(Mail):
    """A file to which the console of a development server goes."""

    def __init__(self, path: str, began: float) -> None:
        super().__init__(path, began)
        self._start = os.path.getsize(path) if os.path.exists(path) else 0

    def messages(self) -> Iterator[EmailMessage]:
        with open(self._path, "rb") as file:
            file.seek(self._start)
            yield from split(file.read())


class Journal(Mail):
    """The journal of a unit that prints its mail; the path is the unit's name, which may be a pattern."""

    def __init__(self, path: str, began: float, run: Run) -> None:
        super().__init__(path, began)
        self._run = run

    def messages(self) -> Iterator[EmailMessage]:
        since = f"--since=@{int(self._began)}"
        rc, out, err = self._run(["journalctl", f"--unit={self._path}", since, "--output=cat", "--no-pager"])
        if rc:
            raise MailError(f"journalctl cannot read {self._path}: {err.strip()}")
        yield from split(out.encode("utf-8", "surrogateescape"))


class Box(Mail):
    """A mailbox as mail servers keep it: one file, or a directory with one file for each message."""

    def _open(self) -> mailbox.Mailbox[mailbox.Message]:
        if not os.path.exists(self._path):
            raise FileNotFoundError(2, os.strerror(2))
        kind = mailbox.Maildir if os.path.isdir(self._path) else mailbox.mbox
        return kind(self._path, create=False)

    def messages(self) -> Iterator[EmailMessage]:
        box = self._open()
        keys = box.keys()
        if isinstance(box, mailbox.Maildir):  # a file has its messages in order
            keys.sort(key=lambda key: delivered(box, key))
        for key in keys:
            yield parse(box.get_bytes(key))
        box.close()

    def remove(self, run: str) -> None:
        box = self._open()
        before = os.stat(self._path)
        box.lock()
        try:
            for key in list(box.iterkeys()):
                if any(run in address for address in recipients(parse(box.get_bytes(key)))):
                    box.discard(key)
            box.flush()
        finally:
            box.unlock()
            box.close()
        # It may have been written anew
        os.chown(self._path, before.st_uid, before.st_gid, follow_symlinks=False)


def mail_at(kind: str, path: str, began: float, run: Run) -> Mail:
    """Give the place of that kind."""
    if kind == "journal":
        return Journal(path, began, run)
    kinds: dict[str, type[Directory | Log | Box]] = {"directory": Directory, "log": Log, "mailbox": Box}
    return kinds[kind](path, began)


def delivered(box: mailbox.Maildir, key: str) -> tuple[float, list[int]]:
    """When a message came; of one tick of the clock, the numbers in its name (M99 is before M100)."""
    return box[key].get_date(), [int(number) for number in re.findall(r"\d+", key)]


def split(text: bytes) -> list[EmailMessage]:
    """Take apart what Django writes for each message, with lines of anything else before them."""
    parts = BETWEEN.split(text)[:-1]  # what is after the last line is not whole yet
    begun = [(part, BEGINNING.search(part)) for part in parts]
    return [parse(part[found.start() :]) for part, found in begun if found]


def parse(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, _class=EmailMessage, policy=email.policy.default)


def recipients(message: EmailMessage) -> list[str]:
    headers = [message.get(name) for name in ("to", "cc", "delivered-to")]
    return [
        address for header in headers if header for address in re.findall(r"[^\s<>,;\"]+@[^\s<>,;\"]+", str(header))
    ]


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain", "html"))
    return str(body.get_content()) if body else ""
