"""A CA beside a host, what the host serves, and the units that look after its certificates."""

from __future__ import annotations

import hashlib
import json
import re
import smtplib
import socket
import ssl
import time
from email.message import Message
from http.client import HTTPResponse
from typing import Any

import testinfra

LIVE = "/etc/letsencrypt/live/reef"


class Acme:
    """Pebble and the DNS that it asks, in the container beside the host."""

    def __init__(self, name: str) -> None:
        self._host = testinfra.get_host(f"docker://{name}-acme")

    def run(self, command: str) -> str:
        return str(self._host.run_expect([0], command).stdout)

    def dns(self, verb: str, **values: Any) -> None:
        """Change what a name resolves to: `dns("set-servfail", host="reef.test")`."""
        self.run(f"curl --silent --fail --data '{json.dumps(values)}' http://127.0.0.1:8055/{verb}")

    def restart(self, environment: str = "PEBBLE_WFE_NONCEREJECT=0", **config: Any) -> None:
        """Begin anew: with no account, other keys, and what is given in its configuration."""
        settings = {"certificateValidityPeriod": 7776000, "domainBlocklist": ["refused.test"], **config}
        self.run(f"echo '{environment}' >/etc/pebble/env")
        change = f"import json; p='/etc/pebble/config.json'; c=json.load(open(p)); c['pebble'].update({settings!r})"
        self.run(f"python3 -c \"{change}; json.dump(c, open(p, 'w'))\" && systemctl restart pebble")
        asked = "curl -sf --cacert /etc/pebble/ca.pem https://localhost:14000/dir"
        self.run(f"for _try in $(seq 100); do {asked} && exit; sleep 0.2; done; exit 1")


def fingerprint(certificate: bytes | None) -> str:
    assert certificate
    return hashlib.sha256(certificate).hexdigest()


def anybody() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Served:
    """What the host's services show to a client, as it comes over the network."""

    def __init__(self, host: Any, address: str) -> None:
        self._host, self._address = host, address

    @property
    def disk(self) -> str:
        return fingerprint(ssl.PEM_cert_to_DER_cert(self._host.file(f"{LIVE}/cert.pem").content_string))

    def page(self, path: str) -> tuple[int, Message, bytes]:
        """Get a page of the site over TLS."""
        with (
            socket.create_connection((self._address, 443), timeout=10) as plain,
            anybody().wrap_socket(plain, server_hostname="reef.test") as encrypted,
        ):
            encrypted.sendall(f"GET {path} HTTP/1.1\r\nHost: reef.test\r\nConnection: close\r\n\r\n".encode())
            answer = HTTPResponse(encrypted)
            answer.begin()
            return answer.status, answer.headers, answer.read()

    @property
    def nginx(self) -> str:
        with (
            socket.create_connection((self._address, 443), timeout=10) as plain,
            anybody().wrap_socket(plain, server_hostname="reef.test") as encrypted,
        ):
            return fingerprint(encrypted.getpeercert(binary_form=True))

    @property
    def postfix(self) -> str:
        with smtplib.SMTP(self._address, timeout=10) as client:
            client.starttls(context=anybody())
            assert isinstance(client.sock, ssl.SSLSocket)
            return fingerprint(client.sock.getpeercert(binary_form=True))


def result(host: Any, unit: str) -> str:
    """Wait until a unit that runs once has, and say how it ended."""
    for _try in range(300):
        state = host.check_output(f"systemctl show --property=ActiveState --value {unit}")
        if state not in ("activating", "deactivating"):
            return str(host.check_output(f"systemctl show --property=Result --value {unit}"))
        time.sleep(0.2)
    raise AssertionError(f"{unit} does not end")


def timers(host: Any) -> list[str]:
    """List the timers that have to do with certificates."""
    found = json.loads(host.check_output("systemctl list-timers --all --plain --no-legend --output json"))
    return sorted(timer["unit"] for timer in found if "cert" in timer["unit"])


def exposure(host: Any, unit: str) -> float:
    """Ask systemd how exposed a unit is, from 0 to 10."""
    said = host.run(f"systemd-analyze security --no-pager {unit}").stdout
    return float(re.findall(r"exposure level for .*: ([\d.]+)", said)[0])
