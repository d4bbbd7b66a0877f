# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Will this host's mail be taken for what it is? DNS, the host's own words, port 25, the queue, the last deliveries."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import smtplib
import ssl
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.coralnet.server.plugins.module_utils._run import Run

OK, LOOK, WRONG = "ok", "look", "wrong"
STRICTNESS = {"none": 0, "quarantine": 1, "reject": 2}


class DnsError(Exception):
    """The DNS server gave no answer, which is not the same as that there is no record."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether it is as it should be, and what was found."""

    check: str
    state: str
    found: str


@dataclass(frozen=True)
class Dns:
    """Asks with dig: the host's own server where no address is given."""

    run: Run
    server: str = ""

    def ask(self, name: str, kind: str) -> list[str]:
        options = ["+noall", "+comments", "+answer", "+time=5", "+tries=2"]
        argv = ["dig", *options, *([f"@{self.server}"] if self.server else []), name, kind]
        rc, out, err = self.run(argv)
        status = re.search(r"status: (\w+)", out)
        if rc != 0 or not status:
            raise DnsError(f"no answer about {name}: {(err or out).strip(' ;') or rc}")
        if status[1] not in ("NOERROR", "NXDOMAIN"):
            raise DnsError(f"the DNS server says {status[1]} to {name}")
        rows = [line.split(None, 4) for line in out.splitlines() if line and not line.startswith(";")]
        return [_text(row[4]) if kind == "TXT" else row[4].rstrip(".").lower() for row in rows if row[3] == kind]


def _text(data: str) -> str:
    return re.sub(r"\\(.)", r"\1", "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', data)))


def _tags(record: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in record.split(";") if "=" in part)
    return {name.strip().lower(): re.sub(r"\s", "", value) for name, _equals, value in pairs}


def _only(kind: str, records: list[str]) -> tuple[str, str]:
    """Give the one record that there may be, or what is wrong."""
    if len(records) == 1:
        return records[0], ""
    return (
        "",
        f"there is no {kind} record" if not records else f"there are {len(records)} {kind} records, one is allowed",
    )


def judge_spf(wanted: str, published: list[str]) -> tuple[str, str]:
    record, complaint = _only("SPF", [text for text in published if text.lower().split(" ")[0] == "v=spf1"])
    missing = [term for term in wanted.split() if term not in record.split() and not re.fullmatch(r"[-~?+]?all", term)]
    if complaint or missing:
        return WRONG, complaint or f"{record} lacks {' '.join(missing)}"
    return (OK if re.search(r"[-~]all$|redirect=", record) else LOOK), record


def judge_dkim(wanted: str, published: list[str]) -> tuple[str, str]:
    record, complaint = _only("DKIM", published)
    if complaint:
        return WRONG, complaint
    return (OK, "the key of this host") if _tags(record).get("p") == _tags(wanted)["p"] else (WRONG, "another key")


def judge_dmarc(wanted: str, published: list[str]) -> tuple[str, str]:
    record, complaint = _only("DMARC", [text for text in published if text.startswith("v=DMARC1")])
    least, policy = _tags(wanted)["p"], _tags(record).get("p", "")
    if complaint or STRICTNESS.get(policy, -1) < STRICTNESS[least]:
        return WRONG, complaint or f"{record} is less than p={least}"
    return OK, record


def check_records(dns: Dns, records: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Compare what is published, by name, with what should be."""
    for name, wanted in records:
        judge = judge_dmarc if name.startswith("_dmarc.") else judge_dkim if "._domainkey." in name else judge_spf
        kind = judge.__name__.removeprefix("judge_").upper()
        try:
            state, found = judge(wanted, dns.ask(name, "TXT"))
        except DnsError as exc:
            state, found = WRONG, str(exc)
        yield Finding(f"{kind} {name}", state, found)


def check_name(dns: Dns, hostname: str, ipv6: bool) -> Iterator[Finding]:
    """The name leads to addresses, and each of them back: many servers refuse mail otherwise."""
    check = f"name {hostname}"
    try:
        addresses = [*dns.ask(hostname, "A"), *(dns.ask(hostname, "AAAA") if ipv6 else [])]
        if not addresses:
            yield Finding(check, WRONG, "it has no address")
        for address in addresses:
            back = dns.ask(ipaddress.ip_address(address).reverse_pointer, "PTR")
            good = hostname.lower() in back
            yield Finding(check, OK if good else WRONG, f"{address} leads back to {', '.join(back) or 'nothing'}")
    except DnsError as exc:
        yield Finding(check, WRONG, str(exc))


def check_greeting(hostname: str, certificate: str, address: str = "127.0.0.1", port: int = 25) -> Iterator[Finding]:
    """What Postfix says of itself, and whether it has the certificate that is on disk."""
    try:
        with smtplib.SMTP(address, port, timeout=20) as server:
            _code, words = server.ehlo()
            name = words.decode("utf-8", "replace").split()[0]
            yield Finding("HELO", OK if name == hostname else WRONG, name)
            if certificate:
                _starttls(server)
                served = hashlib.sha256(server.sock.getpeercert(True) or b"").hexdigest()  # type: ignore[union-attr]  # TLS now
                with open(certificate, encoding="ascii") as file:
                    text = file.read().partition("-----END CERTIFICATE-----")
                on_disk = hashlib.sha256(ssl.PEM_cert_to_DER_cert("".join(text[:2]))).hexdigest()
                same = served == on_disk
                yield Finding(
                    "certificate",
                    OK if same else WRONG,
                    certificate if same else f"Postfix has not loaded {certificate}",
                )
    except (OSError, ValueError, smtplib.SMTPException) as exc:
        yield Finding("Postfix", WRONG, f"port {port} of this host: {exc}")


def _starttls(server: smtplib.SMTP) -> str:
    """Start TLS, and name its version; who the other is does not matter here."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    server.starttls(context=context)
    return str(server.sock.version())  # type: ignore[union-attr]  # it is a TLS socket now


def next_hop(dns: Dns, destination: str) -> tuple[str, int]:
    """Find the server for a destination as Postfix writes it: a domain by its MX, a host in brackets by itself."""
    match = re.fullmatch(r"(\[)?([^\[\]:]+)\]?(?::(\d+))?", destination)
    if not match:
        raise DnsError(f"{destination} is neither a domain nor [a host]:port")
    host, port = match[2], int(match[3] or 25)
    if not match[1]:
        ranked = sorted((int(rank), name) for rank, name in (row.split() for row in dns.ask(host, "MX")))
        host = ranked[0][1] if ranked else host
    return host, port


def check_port(dns: Dns, destination: str) -> Finding:
    """Speak with a server out there: clouds keep port 25 closed until they are asked."""
    try:
        host, port = next_hop(dns, destination)
        address = host if re.fullmatch(r"[0-9.]+", host) else next(iter(dns.ask(host, "A")), "")
        if not address:
            return Finding(f"port to {destination}", WRONG, f"{host} has no address")
        check = f"port {port} to {host}"
        with smtplib.SMTP(address, port, timeout=20) as server:
            server.ehlo()
            if not server.has_extn("starttls"):
                return Finding(check, LOOK, f"{address} answers, and has no TLS")
            return Finding(check, OK, f"{address} answers, {_starttls(server)}")
    except DnsError as exc:
        return Finding(f"port to {destination}", WRONG, str(exc))
    except (OSError, smtplib.SMTPException) as exc:
        return Finding(check, WRONG, f"{address}: {exc}")


def check_queue(run: Run, limit: int) -> Finding:
    rc, out, err = run(["postqueue", "-j"])
    if rc != 0:
        return Finding("queue", WRONG, err.strip())
    messages = [json.loads(line) for line in out.splitlines()]
    if not messages:
        return Finding("queue", OK, "empty")
    age = time.time() - min(message["arrival_time"] for message in messages)
    reasons = Counter(
        each["delay_reason"] for message in messages for each in message["recipients"] if "delay_reason" in each
    )
    words = f"{len(messages)} waiting, the oldest for {age / 3600:.1f} h"
    if reasons:
        words += f", mostly: {reasons.most_common(1)[0][0]}"
    return Finding("queue", WRONG if len(messages) > limit else LOOK, words)


@dataclass(frozen=True)
class Delivery:
    """One try to hand a message over."""

    time: float
    recipient: str
    relay: str
    status: str
    tls: str
    words: str


CONNECTED = re.compile(r"TLS connection established to (\S+): (TLSv[\d.]+)")
TRIED = re.compile(r"^(\w+): to=<(.*?)>,.* relay=(\S+?),.* status=(\w+) \((.*)\)$")


def deliveries(lines: Iterable[str]) -> list[Delivery]:
    """Read what Postfix's smtp processes wrote to the journal: the connection first, then what came of each message."""
    found = []
    # Of each process: the server it speaks TLS with, the version, and the message that the connection was made for
    connections: dict[str, tuple[str, str, str]] = {}
    for line in lines:
        entry: dict[str, Any] = json.loads(line)
        words, pid = str(entry.get("MESSAGE", "")), str(entry.get("_PID") or entry.get("SYSLOG_PID", ""))
        if made := CONNECTED.search(words):
            connections[pid] = (made[1], made[2], "")
        elif tried := TRIED.search(words):
            message, recipient, relay, status, answer = tried.groups()
            peer, version, bound = connections.get(pid, ("", "", ""))
            tls = version if peer == relay and bound in ("", message) else ""
            if tls:
                connections[pid] = (peer, version, message)
            moment = int(entry.get("__REALTIME_TIMESTAMP", 0)) / 1e6
            found.append(Delivery(moment, recipient, relay.partition("[")[0], status, tls, answer))
    return found


def check_deliveries(tried: list[Delivery], show: int = 5) -> Iterator[Finding]:
    """Sum the last ones up. Nothing that was tried and got through is wrong; one among many is to be looked at."""
    if not tried:
        yield Finding("deliveries", LOOK, "none in the last day")
        return
    counts = Counter(delivery.status for delivery in tried)
    sent = [delivery for delivery in tried if delivery.status == "sent"]
    state = OK if len(sent) == len(tried) else LOOK if sent else WRONG
    yield Finding("deliveries", state, ", ".join(f"{number} {status}" for status, number in counts.most_common()))
    if sent:
        clear = sum(not delivery.tls for delivery in sent)
        versions = Counter(delivery.tls or "in clear" for delivery in sent)
        words = ", ".join(f"{number} {version}" for version, number in versions.most_common())
        yield Finding("TLS of deliveries", LOOK if clear else OK, words)
    for delivery in tried[-show:]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(delivery.time))
        words = f"{delivery.status} to {delivery.recipient.rpartition('@')[2]} by {delivery.relay}"
        reason = "" if delivery.status == "sent" else f": {delivery.words}"
        yield Finding(
            f"  {when} UTC", OK if delivery.status == "sent" else LOOK, f"{words}, {delivery.tls or 'in clear'}{reason}"
        )


def check_services(run: Run, services: list[str]) -> Iterator[Finding]:
    for service in services:
        rc, out, _err = run(["systemctl", "is-active", service])
        yield Finding(service, OK if rc == 0 else WRONG, out.strip())


def table(findings: list[Finding]) -> list[str]:
    """Write the findings one below the other."""
    width = max((len(finding.check) for finding in findings), default=0)
    return [f"{finding.state:<5}  {finding.check:<{width}}  {finding.found}" for finding in findings]
