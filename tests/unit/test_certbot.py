"""Whether a certificate is needed, whether the names lead here, and what is made of what certbot says."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.coralnet.server.plugins.module_utils import _certbot
from ansible_collections.coralnet.server.plugins.module_utils._certbot import (
    UTC,
    Certbot,
    CertbotError,
    Current,
    Wanted,
    check_names,
    explained,
    own_addresses,
    passing,
    read,
    reasons,
    strangers,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SERVER = "https://acme-v02.api.letsencrypt.org/directory"
WANTED = Wanted("reef", ("reef.example", "www.reef.example"), SERVER, "/var/www/letsencrypt")
NO_ACCOUNT = "urn:ietf:params:acme:error:accountDoesNotExist :: The request specified an account that does not exist"
BAD_NONCE = "urn:ietf:params:acme:error:badNonce :: JWS has an invalid anti-replay nonce"
LIMITED = "urn:ietf:params:acme:error:rateLimited :: too many certificates already issued"


def current(*, life: float = 90, left: float = 60, domains: tuple[str, ...] = WANTED.domains) -> Current:
    ends = NOW + timedelta(days=left)
    return Current(frozenset(domains), SERVER, ends - timedelta(days=life), ends)


@pytest.mark.parametrize(
    ("life", "left", "due"),
    [
        (90, 30.1, False),
        (90, 29.9, True),
        (64, 21.4, False),
        (64, 21.3, True),
        (45, 15.1, False),
        (45, 14.9, True),
        (160 / 24, 3.4, False),
        (160 / 24, 3.3, True),
        (90, -1, True),
    ],
)
def test_due(life: float, left: float, due: bool) -> None:
    assert bool(WANTED.reason(current(life=life, left=left), NOW)) is due


@pytest.mark.parametrize(("days", "left", "due"), [(7, 7.1, False), (7, 6.9, True), (40, 39, True)])
def test_due_by_the_inventory(days: float, left: float, due: bool) -> None:
    wanted = Wanted(**{**WANTED.__dict__, "renew_before_days": days})
    assert bool(wanted.reason(current(left=left), NOW)) is due


@pytest.mark.parametrize(
    ("there_is", "reason"),
    [
        (None, "there is none"),
        (current(domains=("reef.example",)), "it is for reef.example"),
        (Current(frozenset(WANTED.domains), "https://other/dir", NOW, NOW), "it is from https://other/dir"),
        (current(left=12.34), "it has 12.3 days left"),
        (current(domains=("www.reef.example", "reef.example")), ""),
    ],
    ids=["none", "names", "CA", "due", "same"],
)
def test_reason(there_is: Current | None, reason: str) -> None:
    assert WANTED.reason(there_is, NOW) == reason


def test_argv() -> None:
    wanted = Wanted(**{**WANTED.__dict__, "key_arguments": ("--key-type", "ecdsa"), "arguments": ("--quiet",)})
    assert wanted.argv("/opt/certbot/bin/certbot", None) == [
        *("/opt/certbot/bin/certbot", "certonly", "--non-interactive", "--agree-tos", "--server", SERVER),
        *("--register-unsafely-without-email", "--webroot", "--webroot-path", "/var/www/letsencrypt"),
        *("--cert-name", "reef", "--key-type", "ecdsa", "--renew-with-new-domains", "--keep-until-expiring"),
        *("--domain", "reef.example", "--domain", "www.reef.example", "--quiet"),
    ]


@pytest.mark.parametrize(
    ("there_is", "forced"),
    [
        (None, False),
        (current(left=1), False),
        (current(domains=("reef.example",)), False),
        (Current(frozenset(WANTED.domains), "https://other/dir", NOW, NOW), True),
    ],
    ids=["first", "due", "names", "another CA"],
)
def test_renewals_are_not_forced(there_is: Current | None, forced: bool) -> None:
    argv = WANTED.argv("certbot", there_is)
    assert ("--force-renewal" in argv, "--keep-until-expiring" in argv) == (forced, not forced)


SHOWN = """\
X509v3 Subject Alternative Name:
    DNS:reef.example, DNS:www.reef.example
notBefore=Nov  4 00:00:00 2026 GMT
notAfter=Feb  2 00:00:00 2027 GMT
"""


@pytest.mark.parametrize(
    ("lineage", "rc", "shown", "server"),
    [
        (f"version = 5.8.0\n[renewalparams]\nserver = {SERVER}\n", 0, SHOWN, SERVER),
        ("[renewalparams]\n", 0, SHOWN, ""),
        (None, 0, SHOWN, None),
        ("server = x\n", 1, "", None),
        ("server = x\n", 0, "notBefore=Nov  4 00:00:00 2026 GMT\n", None),
    ],
    ids=["whole", "no CA", "no lineage", "no certificate", "no end"],
)
def test_read(tmp_path: Path, lineage: str | None, rc: int, shown: str, server: str | None) -> None:
    for name in ("live/reef", "renewal"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "live/reef/cert.pem").touch()
    if lineage is not None:
        (tmp_path / "renewal/reef.conf").write_text(lineage)
    found = read(str(tmp_path), "reef", lambda _argv: (rc, shown, ""))
    if server is None:
        assert found is None
    else:
        assert found == Current(
            frozenset(WANTED.domains), server, datetime(2026, 11, 4, tzinfo=UTC), datetime(2027, 2, 2, tzinfo=UTC)
        )


PUBLIC, PRIVATE = "93.184.216.34", "10.0.0.7"


@pytest.mark.parametrize(
    ("found", "expected", "own", "elsewhere"),
    [
        ({PUBLIC}, [], {PUBLIC, PRIVATE}, set()),
        ({"1.1.1.1"}, [], {PUBLIC}, {"1.1.1.1"}),
        # The IPv6 address of the server before this one
        ({PUBLIC, "2606:4700::1"}, [], {PUBLIC}, {"2606:4700::1"}),
        ({"2606:4700:0:0::1"}, [], {"2606:4700::1"}, set()),
        # Behind address translation nothing is known
        ({"1.1.1.1"}, [], {PRIVATE}, set()),
        ({"1.1.1.1"}, ["1.1.1.1"], {PRIVATE}, set()),
        ({PRIVATE}, ["1.1.1.1"], {PRIVATE}, {PRIVATE}),
        ({"127.0.1.1"}, [], {PUBLIC}, set()),
    ],
    ids=["here", "elsewhere", "old AAAA", "spelling", "NAT", "given", "not given", "hosts"],
)
def test_strangers(found: set[str], expected: list[str], own: set[str], elsewhere: set[str]) -> None:
    assert strangers(found, expected, own) == elsewhere


def test_own_addresses() -> None:
    shown = """\
2: eth0    inet 10.0.0.7/24 brd 10.0.0.255 scope global eth0\\       valid_lft forever preferred_lft forever
2: eth0    inet6 2606:4700::1/64 scope global \\       valid_lft forever preferred_lft forever
"""
    assert own_addresses(lambda _argv: (0, shown, "")) == {"10.0.0.7", "2606:4700::1"}


def test_names_that_lead_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_certbot, "addresses_of", lambda name: {PUBLIC if name.startswith("www") else "1.1.1.1"})
    with pytest.raises(CertbotError, match=r"^reef\.example leads to 1\.1\.1\.1, and this host is 93\.184\.216\.34: "):
        check_names(WANTED.domains, [], {PUBLIC})


LOG_OF_2_1 = f"""\
2026-11-24 12:00:00,000:DEBUG:certbot._internal.log:Exiting abnormally:
Traceback (most recent call last):
  File "/usr/lib/python3/dist-packages/acme/client.py", line 1, in _check_response
acme.messages.Error: {LIMITED}

During handling of the above exception, another exception occurred:

AttributeError: can't set attribute
"""
FAILED_CHALLENGE = """\
Saving debug log to /var/log/letsencrypt/letsencrypt.log
Requesting a certificate for reef.example

Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported these problems:
  Domain: reef.example
  Type:   unauthorized
  Detail: 192.0.2.1: Invalid response: 404

Hint: The Certificate Authority failed to download the temporary challenge files created by Certbot.
Some challenges have failed.
Ask for help or search for solutions at https://community.letsencrypt.org.
"""


@pytest.mark.parametrize(
    ("output", "log", "said"),
    [
        ("An unexpected error occurred:\nAttributeError: can't set attribute\n", LOG_OF_2_1, LIMITED),
        (FAILED_CHALLENGE, "", "Domain: reef.example Type:   unauthorized Detail: 192.0.2.1: Invalid response: 404"),
        ("Saving debug log to x\nSome error\nSome error\n", "", "Some error"),
        ("", f"acme.messages.Error: {LIMITED}\nacme.messages.Error: {LIMITED}\n", LIMITED),
    ],
    ids=["certbot 2.1", "challenge", "other", "twice"],
)
def test_reasons(output: str, log: str, said: str) -> None:
    assert reasons(output, log) == said


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        (BAD_NONCE, True),
        ("urn:ietf:params:acme:error:serverInternal :: The server experienced an internal error", True),
        ("requests.exceptions.ConnectionError: Connection refused", True),
        ("HTTPSConnectionPool(host='acme', port=443): Max retries exceeded: Read timed out.", True),
        ("The server answered 503 Service Unavailable", True),
        ("Another instance of Certbot is already running.", True),
        ("Max retries exceeded with url: /dir (SSLError(CERTIFICATE_VERIFY_FAILED))", False),
        (LIMITED, False),
        (NO_ACCOUNT, False),
        ("urn:ietf:params:acme:error:connection :: 192.0.2.1: Timeout: timed out", False),
        ("Type: connection Detail: 192.0.2.1: Fetching http://reef.example/: Connection refused", False),
        ("Type: dns Detail: DNS problem: query timed out looking up A for reef.example", False),
        ("The requested nginx plugin does not appear to be installed", False),
    ],
)
def test_what_passes_by_itself(words: str, passes: bool) -> None:
    """A failed challenge counts against the five that Let's Encrypt allows in an hour."""
    assert passing(words) is passes


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (LIMITED, "wait as long as it says"),
        (
            "urn:ietf:params:acme:error:rejectedIdentifier :: forbidden by policy",
            "use a name under a domain of your own",
        ),
        ("Domain: reef.example Type:   unauthorized Detail: 404", "another server answers on port 80"),
        ("Domain: reef.example Type:   connection Detail: timeout", "open it for all addresses"),
        ("Domain: reef.example Type:   dns Detail: NXDOMAIN", "look at its A and AAAA records"),
        ("Domain: reef.example Type:   caa Detail: CAA record prevents issuance", "CAA record does not allow"),
        ("SSLError(CERTIFICATE_VERIFY_FAILED)", "set letsencrypt_ca_bundle"),
    ],
)
def test_hints(words: str, hint: str) -> None:
    assert explained(words).startswith(f"{words} (")
    assert hint in explained(words)


class FakeCertbot:
    """Fails with the given words, one after the other, each by the log alone; then succeeds."""

    def __init__(self, logs: Path, *failures: str) -> None:
        self.log = logs / "letsencrypt.log"
        self.failures = list(failures)
        self.calls = 0

    def __call__(self, _argv: list[str]) -> tuple[int, str, str]:
        self.calls += 1
        if not self.failures:
            return 0, "", ""
        self.log.write_text(f"{self.calls}\nacme.messages.Error: {self.failures.pop(0)}\n")
        return 1, "", "An unexpected error occurred:\nAttributeError: can't set attribute"


def certbot(tmp_path: Path, run: Any, pauses: list[float] | None = None) -> Certbot:
    sleep = (pauses if pauses is not None else []).append
    return Certbot("certbot", run, directory=str(tmp_path), logs=str(tmp_path), sleep=sleep)


@pytest.mark.parametrize(
    ("failures", "tries", "at", "waited"),
    [
        ([], 4, 1, []),
        ([BAD_NONCE], 4, 2, [2]),
        ([BAD_NONCE] * 3, 4, 4, [2, 8, 32]),
        # The lost account is no try of the CA's, and there is another at once
        ([NO_ACCOUNT], 1, 1, []),
        ([BAD_NONCE, NO_ACCOUNT], 2, 2, [2]),
    ],
)
def test_tries(tmp_path: Path, failures: list[str], tries: int, at: int, waited: list[float]) -> None:
    (tmp_path / "accounts/acme-v02.api.letsencrypt.org/directory").mkdir(parents=True)
    pauses: list[float] = []
    assert certbot(tmp_path, FakeCertbot(tmp_path, *failures), pauses).get(WANTED, None, tries) == at
    assert pauses == waited
    kept = list((tmp_path / "accounts/acme-v02.api.letsencrypt.org").glob("directory.lost-*"))
    assert len(kept) == (NO_ACCOUNT in failures)


@pytest.mark.parametrize(
    ("failures", "tries", "calls", "words"),
    [
        ([BAD_NONCE] * 2, 2, 2, "badNonce"),
        ([LIMITED], 4, 1, "wait as long as it says"),
        # The CA does not take the new account either
        ([NO_ACCOUNT] * 2, 4, 2, "accountDoesNotExist"),
    ],
)
def test_giving_up(tmp_path: Path, failures: list[str], tries: int, calls: int, words: str) -> None:
    (tmp_path / "accounts/acme-v02.api.letsencrypt.org/directory").mkdir(parents=True)
    fake = FakeCertbot(tmp_path, *failures)
    with pytest.raises(CertbotError, match=f"certbot got no certificate for reef.example, www.reef.example: .*{words}"):
        certbot(tmp_path, fake).get(WANTED, None, tries)
    assert fake.calls == calls


@pytest.mark.parametrize("added", ["", "2026-11-24 12:00:00,000:DEBUG:certbot._internal.main:certbot version: 4.0.0\n"])
def test_the_log_of_an_earlier_run_is_not_believed(tmp_path: Path, added: str) -> None:
    """A wrong argument ends certbot before it begins a log; the distributions' appends to the one that there is."""
    log = tmp_path / "letsencrypt.log"
    log.write_text(f"acme.messages.Error: {LIMITED}\n")

    def fail(_argv: list[str]) -> tuple[int, str, str]:
        log.write_text(log.read_text() + added)
        return 2, "", "certbot: error: unrecognized arguments: --what"

    with pytest.raises(CertbotError, match="unrecognized arguments: --what") as error:
        certbot(tmp_path, fail).get(WANTED, None, 1)
    assert "rateLimited" not in str(error.value)
