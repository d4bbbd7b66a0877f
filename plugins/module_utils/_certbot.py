# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Getting a certificate with certbot: whether one is needed, whether the names lead here, and what certbot says."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ansible_collections.coralnet.server.plugins.module_utils._http import get
from ansible_collections.coralnet.server.plugins.module_utils._moment import UTC
from ansible_collections.coralnet.server.plugins.module_utils._run import Run

CHALLENGE = ".well-known/acme-challenge"
# The CA's faults that pass by themselves, and the network's
PASSING = re.compile(
    r"badNonce|serverInternal|JWS has an invalid anti-replay nonce|Connection(?: was)? (?:refused|reset|aborted)"
    r"|Remote end closed connection|timed out|Temporary failure in name resolution|Service Unavailable|Bad Gateway"
    r"|Gateway Time-?out|Max retries exceeded|Network is unreachable|Another instance of Certbot|busy|\b50[0234]\b",
    re.IGNORECASE,
)
# Some of what looks like one is for good, and a failed challenge ("Type: connection") is one of few that may be tried
LASTING = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|urn:ietf:params:acme:error:(?!badNonce|serverInternal)|\bType: +(?!serverInternal)"
)
HINTS = {
    "CERTIFICATE_VERIFY_FAILED": "the CA's API is not trusted: set letsencrypt_ca_bundle",
    "rateLimited": "wait as long as it says; Let's Encrypt gives five certificates for the same names in a week",
    "rejectedIdentifier": "this CA gives no certificate for that name: use a name under a domain of your own",
    r"(?:error:|Type: +)dns": "the name does not resolve for the CA: look at its A and AAAA records",
    r"(?:error:|Type: +)connection": "the CA cannot reach port 80: open it for all addresses",
    r"(?:error:|Type: +)unauthorized": "another server answers on port 80 of that name, by IPv4 or IPv6",
    r"(?:error:|Type: +)caa": "the domain's CAA record does not allow this CA",
}


class CertbotError(Exception):
    """There is no certificate; the message says why and what to do."""


@dataclass(frozen=True)
class Current:
    """The certificate that there is."""

    domains: frozenset[str]
    server: str
    begins: datetime
    ends: datetime


@dataclass(frozen=True)
class Wanted:
    """The certificate that there should be."""

    name: str
    domains: tuple[str, ...]
    server: str
    webroot: str
    email: str = ""
    key_arguments: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    renew_before_days: float | None = None

    def reason(self, current: Current | None, now: datetime) -> str:
        """Say why the CA must be asked; an empty string means that it need not."""
        if current is None:
            return "there is none"
        if current.domains != frozenset(self.domains):
            return f"it is for {', '.join(sorted(current.domains))}"
        if current.server != self.server:
            return f"it is from {current.server}"
        # A renewal that the timer could not do, since the account is lost for example, can be done so
        left, life = current.ends - now, current.ends - current.begins
        due = life / (2 if life < timedelta(days=10) else 3)
        if self.renew_before_days is not None:
            due = timedelta(days=self.renew_before_days)
        return f"it has {left.total_seconds() / 86400:.1f} days left" if left < due else ""

    def argv(self, certbot: str, current: Current | None) -> list[str]:
        """Give certbot's command line."""
        argv = [certbot, "certonly", "--non-interactive", "--agree-tos", "--server", self.server]
        argv += ["--email", self.email] if self.email else ["--register-unsafely-without-email"]
        argv += ["--webroot", "--webroot-path", self.webroot, "--cert-name", self.name]
        argv += [*self.key_arguments, "--renew-with-new-domains"]
        # Another CA's certificate is not a renewal of this one's, but certbot takes it for one that is not due
        moved = current is not None and current.server != self.server
        argv.append("--force-renewal" if moved else "--keep-until-expiring")
        for domain in self.domains:
            argv += ["--domain", domain]
        return [*argv, *self.arguments]


def read(directory: str, name: str, run: Run) -> Current | None:
    """Read the certificate of a name; none where it is missing or no certificate."""
    path = os.path.join(directory, "live", name, "cert.pem")
    lineage = os.path.join(directory, "renewal", f"{name}.conf")
    if not os.path.exists(path) or not os.path.exists(lineage):
        return None
    rc, out, _err = run(["openssl", "x509", "-noout", "-startdate", "-enddate", "-ext", "subjectAltName", "-in", path])
    begins, ends = (re.search(rf"{word}=(.*) GMT", out) for word in ("notBefore", "notAfter"))
    if rc != 0 or not begins or not ends:
        return None
    with open(lineage, encoding="utf-8") as file:
        server = re.search(r"(?m)^server *= *(\S+)", file.read())
    return Current(
        frozenset(re.findall(r"DNS:([^,\s]+)", out)), server[1] if server else "", _time(begins[1]), _time(ends[1])
    )


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%b %d %H:%M:%S %Y").replace(tzinfo=UTC)


# --- before the CA is asked


def addresses_of(name: str) -> set[str]:
    """Resolve a name."""
    try:
        found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise CertbotError(f"{name} does not resolve ({exc}): make its A record first, and run this again") from exc
    return {str(each[4][0]).partition("%")[0] for each in found}


def own_addresses(run: Run) -> set[str]:
    """List the host's own addresses."""
    _rc, out, _err = run(["ip", "-oneline", "address", "show", "scope", "global"])
    return set(re.findall(r"inet6? ([0-9a-f.:]+)", out))


def strangers(found: set[str], expected: list[str], own: set[str]) -> set[str]:
    """Name the addresses that lead elsewhere, as far as that can be known.

    A host behind address translation does not know its public address. A loopback address comes from the host's
    own /etc/hosts, and tells nothing about what others see.
    """
    here = {ipaddress.ip_address(each) for each in expected}
    if not here:
        here = {address for address in map(ipaddress.ip_address, own) if address.is_global}
    if not here:
        return set()
    seen = {address for address in map(ipaddress.ip_address, found) if not address.is_loopback}
    return {str(address) for address in seen - here}


def check_names(domains: tuple[str, ...], expected: list[str], own: set[str]) -> None:
    """Refuse names that lead elsewhere."""
    for name in domains:
        elsewhere = strangers(addresses_of(name), expected, own)
        if elsewhere:
            here = ", ".join(expected or sorted(own))
            raise CertbotError(
                f"{name} leads to {', '.join(sorted(elsewhere))}, and this host is {here}: mend its A and AAAA records,"
                " or name the address that visitors reach in letsencrypt_addresses"
            )


def check_challenge(domains: tuple[str, ...], webroot: str, front: str) -> None:
    """See that the web server hands out what is put into the webroot, under each name."""
    token = secrets.token_hex(16)
    with _file(os.path.join(webroot, CHALLENGE, f"self-check-{token}"), token) as path:
        for name in domains:
            answer = get(front, f"/{CHALLENGE}/{os.path.basename(path)}", {"Host": name}, 10)
            if answer.error or answer.status != 200 or answer.body != token:
                seen = answer.error or f"status {answer.status}"
                raise CertbotError(
                    f"port 80 does not serve the challenge for {name} ({seen}): the web server must have"
                    f" /{CHALLENGE}/ from {webroot} under that name, without a redirect"
                )


@contextlib.contextmanager
def _file(path: str, content: str) -> Iterator[str]:
    """Have a file that the web server can read, for a while."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(path, 0o644)
    except OSError as exc:
        raise CertbotError(f"the challenge cannot be written to {path}: {exc}") from exc
    try:
        yield path
    finally:
        os.unlink(path)


# --- asking


@dataclass
class Certbot:
    """Certbot on this host."""

    executable: str
    run: Run
    directory: str = "/etc/letsencrypt"
    logs: str = "/var/log/letsencrypt"
    sleep: Callable[[float], None] = field(default=time.sleep)

    def get(self, wanted: Wanted, current: Current | None, tries: int) -> int:
        """Get a certificate; return at which try."""
        number, forgotten = 1, False
        while True:
            log = self._log()
            rc, out, err = self.run(wanted.argv(self.executable, current))
            if rc == 0:
                return number
            # The distributions' certbot appends to it
            words = reasons(f"{out}\n{err}", self._log().removeprefix(log))
            # A CA that was set up anew knows nobody
            if not forgotten and "accountDoesNotExist" in words and self._forget_account(wanted.server):
                forgotten = True
                continue
            if number == tries or not passing(words):
                raise CertbotError(f"certbot got no certificate for {', '.join(wanted.domains)}: {explained(words)}")
            self.sleep(2 * 4 ** (number - 1))
            number += 1

    def _log(self) -> str:
        """Read certbot's log, which has what certbot 2.1 hides behind "can't set attribute"."""
        path = os.path.join(self.logs, "letsencrypt.log")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def _forget_account(self, server: str) -> bool:
        """Put the account that the CA does not know aside; certbot makes another."""
        path = os.path.join(self.directory, "accounts", *re.sub(r"^https?://", "", server).split("/"))
        if not os.path.isdir(path):
            return False
        os.rename(path, f"{path}.lost-{time.strftime('%Y%m%dT%H%M%S')}")
        return True


def reasons(output: str, log: str) -> str:
    """Put what the CA said before what certbot made of it."""
    said = re.findall(r"(?m)^acme\.messages\.Error: (.+)", log)
    details = re.findall(r"(?m)^ *(?:Domain|Type|Detail): .+", output)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    noise = r"Saving debug log|Ask for help|See the logfile|^- - -|Hint:|Requesting a certificate|Some challenges have"
    rest = [line for line in lines if not re.search(noise, line) and "can't set attribute" not in line]
    return " ".join(dict.fromkeys([*said, *(line.strip() for line in details), *([] if said or details else rest)]))


def passing(words: str) -> bool:
    return bool(PASSING.search(words)) and not LASTING.search(words)


def explained(words: str) -> str:
    hints = [hint for mark, hint in HINTS.items() if re.search(mark, words)]
    return f"{words} ({'; '.join(hints)})" if hints else words
