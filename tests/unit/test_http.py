from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.coralnet.server.plugins.module_utils import _http
from ansible_collections.coralnet.server.plugins.module_utils._http import Answer, Check, get, run_checks
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from servers import Server, UnixServer

NAME = "site.coralnet.test"
HEADERS = {"Host": NAME, "X-Forwarded-Proto": "https"}


@pytest.fixture
def unix(serve: Callable[[Server], Server], short_path: Path) -> Server:
    return serve(UnixServer(str(short_path / "app.sock")))


@pytest.fixture
def tcp(serve: Callable[[Server], Server]) -> Server:
    return serve(Server(("127.0.0.1", 0)))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a self-signed certificate for NAME, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    pem, traditional, no = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(pem, traditional, no) + signed.public_bytes(pem))
    return path


@pytest.fixture
def tls(serve: Callable[[Server], Server], certificate: Path) -> Server:
    server = Server(("127.0.0.1", 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return serve(server)


def url(server: Server, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.server_address[1]}"


def where(server: Server) -> str:
    return str(server.server_address) if isinstance(server, UnixServer) else url(server)


@pytest.fixture(params=["unix", "tcp"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


def test_get_returns_status_headers_and_body(server: Server) -> None:
    answer = get(where(server), "/404/not/here", HEADERS, 10)

    assert (answer.status, answer.body, answer.error) == (404, "not here", "")
    assert answer.headers["x-release"] == "20261124T101500Z-0123456789"


def test_get_sends_the_sites_host_and_what_the_front_adds(server: Server) -> None:
    get(where(server), "/200/x?a=1", HEADERS, 10)

    [(path, headers)] = server.requests
    assert path == "/200/x?a=1"
    assert headers["Host"] == NAME
    assert headers["X-Forwarded-Proto"] == "https"
    assert headers["User-Agent"] == "coralnet.server"


def test_get_follows_no_redirect(server: Server) -> None:
    assert get(where(server), "/302/", HEADERS, 10).status == 302
    assert len(server.requests) == 1


@pytest.mark.parametrize("path", ["/nothing", "/gibberish", "/half"])
def test_get_reports_a_connection_that_breaks(server: Server, path: str) -> None:
    answer = get(where(server), path, HEADERS, 10)

    assert answer.status == 0
    assert answer.error.startswith(f"no answer from {where(server)}: ")
    assert not answer.error.endswith(": ")


def test_get_reports_a_socket_that_is_not_there(short_path: Path) -> None:
    answer = get(str(short_path / "app.sock"), "/", HEADERS, 10)

    assert answer.status == 0
    assert "No such file or directory" in answer.error


def test_get_reports_a_port_where_nobody_listens() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        answer = get(f"http://127.0.0.1:{reserved.getsockname()[1]}", "/", HEADERS, 10)

    assert answer.status == 0
    assert "refused" in answer.error


@pytest.mark.parametrize("path", ["/über", "/a b", "/a\nb"])
def test_get_reports_a_path_that_cannot_be_asked_for(unix: Server, path: str) -> None:
    assert get(where(unix), path, HEADERS, 10).error


@pytest.mark.parametrize("path", ["/later", "/drip"])
def test_get_gives_up_in_time(server: Server, path: str) -> None:
    start = time.monotonic()
    answer = get(where(server), path, HEADERS, 0.2)

    assert "timed out" in answer.error
    assert time.monotonic() - start < 10


def test_get_reads_a_large_page_up_to_its_limit(unix: Server) -> None:
    answer = get(where(unix), "/large", HEADERS, 30)

    assert (answer.status, answer.error) == (200, "")
    assert len(answer.body) == _http.BODY_LIMIT


def test_get_reads_a_page_in_another_encoding(unix: Server) -> None:
    assert get(where(unix), "/latin", HEADERS, 10).body == "\N{REPLACEMENT CHARACTER}t\N{REPLACEMENT CHARACTER}"


def test_get_checks_the_certificate(tls: Server) -> None:
    answer = get(url(tls, "https"), "/", HEADERS, 10, verify=True)

    assert answer.status == 0
    assert "CERTIFICATE_VERIFY_FAILED" in answer.error


def test_get_takes_any_certificate_when_told_to(tls: Server) -> None:
    assert get(url(tls, "https"), "/200/secure", HEADERS, 10, verify=False).body == "secure"


def test_get_checks_the_certificate_against_the_name_and_not_the_address(
    tls: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    assert get(url(tls, "https"), "/200/secure", {"Host": f"{NAME}:8443"}, 10).body == "secure"
    assert "Hostname mismatch" in get(url(tls, "https"), "/", {"Host": "other.coralnet.test"}, 10).error


@pytest.mark.parametrize(
    ("check", "complaint"),
    [
        (Check("/200/hello"), ""),
        (Check("/404/x", status=(404,)), ""),
        (Check("/404/x", status=(200, 404)), ""),
        (Check("/500/x"), "/500/x: status 500 instead of 200"),
        (Check("/204", status=(200, 201)), "/204: status 204 instead of 200 or 201"),
        (Check("/400/x"), "/400/x: status 400 instead of 200 (is the host name in the site's ALLOWED_HOSTS?)"),
        (Check("/301/x"), "/301/x: status 301 instead of 200 (redirected to https://elsewhere.coralnet.test/)"),
        (Check("/302/x"), "/302/x: status 302 instead of 200 (redirected to https://elsewhere.coralnet.test/)"),
        (Check("/302/x", status=(302,)), ""),
        (Check("/200/coral/reef", body=r"coral\s+re+f"), ""),
        (Check("/200/coral/reef", body="shark"), "/200/coral/reef: the page does not contain 'shark'"),
        (Check("/200/coral/reef", reject="shark"), ""),
        (Check("/200/DEBUG/=/True", reject="DEBUG = True"), "/200/DEBUG/=/True: the page contains 'DEBUG = True'"),
    ],
)
def test_run_checks(server: Server, check: Check, complaint: str) -> None:
    assert run_checks(where(server), [check], HEADERS, {}, 0) == complaint


@pytest.mark.parametrize(
    ("expect", "complaint"),
    [
        ({"X-Release": "20261124T101500Z-0123456789"}, ""),
        ({"x-release": "20261124T101500Z-0123456789"}, ""),
        (
            {"X-Release": "20261124T101500Z-0123456789.1"},
            "/: the header X-Release says '20261124T101500Z-0123456789' instead of '20261124T101500Z-0123456789.1'",
        ),
        ({"X-Other": "x"}, "/: the header X-Other says None instead of 'x'"),
    ],
)
def test_run_checks_expects_headers(unix: Server, expect: dict[str, str], complaint: str) -> None:
    assert run_checks(where(unix), [Check()], HEADERS, expect, 0) == complaint


def test_run_checks_ends_with_the_first_that_complains(unix: Server) -> None:
    checks = [Check("/200/first"), Check("/500/second"), Check("/200/third")]

    assert "/500/second" in run_checks(where(unix), checks, HEADERS, {}, 0)
    assert [path for path, _headers in unix.requests] == ["/200/first", "/500/second"]


def test_run_checks_waits_for_a_server_that_comes_up_late(serve: Callable[[Server], Server], short_path: Path) -> None:
    path = str(short_path / "late.sock")
    threading.Timer(0.4, lambda: serve(UnixServer(path))).start()

    assert run_checks(path, [Check("/200/up")], HEADERS, {}, 30) == ""


def test_run_checks_respects_its_deadline_and_tells_what_it_last_saw(server: Server) -> None:
    start = time.monotonic()
    complaint = run_checks(where(server), [Check("/500/x")], HEADERS, {}, 0.5)
    took = time.monotonic() - start

    assert complaint == "/500/x: status 500 instead of 200"
    assert len(server.requests) > 1
    assert 0.5 <= took < 10


def test_run_checks_soon_believes_a_wrong_answer(server: Server) -> None:
    start = time.monotonic()
    complaint = run_checks(where(server), [Check("/500/x")], HEADERS, {}, 60)

    assert complaint == "/500/x: status 500 instead of 200"
    assert len(server.requests) > 1
    assert time.monotonic() - start < 30


def test_run_checks_sees_while_it_waits_that_nobody_will_answer(server: Server) -> None:
    deaths = iter(["", "it ended by itself", "it ended by itself"])
    start = time.monotonic()

    assert (
        run_checks(where(server), [Check("/later")], HEADERS, {}, 60, died=lambda: next(deaths)) == "it ended by itself"
    )
    assert time.monotonic() - start < 30


def test_run_checks_waits_no_longer_for_a_server_that_died(short_path: Path) -> None:
    start = time.monotonic()
    complaint = run_checks(str(short_path / "app.sock"), [Check()], HEADERS, {}, 60, died=lambda: "it ended by itself")

    assert complaint == "it ended by itself"
    assert time.monotonic() - start < 30


def test_run_checks_lets_a_good_answer_count_whatever_else_is_said(unix: Server) -> None:
    assert run_checks(where(unix), [Check()], HEADERS, {}, 60, died=lambda: "it ended by itself") == ""


def test_run_checks_respects_its_deadline_where_nobody_answers(server: Server) -> None:
    start = time.monotonic()

    assert "timed out" in run_checks(where(server), [Check("/later")], HEADERS, {}, 0.1)
    assert time.monotonic() - start < 10


def test_complaint_names_the_error_first() -> None:
    assert (
        Check("/x").complaint(Answer(0, error="no answer from /run/x"), {"X-Release": "y"})
        == "/x: no answer from /run/x"
    )
