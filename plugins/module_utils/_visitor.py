# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Somebody with a browser: keeps cookies, fills forms in, follows redirects."""

from __future__ import annotations

import re
import secrets
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.cookiejar import CookieJar
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import Request

from ansible_collections.coralnet.server.plugins.module_utils._http import Answer, send
from ansible_collections.coralnet.server.plugins.module_utils._page import Form, Page

REDIRECTS = (301, 302, 303, 307, 308)
FAR = 10
"""Redirects after which nobody believes in an end."""


class VisitError(Exception):
    """A page could not be visited, or has not what it should have; its own words may say more."""

    def __init__(self, message: str, words: str = "") -> None:
        super().__init__(message)
        self.words = words


@dataclass(frozen=True)
class Site:
    """Where a site is asked, and how."""

    host: str
    front: str = ""
    app: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What the front adds to the requests that the application gets."""
    timeout: float = 30
    validate_certs: bool = True

    @property
    def scheme(self) -> str:
        told = {name.lower(): value for name, value in self.headers.items()}.get("x-forwarded-proto")
        return urlsplit(self.front).scheme or told or "http"

    def path(self, address: str) -> str:
        """Give the path of an address of this site; an address elsewhere is an error."""
        url = urlsplit(address)
        if url.netloc and url.netloc != self.host:
            raise VisitError(f"it leads to {address}, and the site is {self.host}")
        return (url.path or "/") + (f"?{url.query}" if url.query else "")


@dataclass(frozen=True)
class Visit:
    """A page that was opened."""

    path: str
    answer: Answer
    layer: str = "front"


class _Response:
    """An answer as the standard library's jar of cookies wants it."""

    def __init__(self, answer: Answer) -> None:
        self._message = Message()
        for line in answer.cookies:
            self._message["Set-Cookie"] = line

    def info(self) -> Message:
        return self._message


class Visitor:
    """One person with one browser."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._jar = CookieJar()
        self.had: dict[str, set[str]] = {}
        """Every cookie that the site ever gave, by name."""

    def open(
        self, address: str, layer: str = "front", host: str = "", headers: Mapping[str, str] | None = None
    ) -> Visit:
        return self._ask(layer, "GET", self._site.path(address), {**(headers or {}), "Host": host or self._site.host})

    def follow(self, visit: Visit) -> Visit:
        """Go where redirects lead, as long as it is on this site."""
        for _redirect in range(FAR):
            if visit.answer.status not in REDIRECTS:
                return visit
            address = urljoin(self._url(visit.path), visit.answer.headers.get("location", ""))
            visit = self._ask(visit.layer, "GET", self._site.path(address), {"Host": self._site.host})
        raise VisitError(f"redirects without an end, at last to {visit.path}")

    def submit(self, visit: Visit, form: Form, fields: Mapping[str, str], files: Mapping[str, str]) -> Visit:
        """Fill a form of a page in and send it."""
        values = {**form.fields, **{name: form.choose(name, value) for name, value in fields.items()}}
        url = self._url(visit.path)
        headers = {"Host": self._site.host, "Referer": url, "Origin": f"{self._site.scheme}://{self._site.host}"}
        path = self._site.path(urljoin(url, form.action))
        if files and form.encoding != "multipart/form-data":
            raise VisitError("the form does not say that it sends files (enctype), so no browser would send any")
        if form.method != "post":
            return self._ask(visit.layer, "GET", f"{path.partition('?')[0]}?{urlencode(values)}", headers)
        headers["Content-Type"], body = encode(values, files)
        return self._ask(visit.layer, "POST", path, headers, body)

    def _url(self, path: str) -> str:
        return f"{self._site.scheme}://{self._site.host}{path}"

    def _ask(self, layer: str, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Visit:
        site = self._site
        request = Request(self._url(path))  # noqa: S310  # never sent: the jar asks it what it would be
        self._jar.add_cookie_header(request)
        cookie = request.get_header("Cookie")
        headers = {**(site.headers if layer == "app" else {}), **headers, **({"Cookie": cookie} if cookie else {})}
        where = site.app if layer == "app" else site.front
        answer = send(where, method, path, headers, site.timeout, site.validate_certs, body)
        self._jar.extract_cookies(_Response(answer), request)  # type: ignore[arg-type]  # all that it asks for
        for kept in self._jar:
            self.had.setdefault(kept.name, set()).add(kept.value or "")
        return Visit(path, answer, layer)


def find_form(page: Page, names: set[str], action: str) -> Form:
    """Choose the form that has all these fields and leads to the action, a regular expression."""
    for form in page.forms:
        if form.takes(names) and re.search(action, form.action):
            return form
    wanted = " and ".join(sorted(names)) or "a button"
    raise VisitError(f"the page has no form with {wanted}" + (f" for {action!r}" if action else ""))


def encode(fields: Mapping[str, str], files: Mapping[str, str]) -> tuple[str, bytes]:
    """Encode a form; a file is a picture made for the occasion, under the given name."""
    if not files:
        return "application/x-www-form-urlencoded", urlencode(fields).encode()
    boundary = f"----{secrets.token_hex(16)}"
    parts = [(f'name="{name}"', value.encode()) for name, value in fields.items()]
    parts += [
        (f'name="{field_name}"; filename="{name}"\r\nContent-Type: image/png', png())
        for field_name, name in files.items()
    ]
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
        for head, content in parts
    )
    return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()


def png(side: int = 64) -> bytes:
    """Make a square picture that no other is like."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    lines = b"".join(b"\0" + secrets.token_bytes(3 * side) for _line in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
