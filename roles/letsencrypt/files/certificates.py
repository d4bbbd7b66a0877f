"""The host's certificates: kept, renewed in time, and really served.

    certificates show       each name: issuer, days left, next renewal, and what every service serves
    certificates check      have every service that serves an old one load the new one; fail where anything is wrong
    certificates prepare    before a renewal: tell certbot when each is due, and keep a copy of /etc/letsencrypt
    certificates alert UNIT tell the admin that a unit failed

What there is stands in /etc/certificates.json, which the role letsencrypt writes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import smtplib
import socket
import ssl
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from email.message import EmailMessage
from pathlib import Path
from typing import Any

UTC = timezone.utc  # noqa: UP017  # Python 3.10 has no other name for it
CONFIG = Path("/etc/certificates.json")
LETSENCRYPT = Path("/etc/letsencrypt")
OWN = Path("/etc/ssl/certificates")
BACKUPS = Path("/var/backups/letsencrypt")
LOG = Path("/var/log/letsencrypt/letsencrypt.log")
LOADED = Path("/var/lib/certificates")
SENDMAIL = Path("/usr/sbin/sendmail")
# A service has loaded a certificate this many seconds after its reload, or never will
PATIENCE = 15


class CertificateError(Exception):
    """A certificate that cannot be used; the message says why."""


def run(argv: list[str], text: str = "", timeout: float = 60) -> str:
    """Run a command and return what it printed; what it complained of is the error's message."""
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise CertificateError(f"{argv[0]} did not end within {timeout} s") from None
    if done.returncode != 0:
        raise CertificateError(f"{' '.join(argv[:3])}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


# --- certificates on disk


@dataclass(frozen=True)
class Certificate:
    """One certificate, as it is on disk."""

    name: str
    domains: tuple[str, ...]
    issuer: str
    begins: datetime
    ends: datetime
    fingerprint: str

    @property
    def lifetime(self) -> timedelta:
        """How long it is valid in all."""
        return self.ends - self.begins

    def left(self, now: datetime) -> timedelta:
        """How long it is still valid."""
        return self.ends - now


def directory(name: str, *, own: bool) -> Path:
    """Where a certificate is."""
    return OWN / name if own else LETSENCRYPT / "live" / name


def read(name: str, *, own: bool) -> Certificate:
    """Read a certificate with its key, which must belong together."""
    path, key = directory(name, own=own) / "fullchain.pem", directory(name, own=own) / "privkey.pem"
    if not path.exists() or not key.exists():
        raise CertificateError(f"there is no {path if not path.exists() else key}: it was never issued")
    text = run(
        ["openssl", "x509", "-noout", "-in", str(path), "-issuer", "-nameopt", "sep_multiline,utf8,lname",
         "-startdate", "-enddate", "-ext", "subjectAltName", "-pubkey"],
    )  # fmt: skip
    if run(["openssl", "pkey", "-pubout", "-in", str(key)]).strip() not in text:
        raise CertificateError(f"{key} is not the key of {path}")
    return Certificate(
        name=name,
        domains=tuple(re.findall(r"DNS:([^,\s]+)", text)),
        issuer=(re.findall(r"commonName=(.*)", text) or re.findall(r"organizationName=(.*)", text) or ["?"])[0],
        begins=when(text, "notBefore"),
        ends=when(text, "notAfter"),
        fingerprint=fingerprint(ssl.PEM_cert_to_DER_cert(first(path.read_text()))),
    )


def first(chain: str) -> str:
    """Cut the first certificate out of a chain."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return begin + chain.partition(begin)[2].partition(end)[0] + end


def when(text: str, word: str) -> datetime:
    """Read one of the dates that openssl prints."""
    return datetime.strptime(re.findall(rf"{word}=(.*) GMT", text)[0], "%b %d %H:%M:%S %Y").replace(tzinfo=UTC)


def fingerprint(der: bytes) -> str:
    """Tell one certificate from another."""
    return hashlib.sha256(der).hexdigest()


def renew_before(lifetime: timedelta, days: float | None) -> timedelta:
    """How long before its end a certificate is due: a third of its life, half of a short one's."""
    if days is not None:
        return timedelta(days=days)
    return lifetime / (2 if lifetime < timedelta(days=10) else 3)


# --- certificates as services serve them


def served(service: dict[str, Any], domain: str) -> str:
    """Ask a service for a name's certificate, as a client does, and return its fingerprint."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address = (service["address"], service["port"])
    if service["protocol"] == "smtp":
        with smtplib.SMTP(timeout=10) as client:
            client.connect(*address)
            client._host = domain  # type: ignore[attr-defined]  # the name that is asked for
            client.starttls(context=context)
            return fingerprint(client.sock.getpeercert(binary_form=True) or b"")  # type: ignore[union-attr]
    with (
        socket.create_connection(address, timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=domain) as encrypted,
    ):
        return fingerprint(encrypted.getpeercert(binary_form=True) or b"")


def differing(service: dict[str, Any], certificate: Certificate) -> str:
    """Say how what a service serves differs from what is on disk; nothing where it is the same."""
    if not service["port"]:
        known = certificate.fingerprint in loaded(service["unit"])
        return "" if known else f"{service['unit']} was not reloaded since {certificate.name} came"
    where = f"{service['unit']} on port {service['port']}"
    for domain in certificate.domains:
        if domain.startswith("*."):
            continue
        try:
            if served(service, domain) != certificate.fingerprint:
                return f"{where} serves another certificate for {domain} than is on disk"
        except (OSError, smtplib.SMTPException) as exc:
            return f"{where} serves no certificate for {domain}: {exc}"
    return ""


# --- all of them


@dataclass
class State:
    """What there should be, and what there is."""

    config: dict[str, Any]
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        """Read every certificate."""
        self.found: list[Certificate] = []
        self.complaints: list[str] = []
        names = [(each["name"], False) for each in self.config["certificates"]]
        for name, own in [*names, *((name, True) for name in self.config["own"])]:
            try:
                certificate = read(name, own=own)
            except (CertificateError, ValueError) as exc:
                self.complaints.append(f"{name}: {exc}")
                continue
            self.found.append(certificate)
            self.complaints += self._wrong(certificate)

    def _wrong(self, certificate: Certificate) -> Iterator[str]:
        """Say what is wrong with a certificate in itself."""
        left = certificate.left(self.now)
        wanted = [each["domains"] for each in self.config["certificates"] if each["name"] == certificate.name]
        missing = {name for names in wanted for name in names} - set(certificate.domains)
        if missing:
            yield f"{certificate.name}: it is not for {', '.join(sorted(missing))}: run site.yml"
        if left <= timedelta(0):
            yield f"{certificate.name}: it ended on {certificate.ends:%Y-%m-%d %H:%M} UTC"
        elif left < self._renewed_by(certificate) * 2 / 3:
            yield f"{certificate.name}: {left.total_seconds() / 86400:.1f} days left, its renewal is overdue"

    def _renewed_by(self, certificate: Certificate) -> timedelta:
        """How long before its end a certificate that is renewed in time has been."""
        usual = renew_before(certificate.lifetime, None)
        if certificate.name in self.config["own"]:
            return usual
        return min(usual, renew_before(certificate.lifetime, self.config["renew_before_days"]))

    def pairs(self) -> Iterator[tuple[dict[str, Any], Certificate]]:
        """Give each service with each certificate that it uses."""
        for service in self.config["services"]:
            for certificate in self.found:
                if not service["certificates"] or certificate.name in service["certificates"]:
                    yield service, certificate

    def stale(self) -> dict[str, str]:
        """Name the units that serve something else than is on disk, and why that is known."""
        units: dict[str, str] = {}
        for service, certificate in self.pairs():
            reason = differing(service, certificate)
            if reason:
                units.setdefault(service["unit"], reason)
        return units

    def note(self, unit: str) -> None:
        """Remember what a unit that cannot be asked was reloaded with."""
        LOADED.mkdir(mode=0o755, exist_ok=True)
        mine = [each.fingerprint for service, each in self.pairs() if service["unit"] == unit]
        (LOADED / unit).write_text("".join(f"{each}\n" for each in mine))


def loaded(unit: str) -> list[str]:
    """Recall what a unit that cannot be asked was reloaded with."""
    path = LOADED / unit
    return path.read_text().split() if path.exists() else []


def check(state: State, say: Callable[[str], None]) -> None:
    """Have the services load what is on disk, and complain of those that do not."""
    for unit in state.stale():
        say(f"Reloading {unit}")
        try:
            run(["systemctl", "try-reload-or-restart", unit])
        except CertificateError as exc:
            state.complaints.append(f"{unit} could not be reloaded: {exc}")
        else:
            state.note(unit)
    deadline = time.monotonic() + PATIENCE
    while (left := state.stale()) and time.monotonic() < deadline:
        time.sleep(0.3)
    state.complaints += left.values()
    state.complaints += failed_hooks(last_run())


def table(state: State) -> list[list[str]]:
    """Show every name of every certificate in a row of its own."""
    rows = [["name", "issuer", "days left", "next renewal", "served"]]
    for certificate in state.found:
        own = certificate.name in state.config["own"]
        due = certificate.ends - renew_before(certificate.lifetime, state.config["renew_before_days"])
        renewal = "by hand" if own else "due" if due < state.now else f"{due:%Y-%m-%d}"
        days = f"{certificate.left(state.now).total_seconds() / 86400:.1f}"
        for domain in certificate.domains:
            words = []
            for service, used in state.pairs():
                if used is certificate:
                    port = f":{service['port']}" if service["port"] else ""
                    same = not differing(service, replace(certificate, domains=(domain,)))
                    words.append(f"{service['unit']}{port} {'yes' if same else 'no'}")
            rows.append([domain, certificate.issuer, days, renewal, ", ".join(words) or "-"])
    return rows


def aligned(rows: list[list[str]]) -> str:
    """Lay a table out."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


# --- before a renewal


def with_due_time(text: str, due: timedelta | None) -> str:
    """Write into a lineage's file how long before its end certbot shall renew, or leave that to certbot."""
    kept = re.sub(r"(?m)^#? ?renew_before_expiry *=.*\n", "", text)
    return kept if due is None else f"renew_before_expiry = {round(due.total_seconds() / 60)} minutes\n{kept}"


def prepare(state: State, say: Callable[[str], None]) -> None:
    """Tell certbot when each certificate is due, since its own default fits lives of 90 days alone; keep a copy."""
    days = state.config["renew_before_days"]
    for certificate in state.found:
        path = LETSENCRYPT / "renewal" / f"{certificate.name}.conf"
        if certificate.name in state.config["own"] or not path.exists():
            continue
        by_certbot = state.config["ari"] and days is None
        old = path.read_text()
        new = with_due_time(old, None if by_certbot else renew_before(certificate.lifetime, days))
        if new != old:
            fresh = path.with_name(f".{path.name}.new")
            fresh.write_text(new)
            fresh.chmod(path.stat().st_mode & 0o7777)
            fresh.replace(path)
            say(f"Set when {certificate.name} is due")
    copy = backup(LETSENCRYPT, BACKUPS, state.config["keep_backups"], state.now)
    if copy:
        say(f"Copied {LETSENCRYPT} to {copy}")


def digest(folder: Path) -> str:
    """Sum up what is in a directory: names, links and contents."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        total.update(f"{path.relative_to(folder)}\0{len(content)}\0".encode() + content)
    return total.hexdigest()[:16]


def backup(folder: Path, target: Path, keep: int, now: datetime) -> Path | None:
    """Copy a directory into an archive that is root's alone, unless the newest copy is the same."""
    if not folder.exists():
        return None
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = sorted(target.glob("*.tar.gz"))
    mark = digest(folder)
    if kept and kept[-1].name.endswith(f"-{mark}.tar.gz"):
        return None
    path = target / f"{now:%Y%m%dT%H%M%SZ}-{mark}.tar.gz"
    # One name for all, so that nothing is left of a copy for which there was no room
    fresh = target / ".new"
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600, exist_ok=False)
    with tarfile.open(fresh, "w:gz") as archive:
        archive.add(folder, arcname=str(folder).lstrip("/"))
    fresh.replace(path)
    for old in [*kept, path][:-keep]:
        old.unlink()
    return path


# --- after a failure


def certbots_words(log: str) -> str:
    """Find what the CA said in certbot's log, which certbot itself may hide."""
    words = r"^(?:acme\.messages\.Error: (.+)| +((?:Domain|Type|Detail): .+))"
    return "\n".join(dict.fromkeys(said or failed for said, failed in re.findall(words, log, re.MULTILINE)))


def failed_hooks(log: str) -> list[str]:
    """Find the hooks that failed, which is a success for certbot."""
    ran = re.findall(r"Running \S+ command: (.+)\n(?:(?!.*Running \S+ command).*\n)*?.*reported error code (\d+)", log)
    return [f"certbot's hook {command} ended with exit code {code}" for command, code in ran]


def last_run() -> str:
    """Read what certbot logged in its last run; the distribution's appends to one file for a week."""
    log = LOG.read_text(errors="replace") if LOG.exists() else ""
    return log.rpartition(":certbot version: ")[2]


def journal(unit: str) -> str:
    """Read what a unit had to say when it ran last."""
    run_id = run(["systemctl", "show", "--property=InvocationID", "--value", unit]).strip()
    return run(["journalctl", f"_SYSTEMD_INVOCATION_ID={run_id}", "+", f"INVOCATION_ID={run_id}", "--lines", "40",
                "--no-pager", "--output", "cat"])  # fmt: skip


def alert(config: dict[str, Any], unit: str) -> None:
    """Tell the admin, by the inventory's own command and by mail."""
    host = socket.getfqdn()
    text = journal(unit)
    if unit.startswith("certbot") and (words := certbots_words(last_run())):
        text += f"\nThe CA said:\n{words}\n"
    text = f"{unit} failed on {host}. The certificates there go on as they are until they end.\n\n{text}"
    failures = []
    if config["alert_command"]:
        try:
            run([*config["alert_command"], unit], text)
        except (CertificateError, OSError) as exc:
            failures.append(f"the alert command: {exc}")
    if config["alert_email"]:
        message = EmailMessage()
        message["To"], message["Subject"] = config["alert_email"], f"{unit} failed on {host}"
        message.set_content(text)
        try:
            run([str(SENDMAIL), "-oi", "-t"], message.as_string())
        except (CertificateError, OSError) as exc:
            failures.append(f"mail to {config['alert_email']}: {exc}")
    if failures:
        raise CertificateError("not told: " + "; ".join(failures))


def main() -> int:
    """Do what the command line says; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description="The host's certificates.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("show", "check", "prepare"):
        verbs.add_parser(verb)
    verbs.add_parser("alert").add_argument("unit")
    arguments = parser.parse_args()
    config = json.loads(CONFIG.read_text())

    def say(line: str) -> None:
        print(line, flush=True)

    if arguments.verb == "alert":
        try:
            alert(config, arguments.unit)
        except CertificateError as exc:
            print(exc, file=sys.stderr)
            return 1
        return 0
    state = State(config)
    if arguments.verb == "prepare":
        try:
            prepare(state, say)
        except OSError as exc:
            print(f"{LETSENCRYPT} could not be prepared and copied to {BACKUPS}: {exc}", file=sys.stderr)
            return 1
        return 0
    if arguments.verb == "check":
        check(state, say)
    else:
        say(aligned(table(state)))
        state.complaints += state.stale().values()
    for complaint in state.complaints:
        print(complaint, file=sys.stderr)
    return 1 if state.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
