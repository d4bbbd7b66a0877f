# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One HTTP request to a web application, over a unix socket or TCP, judged by what it should answer."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

BODY_LIMIT = 2 * 1024 * 1024
LOOK = 0.5
"""Seconds between two looks at whether the one who is to answer still lives."""

AGAIN = 3
"""Seconds for which an answer that is not the right one is asked for again."""

NOT_YET = (0, 502, 503, 504)
"""What is heard of an application that has not started: nothing, or so from a server before it."""


@dataclass(frozen=True)
class Answer:
    """What came back: a status of 0 means that nobody answered, and why."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    error: str = ""
    cookies: tuple[str, ...] = ()
    """The lines Set-Cookie, of which there may be several."""


@dataclass(frozen=True)
class Check:
    """A request and the answer that it deserves."""

    path: str = "/"
    status: tuple[int, ...] = (200,)
    body: str = ""
    reject: str = ""

    def complaint(self, answer: Answer, headers: dict[str, str]) -> str:
        """Say what is wrong with an answer; an empty string means that nothing is."""
        if answer.error:
            return f"{self.path}: {answer.error}"
        if answer.status not in self.status:
            wanted = " or ".join(str(status) for status in self.status)
            return f"{self.path}: status {answer.status} instead of {wanted}{_hint(answer)}"
        if self.body and not re.search(self.body, answer.body):
            return f"{self.path}: the page does not contain {self.body!r}"
        if self.reject and re.search(self.reject, answer.body):
            return f"{self.path}: the page contains {self.reject!r}"
        for name, value in headers.items():
            seen = answer.headers.get(name.lower())
            if seen != value:
                return f"{self.path}: the header {name} says {seen!r} instead of {value!r}"
        return ""


def _hint(answer: Answer) -> str:
    if answer.status == 400:
        return " (is the host name in the site's ALLOWED_HOSTS?)"
    if answer.status in (301, 302, 307, 308):
        return f" (redirected to {answer.headers.get('location', 'nowhere')})"
    return ""


class _UnixConnection(http.client.HTTPConnection):
    """http.client over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _NamedTLSConnection(http.client.HTTPSConnection):
    """TLS to an address, asking for (and checking the certificate against) a name."""

    def __init__(self, address: str, port: int, name: str, timeout: float, verify: bool) -> None:
        context = ssl.create_default_context()
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        super().__init__(address, port, timeout=timeout, context=context)
        self._name = name
        self._tls = context

    def connect(self) -> None:
        plain = socket.create_connection((self.host, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self._name)


def get(
    where: str,
    path: str,
    headers: dict[str, str],
    timeout: float,
    verify: bool = True,
) -> Answer:
    """Send one GET to a unix socket's path or to the server of an http(s) URL; follow no redirect."""
    return send(where, "GET", path, headers, timeout, verify)


def send(
    where: str,
    method: str,
    path: str,
    headers: dict[str, str],
    timeout: float,
    verify: bool = True,
    body: bytes | None = None,
) -> Answer:
    """Send one request there; follow no redirect."""
    deadline = time.monotonic() + timeout
    connection: http.client.HTTPConnection
    if where.startswith("/"):
        connection = _UnixConnection(where, timeout)
    else:
        url = urlsplit(where)
        name = headers["Host"].partition(":")[0]
        if url.scheme == "https":
            connection = _NamedTLSConnection(url.hostname or "", url.port or 443, name, timeout, verify)
        else:
            connection = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=timeout)
    try:
        connection.request(method, path, body, {"User-Agent": "coralnet.server", **headers})
        response = connection.getresponse()
        page = _read(response, deadline).decode("utf-8", "replace")
        answered = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, answered, page, cookies=tuple(response.headers.get_all("Set-Cookie", [])))
    except (OSError, ValueError, http.client.HTTPException) as exc:
        return Answer(0, error=f"no answer from {where}: {exc or type(exc).__name__}")
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """Read a page up to the limit; one that was cut off, or never ends, is no answer.

    The socket's own timeout is for each piece, so a page that comes in drips would outlast it.
    """
    body = b""
    while len(body) < BODY_LIMIT:
        part = response.read1(BODY_LIMIT - len(body))
        if not part:
            break
        body += part
        if time.monotonic() > deadline:
            raise TimeoutError("timed out in the middle of the page")
    if response.length and len(body) < BODY_LIMIT:
        raise http.client.IncompleteRead(body, response.length)
    return body


def run_checks(
    where: str,
    checks: list[Check],
    headers: dict[str, str],
    expect: dict[str, str],
    timeout: float,
    verify: bool = True,
    died: Callable[[], str] = lambda: "",
) -> str:
    """Run every check in turn until one complains or the time (seconds) is up.

    Who says nothing may still be starting, and is asked until the deadline, or until `died` says that waiting is of no
    use. Who gives a wrong answer has started, and is asked again for a moment only. The last complaint is returned, and
    an empty string means that all is well.
    """
    deadline = time.monotonic() + timeout
    for check in checks:
        patience = deadline
        while True:
            left = max(deadline - time.monotonic(), 1.0)
            answer = _watched(partial(get, where, check.path, headers, left, verify), died)
            complaint = answer if isinstance(answer, str) else check.complaint(answer, expect)
            if not complaint:
                break
            if death := died():
                return death
            if isinstance(answer, Answer) and answer.status not in NOT_YET:
                patience = min(patience, time.monotonic() + AGAIN)
            if time.monotonic() >= patience:
                return complaint
            time.sleep(0.2)
    return ""


def _watched(ask: Callable[[], Answer], died: Callable[[], str]) -> Answer | str:
    """Wait for an answer only as long as there is somebody to give it; else say what happened to them."""
    answer: futures.Future[Answer] = futures.Future()

    def wait() -> None:
        try:
            answer.set_result(ask())
        except BaseException as exc:
            answer.set_exception(exc)

    threading.Thread(target=wait, daemon=True).start()
    while True:
        try:
            return answer.result(timeout=LOOK)
        except futures.TimeoutError:
            if death := died():
                return death
