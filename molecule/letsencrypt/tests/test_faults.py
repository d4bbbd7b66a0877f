"""Renewals that cannot be: each is told of, the old certificate is served on, and the next run that can renews."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from shared.acme import Acme, Served, result
from shared.visitor import ad_hoc

REEF = {
    "name": "reef",
    "domains": ["reef.test", "www.reef.test"],
    "server": "https://acme.test:14000/dir",
    "ca_bundle": "/etc/ssl/acme-test.pem",
    "renew_before_days": 36500,
    # One more than the CA is asked: an account that it does not know counts
    "tries": 2,
}


@dataclass(frozen=True)
class Fault:
    """Something breaks, for the host or for the CA, and what the admin is told of it."""

    name: str
    words: str
    on_host: str = ""
    mend_host: str = ""
    ca: tuple[str, dict[str, Any]] | None = None
    # The CA knows the account, and what it then says is not about that
    known: bool = False
    dns: str = ""

    def __str__(self) -> str:
        return self.name


NOWHERE = "sed 's/^.* acme.test$/127.0.0.1 acme.test/' /etc/hosts >/run/hosts && cat /run/hosts >/etc/hosts"
MAKE_ACCOUNT = """
cd /etc/letsencrypt && rm -rf accounts/acme.test:14000
export REQUESTS_CA_BUNDLE=/etc/ssl/acme-test.pem
made="certbot register -n --agree-tos --register-unsafely-without-email --server https://acme.test:14000/dir"
for _try in $(seq 60); do $made && break; done
sed -i "s/^account = .*/account = $(ls accounts/acme.test:14000/dir)/" renewal/reef.conf
"""
QUIET = "PEBBLE_WFE_NONCEREJECT=0"
FAULTS = [
    Fault(
        "CA down",
        "Connection refused",
        on_host=f"cp /etc/hosts /run/hosts.kept && {NOWHERE}",
        mend_host="cat /run/hosts.kept >/etc/hosts",
    ),
    # Every time would keep the account from being made
    Fault("nonces rejected", "nonce", ca=("PEBBLE_WFE_NONCEREJECT=80", {}), known=True),
    Fault("account lost", "accountDoesNotExist", ca=(QUIET, {})),
    Fault(
        "name refused",
        "rejectedIdentifier",
        ca=(QUIET, {"domainBlocklist": ["reef.test", "refused.test"]}),
        known=True,
    ),
    Fault("DNS failing", "Domain: reef.test", dns="set-servfail"),
    Fault(
        "webroot unwritable",
        "Read-only file system",
        on_host="mount -t tmpfs -o ro none /var/www/letsencrypt",
        mend_host="umount /var/www/letsencrypt",
    ),
    Fault(
        "no room for the copy",
        "No space left on device",
        on_host="touch /etc/letsencrypt/other && mount -t tmpfs -o size=4k none /var/backups/letsencrypt",
        mend_host="umount /var/backups/letsencrypt",
    ),
    Fault(
        "port 80 closed",
        "Detail:",
        on_host="echo 'deny all;' >/etc/nginx/conf.d/closed.conf && systemctl reload nginx",
        mend_host="rm /etc/nginx/conf.d/closed.conf && systemctl reload nginx",
    ),
]


@pytest.fixture
def site(inventory_name: str) -> Callable[[], dict[str, Any]]:
    """Ask the CA as site.yml does."""
    return lambda: ad_hoc(inventory_name, "coralnet.server.certbot_certificate", REEF)


@pytest.fixture
def broken(host: Any, acme: Acme) -> Callable[[Fault], Any]:
    @contextmanager
    def breaking(fault: Fault) -> Iterator[None]:
        if fault.on_host:
            host.run_expect([0], fault.on_host)
        if fault.ca:
            environment, config = fault.ca
            acme.restart(environment, **config)
        if fault.known:
            host.run_expect([0], MAKE_ACCOUNT)
        if fault.dns:
            acme.dns("set-servfail", host="reef.test")
        try:
            yield
        finally:
            if fault.mend_host:
                host.run_expect([0], fault.mend_host)
            if fault.ca:
                acme.restart()
            if fault.dns:
                acme.dns("clear-servfail", host="reef.test")

    return breaking


def told(host: Any, unit: str) -> str:
    """Wait for what the admin is told of a unit, and return it."""
    for _try in range(150):
        if host.file("/run/alert").exists:
            break
        time.sleep(0.2)
    assert result(host, f"certificates-alert@{unit}.service") == "success"
    report = str(host.file("/run/alert").content_string)
    assert f"{unit} failed on" in report
    return report


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=str(fault), marks=pytest.mark.on(("debian-12", "debian-13")[number % 2]))
        for number, fault in enumerate(FAULTS)
    ],
)
def test_a_renewal_that_fails(
    host: Any,
    renew: Callable[[], tuple[str, str]],
    site: Callable[[], dict[str, Any]],
    broken: Callable[[Fault], Any],
    served: Served,
    fault: Fault,
) -> None:
    before = served.disk
    with broken(fault):
        certbot, check = renew()
        assert (certbot, check) == ("exit-code", "success")
        assert fault.words in told(host, "certbot.service")
        assert served.disk == served.nginx == served.postfix == before
        assert host.run("certificates show").rc == 0, "there is time until it ends"
    if fault.ca:
        # The timer's run never makes an account; the next run of site.yml does
        assert site()["changed"]
    assert renew() == ("success", "success")
    assert before != served.disk == served.nginx == served.postfix


def test_a_service_that_cannot_load_it(host: Any, renew: Callable[[], tuple[str, str]], served: Served) -> None:
    before = served.disk
    host.run_expect([0], "echo 'nonsense;' >/etc/nginx/conf.d/broken.conf")
    try:
        assert renew() == ("success", "exit-code")
        report = told(host, "certificates-check.service")
        assert "nginx.service could not be reloaded" in report
        assert "nginx.service on port 443 serves another certificate for reef.test than is on disk" in report
        assert served.nginx == before != served.disk == served.postfix
        shown = host.run("certificates show")
        assert (shown.rc, "nginx.service:443 no, postfix.service:25 yes" in shown.stdout) == (1, True)
    finally:
        host.run_expect([0], "rm /etc/nginx/conf.d/broken.conf")
    # The next of every day
    host.run_expect([0], "systemctl start certificates-check.service")
    assert served.nginx == served.disk
    assert host.run("certificates show").rc == 0


def test_a_hook_that_fails(host: Any, renew: Callable[[], tuple[str, str]], served: Served) -> None:
    """For certbot itself this is a success."""
    hook = "/etc/letsencrypt/renewal-hooks/deploy/zz-other"
    host.run_expect([0], f"printf '#!/bin/sh\\necho no such balancer >&2\\nexit 3\\n' >{hook} && chmod 755 {hook}")
    try:
        assert renew() == ("success", "exit-code")
        report = told(host, "certificates-check.service")
        assert "zz-other" in report
        assert served.nginx == served.postfix == served.disk
    finally:
        host.run_expect([0], f"rm {hook}")
    assert renew() == ("success", "success")


def test_a_certificate_that_ends(
    host: Any, acme: Acme, site: Callable[[], dict[str, Any]], renew: Callable[[], tuple[str, str]], served: Served
) -> None:
    acme.restart(certificateValidityPeriod=1)
    try:
        assert site()["changed"]
        host.run_expect([0], "rm -f /run/alert; sleep 1")
        assert host.run("systemctl start certificates-check.service").rc == 1
        assert "reef: it ended on" in told(host, "certificates-check.service")
        assert served.nginx == served.disk, "nginx goes on, with an old certificate"
    finally:
        acme.restart()
    assert site()["changed"]
    assert renew() == ("success", "success")
    assert served.nginx == served.postfix == served.disk
