"""The host moves from the distribution's certbot to one in a virtual environment, which asks the CA when to renew."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from typing import Any

from shared.acme import Served, exposure, timers
from shared.visitor import changed

CERTBOT = "REQUESTS_CA_BUNDLE=/etc/ssl/acme-test.pem /opt/certbot/bin/certbot"


def test_certbot_in_a_virtual_environment(
    host: Any, playbook: Callable[..., subprocess.CompletedProcess[str]], served: Served
) -> None:
    before = served.disk
    both = [{"name": "reef", "domains": ["reef.test", "www.reef.test"]}, {"name": "other", "domains": ["reef.test"]}]
    values = json.dumps({"letsencrypt_source": "venv", "letsencrypt_certificates": both})
    assert changed(playbook("-e", values, path="molecule/letsencrypt/get.yml")) > 0
    version = re.findall(r"\d+", host.check_output("/opt/certbot/bin/certbot --version"))
    assert [int(number) for number in version[:2]] >= [5, 8]
    assert served.disk == before
    assert host.file("/etc/letsencrypt/live/other/fullchain.pem").exists
    runs = host.check_output("systemctl show --property=ExecStart certbot.service")
    assert "argv[]=/opt/certbot/bin/certbot -q renew" in runs
    assert timers(host) == ["certbot.timer", "certificates-check.timer"]
    assert exposure(host, "certbot.service") <= 2.4


def test_a_revoked_certificate_is_replaced(host: Any, timer: Callable[[], tuple[str, str]], served: Served) -> None:
    before = served.disk
    assert timer() == ("success", "success")
    assert served.disk == before, "the CA does not want it renewed yet"
    host.run_expect(
        [0],
        f"{CERTBOT} revoke --non-interactive --server https://acme.test:14000/dir --cert-name reef"
        " --reason keycompromise --no-delete-after-revoke",
    )
    # The CA has said when it wants to be asked again; this is as if that had come
    host.run_expect([0], "sed -i '/^ari_retry_after/d' /etc/letsencrypt/renewal/reef.conf")
    start = time.monotonic()
    assert timer() == ("success", "success")
    print(f"{host.backend.name}: revoked, replaced and served after {time.monotonic() - start:.1f} s")
    assert before != served.disk == served.nginx == served.postfix
