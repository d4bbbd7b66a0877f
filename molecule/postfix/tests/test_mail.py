"""Mail sent as a Django site sends it, followed to the one who reads it."""

from __future__ import annotations

import email
import fcntl
import json
import re
import shlex
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from email.message import Message
from typing import Any
from uuid import uuid4

import pytest
import testinfra
from shared.visitor import ROOT, changed

VISIT = "python3 /srv/visit.py"

RECEIVER = "coralnet-postfix-receiver"
INVENTORY = ROOT / "molecule" / "postfix" / "inventory"
LOCK = ROOT / ".lab" / "receiver.lock"
SEND = """
import smtplib, sys
from email.message import EmailMessage
sender, *recipients = sys.argv[1:]
with smtplib.SMTP("localhost", 25, timeout=30) as server:
    for recipient in recipients:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, recipient, "Reef"
        message.set_content("A reef is a ridge.")
        server.send_message(message)
"""
PROBE = """
import smtplib, sys
host, recipients = sys.argv[1], sys.argv[2:]
for recipient in recipients:
    with smtplib.SMTP(host, 25, timeout=30) as server:
        server.ehlo("probe.test")
        server.mail("a@probe.test")
        print(server.rcpt(recipient)[0])
"""


def python(host: Any, program: str, *words: str) -> Any:
    return host.run(f"python3 -c {shlex.quote(program)} {shlex.join(words)}")


@pytest.fixture(scope="session")
def receiver() -> Any:
    return testinfra.get_host(f"docker://{RECEIVER}")


@contextmanager
def locked(kind: int) -> Iterator[None]:
    with LOCK.open("a") as file:
        fcntl.flock(file, kind)
        yield


@pytest.fixture
def alone() -> AbstractContextManager[None]:
    """Have the receiver to oneself: it is one for all hosts, and somebody's trouble would be everybody's."""
    return locked(fcntl.LOCK_EX)


@pytest.fixture
def together() -> Iterator[None]:
    with locked(fcntl.LOCK_SH):
        yield


@pytest.fixture
def domain(inventory_name: str) -> str:
    return f"{inventory_name}.test"


class Mailbox:
    """What the receiver's reader got."""

    def __init__(self, receiver: Any) -> None:
        self._receiver = receiver

    def to(self, address: str, count: int = 1, timeout: float = 60) -> list[Message]:
        """Wait until so many messages have come for an address, and return them."""
        deadline = time.monotonic() + timeout
        while True:
            command = f"grep -lrF {shlex.quote(f'X-Original-To: {address}')} /home/reader/Maildir/new"
            files = self._receiver.run(command).stdout.split()
            if len(files) >= count:
                return [email.message_from_string(self._receiver.check_output(f"cat {file}")) for file in files]
            assert time.monotonic() < deadline, f"{len(files)} of {count} came for {address}"
            time.sleep(0.5)

    def has(self, address: str) -> bool:
        return bool(self.to(address, count=0))


@pytest.fixture
def mailbox(receiver: Any) -> Mailbox:
    return Mailbox(receiver)


def somebody(domain: str = "dest.test") -> str:
    return f"{uuid4().hex[:12]}@{domain}"


def send(host: Any, sender: str, *recipients: str) -> None:
    sent = python(host, SEND, sender, *recipients)
    assert sent.rc == 0, sent.stderr


def queue(host: Any) -> dict[str, str]:
    """Say what waits, and why: reasons by recipient."""
    entries = [json.loads(line) for line in host.check_output("postqueue -j").splitlines()]
    return {each["address"]: each.get("delay_reason", "") for entry in entries for each in entry["recipients"]}


def wait_for(condition: Callable[[], Any], what: str, timeout: float = 60) -> Any:
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.5)
    return found


def verdicts(message: Message) -> dict[str, str]:
    """Collect what the receiver found: spf, dkim and dmarc."""
    results = " ".join(message.get_all("Authentication-Results", []))
    return dict(re.findall(r"\b(spf|dkim|dmarc)=(\w+)", results))


def received(message: Message) -> str:
    """Give the line that the receiver itself wrote."""
    return str(message.get_all("Received", [])[0])


def good(message: Message) -> None:
    assert verdicts(message) == {"spf": "pass", "dkim": "pass", "dmarc": "pass"}
    assert "p=reject" in " ".join(message.get_all("Authentication-Results", []))
    assert "with ESMTPS" in received(message)
    assert "using TLSv1.3" in received(message)


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize("prefix", ["", "survey-"])
def test_mail_of_each_domain_arrives(host: Any, mailbox: Mailbox, domain: str, prefix: str) -> None:
    address = somebody()
    send(host, f"webmaster@{prefix}{domain}", address)
    [message] = mailbox.to(address)
    good(message)
    assert f"d={prefix}{domain};" in message["DKIM-Signature"]
    # HELO, and what the host's address leads back to
    assert f"from mail.{domain} (mail.{domain} [" in received(message)


@pytest.mark.usefixtures("together")
def test_the_sites_mails_arrive_and_their_links_work(host: Any, mailbox: Mailbox, domain: str) -> None:
    """The manual's test by eye: register, ask for a new password, read the mail, follow the links."""
    address = somebody()
    asked = json.loads(host.check_output(f"{VISIT} ask {domain} {address}"))
    assert asked == {"registered": 302, "reset": 302}
    messages = mailbox.to(address, count=2)
    for message in messages:
        good(message)
    bodies = [message.get_payload(decode=True).decode() for message in messages]  # type: ignore[union-attr]  # one part
    links = [re.findall(r"http://\S+", body)[0] for body in bodies]
    followed = json.loads(host.check_output(f"{VISIT} open {shlex.join(links)}"))
    assert followed == dict.fromkeys(links, True)


@pytest.mark.usefixtures("together")
def test_the_site_refuses_smuggled_headers(host: Any, mailbox: Mailbox, domain: str) -> None:
    tried = json.loads(host.check_output(f"{VISIT} inject {domain}"))
    assert tried == {"subject": "BadHeaderError", "sender": "ValueError", "recipient": "ValueError", "form": True}
    assert not mailbox.has("victim@dest.test")


@pytest.mark.usefixtures("together")
def test_roots_mail_has_a_destination(host: Any, mailbox: Mailbox, inventory_name: str, domain: str) -> None:
    words = uuid4().hex
    host.check_output(f"echo {words} | sendmail reef")
    for account in ("root", "reef"):
        address = f"{account}-of-{inventory_name}@dest.test"
        found = wait_for(
            lambda address=address: [each for each in mailbox.to(address, 0) if words in str(each)], f"no {address}"
        )
        good(found[0])
        assert found[0]["From"] == f"root <root@{domain}>"


@pytest.mark.usefixtures("together")
def test_a_forged_sender_is_not_signed_and_thus_refused(host: Any, mailbox: Mailbox) -> None:
    """So the receiver does what p=reject says, and the passes above are worth something."""
    address = somebody()
    send(host, "webmaster@forged.test", address)
    wait_for(lambda: f"to=<{address}>" in (log := journal(host)) and "rejected by DMARC policy" in log, "not refused")
    assert not mailbox.has(address)


def journal(host: Any) -> str:
    return str(host.check_output("journalctl --no-pager --output=cat --lines=200 --identifier=postfix/smtp"))


def test_port_25_is_refused_from_outside(host: Any, receiver: Any, address: str) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, 25), timeout=10)
    assert "ConnectionRefusedError" in python(receiver, PROBE, address, "a@dest.test").stderr
    listening = host.check_output("ss --no-header --listening --tcp --numeric sport = :25").splitlines()
    assert listening
    assert all("127.0.0.1:25" in line for line in listening)


@pytest.fixture
def without_starttls(receiver: Any, alone: AbstractContextManager[None]) -> Iterator[None]:
    with alone:
        receiver.check_output("postconf -e smtpd_tls_security_level=none && systemctl reload postfix")
        yield


def give_starttls_back(receiver: Any) -> None:
    receiver.check_output("postconf -e smtpd_tls_security_level=may && systemctl reload postfix")


def test_a_receiver_without_starttls(
    host: Any, receiver: Any, mailbox: Mailbox, domain: str, without_starttls: None
) -> None:
    """In clear where TLS is not insisted on; what insists on it waits, and goes when there is TLS again."""
    may, encrypt, secure = somebody(), somebody("strict.test"), somebody("named.test")
    try:
        send(host, f"webmaster@{domain}", may, encrypt, secure)
        [message] = mailbox.to(may)
        assert "with ESMTP " in received(message)
        for address in (encrypt, secure):
            reason = wait_for(lambda address=address: queue(host).get(address), f"{address} does not wait")
            assert "TLS is required, but was not offered" in reason
    finally:
        give_starttls_back(receiver)
    host.check_output("postqueue -f")
    for address in (encrypt, secure):
        [message] = mailbox.to(address)
        good(message)


@pytest.mark.usefixtures("together")
def test_a_receiver_with_another_name_than_its_certificate(host: Any, mailbox: Mailbox, domain: str) -> None:
    named, wrong = somebody("named.test"), somebody("wrong.test")
    send(host, f"webmaster@{domain}", named, wrong)
    good(mailbox.to(named)[0])
    assert "Verified TLS connection established to mx.dest.test" in journal(host)
    assert "not verified" in wait_for(lambda: queue(host).get(wrong), "it does not wait")
    host.check_output("postsuper -d ALL")


def test_a_receiver_that_is_down_and_comes_back(
    host: Any, receiver: Any, mailbox: Mailbox, domain: str, alone: AbstractContextManager[None]
) -> None:
    addresses = [somebody() for _each in range(3)]
    with alone:
        receiver.check_output("systemctl stop postfix")
        try:
            send(host, f"webmaster@{domain}", *addresses)
            wait_for(lambda: all(queue(host).get(address) for address in addresses), "not all wait")
        finally:
            receiver.check_output("systemctl start postfix")
    with locked(fcntl.LOCK_SH):
        host.check_output("postqueue -f")
        for address in addresses:
            good(*mailbox.to(address))
        assert queue(host) == {}


@pytest.mark.usefixtures("together")
def test_without_opendkim_mail_arrives_unsigned(host: Any, mailbox: Mailbox, domain: str) -> None:
    """The visitor who asked for it sees nothing of it, and SPF still proves the sender."""
    address, again = somebody(), somebody()
    host.check_output("systemctl stop opendkim")
    try:
        began = time.monotonic()
        send(host, f"webmaster@{domain}", address)
        print(f"accepted in {time.monotonic() - began:.1f} s without opendkim")
        [message] = mailbox.to(address)
        assert verdicts(message) == {"spf": "pass", "dkim": "none", "dmarc": "pass"}
    finally:
        host.check_output("systemctl start opendkim")
    send(host, f"webmaster@{domain}", again)
    good(mailbox.to(again)[0])


# --- the role, run again


@pytest.fixture
def converge(playbook: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: playbook("--inventory", str(INVENTORY), "--tags", "mail", "--diff", *arguments)


CERTIFICATE = """
import hashlib, smtplib, ssl
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with smtplib.SMTP("localhost", 25, timeout=30) as server:
    server.starttls(context=context)
    print(hashlib.sha256(server.sock.getpeercert(True)).hexdigest())
print(hashlib.sha256(ssl.PEM_cert_to_DER_cert(open("/etc/ssl/mail/cert.pem").read())).hexdigest())
"""


def test_a_renewed_certificate_is_served_after_a_reload(host: Any) -> None:
    before, same = python(host, CERTIFICATE).stdout.split()
    assert before == same
    host.check_output(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=renewed "
        "-keyout /etc/ssl/mail/key.pem -out /etc/ssl/mail/cert.pem && systemctl reload postfix"
    )
    served, on_disk = python(host, CERTIFICATE).stdout.split()
    assert served == on_disk != before


@pytest.mark.parametrize(
    "path", ["/etc/ssl/mail/none.pem", "/etc/ssl/mail/receiver.pem"], ids=["missing", "of another key"]
)
def test_a_certificate_that_cannot_be_used_is_an_error(host: Any, converge: Callable[..., Any], path: str) -> None:
    result = converge("--extra-vars", json.dumps({"postfix_certificate": path}))
    assert result.returncode == 2
    assert f"{path} with /etc/ssl/mail/key.pem cannot be used" in " ".join(result.stdout.split())
    assert re.findall(r"changed=(\d+)", result.stdout) == ["0"]


PASSWORD = "the-relays-password"  # the receiver's image has it too
OTHERWISE = {
    "postfix_interfaces": ["all"],
    "postfix_networks": ["127.0.0.0/8"],
    "postfix_relay_host": "[mx.dest.test]:587",
    "postfix_relay_username": "site@dest.test",
    "postfix_relay_password": PASSWORD,
    "postfix_dkim_selectors": ["s1", "s2"],
    "postfix_message_rate": 4,
    "postfix_settings": {"smtpd_banner": "$myhostname ESMTP reef"},
}


@pytest.mark.usefixtures("together")
def test_another_configuration_and_back(host: Any, mailbox: Mailbox, domain: str, converge: Callable[..., Any]) -> None:
    receiver = testinfra.get_host(f"docker://{RECEIVER}")
    result = converge("-vvv", "--extra-vars", json.dumps(OTHERWISE))
    try:
        assert changed(result) > 0
        shown = [line for line in result.stdout.splitlines() if PASSWORD in line and "ansible-playbook" not in line]
        assert not shown, shown[0][:200]
        password = host.file("/etc/postfix/relay_password")
        assert (password.user, password.mode) == ("root", 0o600)

        # It listens everywhere now, and is still nobody's relay
        tricks = ["a@dest.test", '"a@dest.test"@mail.test', f"a%dest.test@mail.{domain}"]
        outside = host.check_output("hostname -I").split()[0]
        assert python(receiver, PROBE, outside, *tricks).stdout.split() == ["554"] * 3

        # Through the relay, with the account; the new key is made and told, and signs nothing yet
        address = somebody()
        send(host, f"webmaster@{domain}", address)
        [message] = mailbox.to(address)
        assert "(Authenticated sender: site@dest.test)" in received(message)
        assert "s=s1;" in message["DKIM-Signature"].replace("\n\t", " ")
        assert f"s2._domainkey.{domain}. IN TXT" in result.stdout

        # Four a minute, one of which was above
        refused = python(host, SEND, f"webmaster@{domain}", *[somebody() for _each in range(4)])
        assert "4.7.1 Error: too much mail" in refused.stderr
    finally:
        back = converge()
    assert changed(back) > 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((outside, 25), timeout=10)


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({}, []),
        (
            {
                "postfix_dkim_selectors": ["s1", "unpublished"],
                "postfix_spf": "v=spf1 a:elsewhere.test -all",
                "postfix_check_destination": "[127.0.0.1]:1",
            },
            ["SPF DOMAIN", "DKIM unpublished._domainkey.DOMAIN", "port 1 to 127.0.0.1"],
        ),
    ],
    ids=["right", "wrong"],
)
def test_the_check_of_what_is_published_and_what_runs(
    host: Any, playbook: Callable[..., Any], domain: str, values: dict[str, Any], wrong: list[str]
) -> None:
    send(host, f"webmaster@{domain}", somebody())
    # A key that was made, and is not published yet
    host.check_output(f"cp /etc/dkimkeys/{domain}/s1.txt /etc/dkimkeys/{domain}/unpublished.txt")
    words = ("--inventory", str(INVENTORY), "--extra-vars", json.dumps({"postfix_domains": [domain], **values}))
    result = playbook(*words, path="playbooks/mail.yml")
    found = re.findall(r"^ +(ok|look|wrong) +(\S.*?) {2,}", result.stdout, re.MULTILINE)
    assert result.returncode == (2 if wrong else 0), result.stdout[-3000:]
    assert [name for state, name in found if state == "wrong"] == [each.replace("DOMAIN", domain) for each in wrong]
    assert {"opendkim", "HELO", "certificate", f"name mail.{domain}", f"DMARC _dmarc.{domain}"} <= {
        name for state, name in found if state == "ok"
    }


def test_what_postfix_does_not_know_is_refused_and_nothing_replaced(host: Any, converge: Callable[..., Any]) -> None:
    before = host.file("/etc/postfix/main.cf").sha256sum
    result = converge("--extra-vars", json.dumps({"postfix_settings": {"smtp_tls_secruity_level": "may"}}))
    assert result.returncode == 2
    assert "unused parameter: smtp_tls_secruity_level=may" in result.stdout
    assert host.file("/etc/postfix/main.cf").sha256sum == before


def test_a_lost_reload_is_made_up_for(host: Any, converge: Callable[..., Any]) -> None:
    """A run that died after it had written main.cf, and somebody who stopped opendkim."""
    host.check_output("touch /etc/postfix/main.cf && systemctl stop opendkim")
    assert changed(converge()) == 2
    assert changed(converge("--check")) == 0
    assert host.service("opendkim").is_running


SANDBOX = {
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "ProtectHome": "yes",
    "ProtectSystem": "strict",
    "MemoryDenyWriteExecute": "yes",
    "RestrictSUIDSGID": "yes",
}


@pytest.mark.parametrize(("service", "limit"), [("postfix", 3.0), ("opendkim", 0.6)])
def test_the_units_are_sandboxed(host: Any, service: str, limit: float) -> None:
    unit = service
    if service == "postfix" and host.system_info.release.startswith("12"):
        unit = "postfix@-"
    shown = host.check_output(f"systemctl show --property={','.join(SANDBOX)} {unit}.service")
    assert dict(line.split("=", 1) for line in shown.splitlines()) == SANDBOX
    analysis = host.check_output(f"systemd-analyze security --no-pager {unit}.service")
    exposure = float(re.findall(r"exposure level for .*: ([0-9.]+)", analysis)[0])
    print(f"{unit}: exposure {exposure}")
    assert exposure <= limit
    assert host.service(unit).is_running
