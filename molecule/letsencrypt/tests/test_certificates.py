"""Certificates as visitors, operators and mail servers meet them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from shared.acme import LIVE, Served, exposure, timers
from shared.visitor import Visitor, ad_hoc

MODULE = "coralnet.server.certbot_certificate"
GET = "molecule/letsencrypt/get.yml"
# What a site's own certificate module call needs; the rest is the scenario's
CALL = {
    "server": "https://acme.test:14000/dir",
    "ca_bundle": "/etc/ssl/acme-test.pem",
    "tries": 1,
}


def s_client(host: Any, *arguments: str) -> Any:
    return host.run(f"echo | openssl s_client -connect 127.0.0.1:443 -servername reef.test {' '.join(arguments)}")


def test_https(host: Any, address: str, served: Served) -> None:
    assert served.nginx == served.postfix == served.disk
    answer = Visitor(address, "reef.test").get("/a?b=c")
    assert (answer.status_code, answer.headers["Location"]) == (301, "https://reef.test/a?b=c")
    status, headers, body = served.page("/")
    assert (status, json.loads(body)["HTTP_X_FORWARDED_PROTO"]) == (200, "https")
    assert headers["Strict-Transport-Security"] == "max-age=86400"


def test_tls(host: Any) -> None:
    """Mozilla's intermediate guideline, in what a client can see."""
    assert s_client(host, "-tls1_1").rc != 0
    assert s_client(host, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA").rc != 0
    assert "Cipher is ECDHE-ECDSA-" in s_client(host, "-tls1_2").stdout
    # nginx's first HTTP/2 frame may be in it
    hello = s_client(host, "-tls1_3", "-alpn", "h2").stdout_bytes.decode(errors="replace")
    assert "ALPN protocol: h2" in hello
    assert "TLSv1.3" in hello
    if host.system_info.release.startswith("13"):
        assert "X25519MLKEM768" in hello
    assert s_client(host, "-servername", "other.test").rc != 0, "a name that no site has gets no certificate"


def test_the_files(host: Any) -> None:
    text = host.check_output(f"openssl x509 -noout -text -in {LIVE}/cert.pem")
    assert "ASN1 OID: prime256v1" in text
    assert "DNS:reef.test, DNS:www.reef.test" in text
    assert host.check_output(f"stat -L -c '%a %U' {LIVE}/privkey.pem") == "600 root"
    assert host.check_output("stat -c %a /var/backups/letsencrypt") == "700"
    assert set(host.check_output("stat -c %a /var/backups/letsencrypt/*").split()) == {"600"}
    assert host.run("grep -rl 'PRIVATE KEY' /var/log/letsencrypt").rc == 1
    assert host.check_output("ls -A /var/www/letsencrypt/.well-known/acme-challenge 2>/dev/null || true") == ""


def test_one_scheduler(host: Any) -> None:
    assert timers(host) == ["certbot.timer", "certificates-check.timer"]
    # The job is for hosts without systemd
    assert "-d /run/systemd/system" in host.file("/etc/cron.d/certbot").content_string


@pytest.mark.parametrize(("unit", "limit"), [("certbot.service", 2.4), ("certificates-check.service", 2.0)])
def test_the_sandbox(host: Any, unit: str, limit: float) -> None:
    assert exposure(host, unit) <= limit


def test_nobody_notices_that_a_certificate_is_got(
    host: Any, inventory_name: str, probing: Callable[..., Any], served: Served
) -> None:
    """Before its name is in the DNS, and by running the same again."""
    before = served.nginx
    wanted = {**CALL, "name": "other", "domains": ["www.reef.test"]}
    host.run_expect([0], "cp /etc/hosts /run/hosts.kept; sed 's/ www.reef.test//' /run/hosts.kept >/etc/hosts")
    early = ad_hoc(inventory_name, MODULE, wanted)
    host.run_expect([0], "cat /run/hosts.kept >/etc/hosts")
    assert "www.reef.test does not resolve" in early["msg"]
    with probing() as seen:
        got = ad_hoc(inventory_name, MODULE, wanted)
    print(f"{host.backend.name}: got by location: {seen[0]} of {seen[1]} answers bad")
    assert (got["changed"], got["tries"]) == (True, 1), got
    assert seen[1] > 5
    assert seen[0] == 0
    assert served.nginx == before
    again = ad_hoc(inventory_name, MODULE, wanted)
    assert (again["changed"], again["tries"]) == (False, 0)
    host.run_expect([0], "certbot delete --non-interactive --cert-name other")


def test_the_playbook_that_shows_them(playbook: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    shown = playbook("-e", "@molecule/letsencrypt/vars/main.yml", path="playbooks/certificates.yml")
    assert shown.returncode == 0, shown.stdout
    row = r"- (\S+) (Pebble [\w ]+?) ([\d.]+) ([\d-]{10}) (nginx.*? reader\.service \w+)"
    rows = re.findall(row, " ".join(shown.stdout.split()))
    assert [name for name, *_rest in rows] == ["reef.test", "www.reef.test"]
    for _name, _issuer, days, _renewal, services in rows:
        assert 89 < float(days) <= 90
        assert services == "nginx.service:443 yes, postfix.service:25 yes, reader.service yes"


def test_renewal_by_the_timers_unit(
    host: Any, renew: Callable[[], tuple[str, str]], probing: Callable[..., Any], served: Served
) -> None:
    before, reloads = served.disk, host.file("/run/reader").content_string
    with probing() as seen:
        assert renew() == ("success", "success")
    assert before != served.disk == served.nginx == served.postfix
    assert host.file("/run/reader").content_string == reloads + "reloaded\n"
    print(f"{host.backend.name}: renewal: {seen[0]} of {seen[1]} answers bad")
    assert seen[1] > 5
    assert seen[0] == 0
    assert not host.file("/run/alert").exists


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"domains": ["nowhere.reef.test"]}, "nowhere.reef.test does not resolve"),
        (
            {"domains": ["reef.test"], "addresses": ["192.0.2.1"]},
            "this host is 192.0.2.1: mend its A and AAAA records",
        ),
        ({"domains": ["acme.test"]}, "port 80 does not serve the challenge for acme.test"),
        ({"domains": ["reef.test"], "webroot": "/srv/reef"}, "port 80 does not serve the challenge for reef.test"),
        ({"domains": ["reef.test"], "webroot": "/proc/nothing"}, "the challenge cannot be written"),
        # Debian 12's certbot itself says "can't set attribute" and no more
        ({"domains": ["refused.test"]}, "this CA gives no certificate for that name"),
        # And not the words before, which are in the same log
        ({"domains": ["reef.test"], "ca_bundle": ""}, "set letsencrypt_ca_bundle"),
    ],
    ids=["does not resolve", "elsewhere", "no site", "other webroot", "unwritable", "refused", "unknown CA"],
)
def test_what_is_said_when_there_is_no_certificate(
    host: Any, inventory_name: str, served: Served, options: dict[str, Any], words: str
) -> None:
    answer = ad_hoc(inventory_name, MODULE, {**CALL, "name": "new", **options})
    assert words in answer["msg"]
    assert "can't set attribute" not in answer["msg"]
    assert not host.file("/etc/letsencrypt/live/new").exists
    assert host.run("find /srv/reef /var/www/letsencrypt -name 'self-check-*' | grep .").rc == 1
    assert served.nginx == served.disk
