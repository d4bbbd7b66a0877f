"""The site as others meet it: another web host of the same names, a look from outside, and a grader of its TLS."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from shared.acme import Acme, Served
from shared.visitor import ROOT, Visitor, changed

VALUES = yaml.safe_load((ROOT / "molecule/letsencrypt/vars/main.yml").read_text())
CHALLENGE = "/.well-known/acme-challenge/nobody-has-it"
# What the grade is made of; the rest, such as the simulation of browsers, takes as long again
CHECKS = "-p -s -f -P -S -h -H -I -T -BB -R -C -O -Z -D -A --rc4 -J"


@pytest.fixture
def other(acme: Acme) -> str:
    """Find another host, which is the CA's own."""
    return acme.run("hostname -I").split()[0]


def test_web_hosts_share_their_challenges(
    acme: Acme, address: str, other: str, playbook: Callable[..., subprocess.CompletedProcess[str]], served: Served
) -> None:
    """The other host asks the CA, which comes to this one."""
    acme.run("DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends certbot testssl.sh 2>&1")
    ask = (
        "REQUESTS_CA_BUNDLE=/etc/pebble/ca.pem certbot certonly --non-interactive --agree-tos"
        " --register-unsafely-without-email --server https://localhost:14000/dir"
        " --standalone --http-01-port 8180 --domain reef.test --domain www.reef.test"
    )
    assert "Type:   unauthorized" in acme.run(f"{ask} 2>&1 || true"), "it must need this host's help"
    tls = VALUES["nginx_sites"][0]["tls"] | {"hsts_max_age": 63072000}
    values = {
        "nginx_acme_peers": [address, f"{other}:8180"],
        "nginx_sites": [VALUES["nginx_sites"][0] | {"tls": tls}],
    }
    assert changed(playbook("-e", json.dumps(values), path="molecule/letsencrypt/serve.yml")) > 0
    acme.run(ask)
    names = acme.run("openssl x509 -noout -ext subjectAltName -in /etc/letsencrypt/live/reef.test/cert.pem")
    assert "DNS:reef.test, DNS:www.reef.test" in names
    assert served.nginx == served.disk
    # Neither the host itself, which is among them, nor one that is away keeps the CA waiting
    start = time.monotonic()
    assert Visitor(address, "reef.test").get(CHALLENGE).status_code in (404, 502)
    assert time.monotonic() - start < 3


def test_names_are_looked_at_from_outside(
    host: Any,
    acme: Acme,
    address: str,
    playbook: Callable[..., subprocess.CompletedProcess[str]],
    served: Served,
    tmp_path: Path,
) -> None:
    """One of the two names leads elsewhere there."""
    acme.run(f"printf '127.0.0.1 reef.test\\n{address} www.reef.test\\n' >>/etc/hosts")
    inventory = tmp_path / "hosts"
    inventory.write_text(
        f"outside ansible_connection=community.docker.docker ansible_host={host.backend.name}-acme"
        " ansible_python_interpreter=/usr/bin/python3\n"
    )
    look = ("-i", str(inventory), "-e", "letsencrypt_vantage=outside", "-e", "letsencrypt_renew_before_days=36500")
    before = served.disk
    said = " ".join(playbook(*look, path="molecule/letsencrypt/get.yml").stdout.split())
    assert "From outside, port 80 of reef.test does not lead to this host" in said
    assert "port 80 of www.reef.test does not" not in said
    assert served.disk == before
    assert host.run("ls /var/www/letsencrypt/.well-known/acme-challenge/* 2>/dev/null").stdout == ""

    check = ("--start-at-task", "Have every service serve what is on disk")
    said = " ".join(playbook(*look, *check, path="molecule/letsencrypt/serve.yml").stdout.split())
    assert "From outside, nobody answers on port 443 of reef.test" in said
    assert "port 443 of www.reef.test:" not in said


def test_the_grade(host: Any, acme: Acme, address: str, served: Served) -> None:
    assert served.page("/")[1]["Strict-Transport-Security"] == "max-age=63072000"
    acme.run(
        "curl -sf --cacert /etc/pebble/ca.pem https://localhost:15000/roots/0 >/run/root.pem; rm -f /run/grade.json"
    )
    options = (
        f"--quiet --color 0 --warnings off --nodns none --add-ca /run/root.pem --jsonfile /run/grade.json {CHECKS}"
    )
    # How it ends is the number of what it has to say
    acme.run(f"testssl {options} --ip {address} reef.test >/run/grade.txt 2>&1 || true")
    findings = json.loads(acme.run("cat /run/grade.json"))
    said = {finding["id"]: finding["finding"] for finding in findings}
    print(f"{host.backend.name}: testssl {said.get('overall_grade')}, score {said.get('final_score')}")
    serious = {each["id"]: each["finding"] for each in findings if each["severity"] in ("MEDIUM", "HIGH", "CRITICAL")}
    # The lab's CA has no list of what it revoked
    assert serious == {"cert_revocation": "Neither CRL nor OCSP URI provided"}
    assert (said["overall_grade"], said["OCSP_stapling"]) == ("A+", "not offered")
