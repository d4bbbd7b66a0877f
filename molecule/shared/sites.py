"""One of several sites on a host: run a playbook on it, and ask for its pages as visitors do."""

from __future__ import annotations

import re
import shlex
import socket
import ssl
import subprocess
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any

from shared.visitor import ansible_on


@dataclass(frozen=True)
class Page:
    status: int
    text: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Site:
    name: str
    host: Any
    inventory_name: str
    address: str

    def play(self, playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a playbook as the site's operator does: with an inventory and nothing else."""
        words = ("ansible-playbook", "--limit", self.inventory_name, f"playbooks/{playbook}.yml", *arguments)
        return ansible_on((f"molecule/sites/inventories/{self.name}",), *words)

    def get(self, path: str, name: str = "", method: str = "GET", body: bytes = b"", **headers: str) -> Page:
        """Ask for a page over TLS."""
        host = name or f"{self.name}.test"
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        more = "".join(f"{key.replace('_', '-')}: {value}\r\n" for key, value in headers.items())
        more += f"Connection: close\r\nContent-Length: {len(body)}\r\n"
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"
        with (
            socket.create_connection((self.address, 443), timeout=30) as plain,
            anybody.wrap_socket(plain, server_hostname=host) as encrypted,
        ):
            encrypted.sendall(head.encode() + body)
            answer = HTTPResponse(encrypted, method=method)
            answer.begin()
            return Page(answer.status, answer.read().decode(), {key.lower(): text for key, text in answer.getheaders()})

    @property
    def version(self) -> str:
        page = self.get("/")
        assert page.status == 200, f"{page.status}: {page.text[:300]}"
        return re.findall(r"version (\S+?),", page.text)[0]

    @property
    def root(self) -> str:
        return f"/srv/www/{self.name}"

    @property
    def release(self) -> str:
        return str(self.host.check_output(f"basename $(readlink {self.root}/current)"))

    def run(self, command: str) -> str:
        """Run something in the site's environment."""
        return str(self.host.check_output(f"{self.root}/run sh -c {shlex.quote(command)}"))

    def ask(self, path: str, *options: str) -> str:
        """Ask the application itself, with nothing in front; returns the status."""
        words = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", *options]
        return str(self.host.check_output(shlex.join([*words, f"http://{self.name}.test{path}"])))
