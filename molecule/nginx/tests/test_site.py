"""The site with TLS: what its visitors get, and what the application and the log learn of them."""

from __future__ import annotations

import json
import re
import socket
import ssl
from typing import Any

import pytest
from shared.visitor import Visitor


class Answer:
    """What curl on the host itself got."""

    def __init__(self, text: str) -> None:
        head, _blank, self.body = text.replace("\r", "").rpartition("\n\n")
        lines = head.rpartition("\n\n")[2].splitlines()
        self.status = " ".join(lines[0].split()[:2])
        self.headers: dict[str, list[str]] = {}
        for line in lines[1:]:
            name, _colon, value = line.partition(": ")
            self.headers.setdefault(name.lower(), []).append(value)


class Curl:
    def __init__(self, host: Any) -> None:
        self._host = host

    def __call__(self, url: str, *options: str) -> Answer:
        names = " ".join(
            f"--resolve {name}.test:{port}:127.0.0.1" for name in ("shore", "survey") for port in (80, 443)
        )
        command = f"curl -sS -D /dev/stdout --cacert /srv/reef/shore.pem {names} {' '.join(options)} '{url}'"
        return Answer(self._host.run_expect([0], command).stdout)


@pytest.fixture
def curl(host: Any) -> Curl:
    return Curl(host)


def log_of(host: Any, request_id: str) -> str:
    """Give the line of a request, which nginx writes a second later."""
    log = "/var/log/nginx/access.log"
    command = f"timeout 20 sh -c 'until grep -h {request_id} {log}; do sleep 0.2; done'"
    return str(host.run_expect([0], command).stdout)


def handshake(address: str, name: str, **versions: ssl.TLSVersion) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT@SECLEVEL=0")  # an old version is for the server to refuse
    for limit, version in versions.items():
        setattr(context, limit, version)
    with (
        socket.create_connection((address, 443), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        return str(secure.version())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls(host: Any, address: str, inventory_name: str) -> None:
    assert handshake(address, "shore.test") == "TLSv1.3"
    assert handshake(address, "www.shore.test", maximum_version=ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    with pytest.raises(OSError, match="alert protocol version"):
        handshake(address, "shore.test", minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
    for stranger in ("stranger.test", "reef.test"):
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized"):
            handshake(address, stranger)
    if inventory_name == "debian-13":  # its OpenSSL is the first to have it
        seen = host.run("openssl s_client -connect 127.0.0.1:443 -servername shore.test -brief </dev/null")
        assert "X25519MLKEM768" in seen.stderr


def test_everybody_is_sent_to_tls(curl: Curl) -> None:
    answer = curl("http://shore.test/reef?a=b")
    assert answer.status == "HTTP/1.1 301"
    assert answer.headers["location"] == ["https://shore.test/reef?a=b"]
    answer = curl("https://shore.test/")
    assert answer.status == "HTTP/2 200"
    assert answer.headers["strict-transport-security"] == ["max-age=86400"]


def test_http3(curl: Curl, inventory_name: str) -> None:
    offered = curl("https://shore.test/").headers.get("alt-svc")
    if inventory_name == "debian-12":
        assert offered is None
        return
    assert offered == ['h3=":443"; ma=86400']
    answer = curl("https://shore.test/static/reef.txt", "--http3-only")
    assert (answer.status, answer.body) == ("HTTP/3 200", "A reef.\n")
    assert json.loads(curl("https://shore.test/", "--http3-only").body)["HTTP_HOST"] == "shore.test"


@pytest.mark.parametrize("name", ["shore", "survey"])
def test_challenges_are_answered_on_port_80(host: Any, curl: Curl, name: str) -> None:
    folder = "/var/www/letsencrypt/.well-known/acme-challenge"
    host.run_expect([0], f"mkdir -p {folder} && printf proof > {folder}/token")
    answer = curl(f"http://{name}.test/.well-known/acme-challenge/token")
    assert (answer.status, answer.body) == ("HTTP/1.1 200", "proof")
    assert answer.headers["content-type"] == ["text/plain"]
    assert curl(f"http://{name}.test/.well-known/acme-challenge/other").status == "HTTP/1.1 404"


@pytest.mark.parametrize("path", ["/", "/static/reef.txt", "/static/none.txt"])
def test_security_headers(curl: Curl, path: str) -> None:
    headers = curl(f"https://shore.test{path}").headers
    assert headers["referrer-policy"] == ["same-origin"]
    assert headers["x-content-type-options"] == ["nosniff"]
    assert headers["x-frame-options"] == ["SAMEORIGIN"]
    assert headers["server"] == ["nginx"]


def test_the_applications_own_word_wins(curl: Curl) -> None:
    assert curl("https://shore.test/?frame=DENY").headers["x-frame-options"] == ["DENY"]


def test_a_request_can_be_followed(host: Any, curl: Curl) -> None:
    answer = curl("https://shore.test/", "-H 'X-Request-ID: forged'")
    (request_id,) = answer.headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", request_id)
    assert json.loads(answer.body)["HTTP_X_REQUEST_ID"] == request_id
    assert f" shore.test {request_id} echo-1 " in log_of(host, request_id)


def test_requests_for_static_files_are_not_logged(curl: Curl) -> None:
    assert "x-request-id" not in curl("https://shore.test/static/reef.txt").headers
    assert "x-request-id" in curl("https://shore.test/media/reef.txt").headers


def test_names_with_a_hash_are_kept_for_good(curl: Curl) -> None:
    hashed = curl("https://shore.test/static/reef.0123456789ab.txt").headers
    assert hashed["cache-control"] == ["public, max-age=31536000, immutable"]
    assert "cache-control" not in curl("https://shore.test/static/reef.txt").headers
    assert "cache-control" not in curl("https://shore.test/static/none.0123456789ab.txt").headers
    # An upload may have such a name too
    assert "cache-control" not in curl("https://shore.test/media/reef.0123456789ab.txt").headers


def test_compressed_files(host: Any, curl: Curl) -> None:
    host.run_expect([0], "cd /srv/reef/static && seq 1000 > long.txt && echo before | gzip > long.txt.gz")
    zipped = "-H 'Accept-Encoding: gzip' -o /tmp/zipped"

    answer = curl("https://shore.test/static/long.txt", zipped)
    assert answer.headers["content-encoding"] == ["gzip"]
    assert host.check_output("gunzip < /tmp/zipped") == "before", "the file at its side is taken as it is"
    assert answer.headers["vary"] == ["Accept-Encoding"]
    assert "content-encoding" not in curl("https://shore.test/static/long.txt").headers
    # Where none is wanted at its side, text is compressed as it is sent
    assert curl("https://shore.test/media/long.txt", zipped).headers["content-encoding"] == ["gzip"]
    assert host.check_output("gunzip < /tmp/zipped | tail -n 1") == "1000"
    # Pages hold secrets
    assert "content-encoding" not in curl(f"https://shore.test/?{'long=page&' * 200}", zipped).headers


def test_files_headers_and_files_elsewhere(curl: Curl) -> None:
    assert curl("https://shore.test/media/reef.txt").headers["content-security-policy"] == ["sandbox"]
    answer = curl("https://shore.test/cdn/a/b.css?c=d")
    assert answer.status == "HTTP/2 302"
    assert answer.headers["location"] == ["https://cdn.example/reef/a/b.css?c=d"]


def test_snippet(curl: Curl) -> None:
    assert curl("https://shore.test/snippet").status == "HTTP/2 204"


def test_the_word_of_a_trusted_proxy(host: Any, address: str, curl: Curl) -> None:
    """The tests' own machine is one, the host itself is none."""
    claimed = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    asked = Visitor(address, "own.test").get("/echo", headers=claimed)
    request_id = asked.headers["X-Request-ID"]
    assert asked.json()["HTTP_X_FORWARDED_PROTO"] == "https"
    assert log_of(host, request_id).startswith("203.0.113.9 ")

    answer = curl("https://shore.test/", "-H 'X-Forwarded-For: 203.0.113.9' -H 'X-Forwarded-Proto: http'")
    assert json.loads(answer.body)["HTTP_X_FORWARDED_PROTO"] == "https"
    assert log_of(host, answer.headers["x-request-id"][0]).startswith("127.0.0.1 ")


def test_a_generated_site(address: str) -> None:
    assert Visitor(address, "own.test").get("/").text == "generated"


def test_connections_to_the_application_are_kept(host: Any, curl: Curl) -> None:
    for _request in range(3):
        curl("https://shore.test/")
    assert host.run("ss --unix --no-header state established src /run/echo.sock").stdout.strip()


def test_the_service_is_sandboxed(host: Any) -> None:
    score = re.search(r"exposure level.*: ([\d.]+)", host.run("systemd-analyze security nginx.service").stdout)
    assert score
    print(f"{host.backend.name}: exposure of nginx.service: {score[1]}")
    assert float(score[1]) <= 2.5
    assert host.check_output("systemctl show --value --property=NoNewPrivileges nginx.service") == "yes"


def test_logs_are_rotated(host: Any, curl: Curl) -> None:
    before = curl("https://shore.test/").headers["x-request-id"][0]
    assert log_of(host, before)
    host.run_expect([0], "logrotate --force /etc/logrotate.d/nginx")
    assert before in host.check_output("cat /var/log/nginx/access.log.1")
    after = curl("https://shore.test/").headers["x-request-id"][0]
    assert log_of(host, after)
    log = host.file("/var/log/nginx/access.log")
    assert (log.user, log.group, log.mode) == ("www-data", "adm", 0o640)
