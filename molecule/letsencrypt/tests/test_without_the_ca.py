"""Certificates that are brought along: those of an old server, and one's own."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.acme import Served, fingerprint
from shared.visitor import changed

OWN = "/etc/ssl/certificates/own"
# A pair and another, its key with a passphrase, and its certificate ended
MAKE = """
mkdir -p /run/own && cd /run/own
for name in good other; do
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=The university" \
    -addext subjectAltName=DNS:reef.test,DNS:www.reef.test -keyout $name.key -out $name.pem
done
openssl pkey -in good.key -aes256 -passout pass:secret -out locked.key
openssl x509 -in good.pem -signkey good.key -days 0 -out ended.pem
"""


def test_another_server_begins_with_the_certificates_of_the_old_one(
    host: Any,
    playbook: Callable[..., subprocess.CompletedProcess[str]],
    renew: Callable[[], tuple[str, str]],
    served: Served,
    tmp_path: Path,
) -> None:
    host.run_expect([0], "certificates prepare")
    newest = host.check_output("ls /var/backups/letsencrypt/*.tar.gz | tail -n 1")
    copy = tmp_path / Path(newest).name
    subprocess.run(["docker", "cp", f"{host.backend.name}:{newest}", str(copy)], check=True, capture_output=True)
    before, account = served.disk, host.check_output("ls /etc/letsencrypt/accounts/acme.test:14000/dir")
    host.run_expect(
        [0], "rm -rf /etc/letsencrypt /etc/certificates.json /var/backups/letsencrypt /var/lib/certificates"
    )

    values = json.dumps({"letsencrypt_source": "venv", "letsencrypt_restore": str(copy)})
    assert changed(playbook("-e", values, path="molecule/letsencrypt/get.yml")) > 0
    assert served.disk == served.nginx == before
    assert host.check_output("stat -L -c '%a %U' /etc/letsencrypt/live/reef/privkey.pem") == "600 root"
    assert renew() == ("success", "success")
    assert before != served.disk == served.nginx == served.postfix
    assert host.check_output("ls /etc/letsencrypt/accounts/acme.test:14000/dir") == account


def test_certificates_of_ones_own(
    host: Any, playbook: Callable[..., subprocess.CompletedProcess[str]], served: Served
) -> None:
    host.run_expect([0], f"{{ {MAKE} }} 2>/dev/null")
    files = {
        name: host.file(f"/run/own/{name}").content_string
        for name in ("good.pem", "good.key", "other.key", "locked.key", "ended.pem")
    }

    def values(**pairs: tuple[str, str]) -> str:
        own = [{"name": name, "certificate": files[pem], "key": files[key]} for name, (pem, key) in pairs.items()]
        site = {
            "name": "reef",
            "server_names": ["reef.test", "www.reef.test"],
            "socket": "/run/echo.sock",
            "tls": {"certificate": f"{OWN}/fullchain.pem", "key": f"{OWN}/privkey.pem"},
        }
        services = [{"unit": "nginx.service", "port": 443, "certificates": [next(iter(pairs))]}]
        return json.dumps(
            {
                "letsencrypt_certificates": [],
                "letsencrypt_own": own,
                "letsencrypt_services": services,
                "nginx_sites": [site],
            }
        )

    before = served.nginx
    bad = values(strange=("good.pem", "other.key"), locked=("good.pem", "locked.key"), ended=("ended.pem", "good.key"))
    result = playbook("-e", bad, "--diff", path="molecule/letsencrypt/serve.yml")
    said = " ".join(result.stdout.split())
    for name in ("strange", "locked", "ended"):
        assert f"Give {name} of letsencrypt_own a certificate that has not ended" in said
    assert result.returncode == 2
    assert not host.file("/etc/ssl/certificates").exists
    assert served.nginx == before

    result = playbook("-e", values(own=("good.pem", "good.key")), "--diff", path="molecule/letsencrypt/serve.yml")
    assert changed(result) > 0
    assert served.nginx == fingerprint(ssl.PEM_cert_to_DER_cert(files["good.pem"]))
    assert files["good.key"].splitlines()[1] not in result.stdout
    assert host.check_output(f"stat -c '%a %U' {OWN}/privkey.pem") == "600 root"
    shown = host.run_expect([0], "certificates show").stdout
    assert "The university" in shown
    assert "by hand" in shown
