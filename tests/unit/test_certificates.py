"""What the program that looks after a host's certificates makes of what it finds."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tarfile
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[2] / "roles/letsencrypt/files/certificates.py"
spec = importlib.util.spec_from_file_location("certificates", PROGRAM)
assert spec
assert spec.loader
certificates = importlib.util.module_from_spec(spec)
sys.modules["certificates"] = certificates
spec.loader.exec_module(certificates)

NOW = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)  # noqa: UP017


def certificate(*, life: float = 90, left: float = 60, name: str = "reef") -> Any:
    ends = NOW + timedelta(days=left)
    domains = ("reef.example", "www.reef.example")
    return certificates.Certificate(name, domains, "A CA", ends - timedelta(days=life), ends, "f" * 64)


def state(monkeypatch: pytest.MonkeyPatch, found: Any, **config: Any) -> Any:
    """Look at a host that has one certificate, or none of which the reason is given."""

    def read(name: str, *, own: bool) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(certificates, "read", read)
    whole = {
        "certificates": [{"name": "reef", "domains": ["reef.example", "www.reef.example"]}],
        "own": [],
        "services": [{"unit": "nginx.service", "port": 443, "certificates": []}],
        "ari": False,
        "renew_before_days": None,
        "keep_backups": 2,
        **config,
    }
    return certificates.State(whole, NOW)


@pytest.mark.parametrize(
    ("life", "days", "before"),
    [
        (90, None, 30),
        (64, None, 64 / 3),
        (45, None, 15),
        (10, None, 10 / 3),
        (160 / 24, None, 80 / 24),
        (6, None, 3),
        (90, 7, 7),
        (90, 0.5, 0.5),
    ],
)
def test_renew_before(life: float, days: float | None, before: float) -> None:
    assert certificates.renew_before(timedelta(days=life), days) == timedelta(days=before)


@pytest.mark.parametrize("life", [90, 64, 45, 160 / 24])
def test_one_renewal_in_a_life(life: float) -> None:
    """The timer comes twice a day; what it renews must not be due again at once."""
    due = timedelta(days=life) - certificates.renew_before(timedelta(days=life), None)
    checks = [timedelta(hours=12 * number) for number in range(int(life * 2))]
    renewed = next(check for check in checks if check >= due)
    assert renewed - due < timedelta(hours=12)
    assert renewed > timedelta(days=life) / 2
    assert timedelta(days=life) - renewed > timedelta(days=2), "there is time for a person to mend it"


@pytest.mark.parametrize(
    ("life", "left", "config", "complaint"),
    [
        (90, 60, {}, ""),
        (90, 20.1, {}, ""),
        (90, 19.9, {}, "reef: 19.9 days left, its renewal is overdue"),
        (45, 9.9, {}, "reef: 9.9 days left, its renewal is overdue"),
        (160 / 24, 2.3, {}, ""),
        (160 / 24, 2.1, {}, "reef: 2.1 days left, its renewal is overdue"),
        (90, 0, {}, "reef: it ended on 2026-11-24 12:00 UTC"),
        # It is wanted later, or earlier
        (90, 9, {"renew_before_days": 10}, ""),
        (90, 6, {"renew_before_days": 10}, "reef: 6.0 days left, its renewal is overdue"),
        (90, 60, {"renew_before_days": 80}, ""),
        # Which is about what certbot renews
        (90, 9, {"renew_before_days": 10, "certificates": [], "own": ["reef"]}, "reef: 9.0 days left"),
        (
            90,
            60,
            {"certificates": [{"name": "reef", "domains": ["reef.example", "new.example"]}]},
            "not for new.example",
        ),
    ],
)
def test_complaints(
    monkeypatch: pytest.MonkeyPatch, life: float, left: float, config: dict[str, Any], complaint: str
) -> None:
    complaints = state(monkeypatch, certificate(life=life, left=left), **config).complaints
    assert len(complaints) == bool(complaint)
    assert complaint in "".join(complaints)


def test_a_certificate_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = state(monkeypatch, certificates.CertificateError("there is no such file"))
    assert (broken.found, broken.complaints) == ([], ["reef: there is no such file"])


@pytest.mark.parametrize(
    ("config", "units"),
    [
        ({}, ["nginx.service"]),
        ({"services": [{"unit": "a.service", "certificates": ["reef"]}]}, ["a.service"]),
        ({"services": [{"unit": "a.service", "certificates": ["other"]}]}, []),
    ],
    ids=["all", "named", "another"],
)
def test_who_uses_it(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], units: list[str]) -> None:
    pairs = state(monkeypatch, certificate(), **config).pairs()
    assert [service["unit"] for service, _certificate in pairs] == units


@pytest.mark.parametrize(
    ("left", "config", "renewal"),
    [
        (60, {}, "2026-12-24"),
        (29, {}, "due"),
        (60, {"renew_before_days": 59}, "2026-11-25"),
        (60, {"certificates": [], "own": ["reef"]}, "by hand"),
    ],
)
def test_table(monkeypatch: pytest.MonkeyPatch, left: float, config: dict[str, Any], renewal: str) -> None:
    def differing(service: dict[str, Any], each: Any) -> str:
        return "another" if each.domains == ("www.reef.example",) else ""

    monkeypatch.setattr(certificates, "differing", differing)
    rows = certificates.table(state(monkeypatch, certificate(left=left), **config))
    assert rows[0] == ["name", "issuer", "days left", "next renewal", "served"]
    assert rows[1:] == [
        ["reef.example", "A CA", f"{left:.1f}", renewal, "nginx.service:443 yes"],
        ["www.reef.example", "A CA", f"{left:.1f}", renewal, "nginx.service:443 no"],
    ]


def test_aligned() -> None:
    assert certificates.aligned([["name", "x"], ["a.example", "yes"], ["b", ""]]) == "name       x\na.example  yes\nb"


@pytest.mark.parametrize(("known", "said"), [("f" * 64, ""), ("e" * 64, "a.service was not reloaded since reef came")])
def test_a_unit_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, known: str, said: str) -> None:
    monkeypatch.setattr(certificates, "LOADED", tmp_path)
    service = {"unit": "a.service", "port": 0, "certificates": []}
    assert certificates.differing(service, certificate()) != ""
    (tmp_path / "a.service").write_text(f"{known}\n")
    assert certificates.differing(service, certificate()) == said


LINEAGE = "version = 4.0.0\ncert = /etc/letsencrypt/live/reef/cert.pem\n[renewalparams]\naccount = 1\n"


@pytest.mark.parametrize(
    ("text", "due", "wanted"),
    [
        (LINEAGE, timedelta(days=30), f"renew_before_expiry = 43200 minutes\n{LINEAGE}"),
        (LINEAGE, timedelta(hours=80), f"renew_before_expiry = 4800 minutes\n{LINEAGE}"),
        # What certbot writes itself, commented out, and what we wrote before
        (
            f"# renew_before_expiry = 30 days\n{LINEAGE}",
            timedelta(days=15),
            f"renew_before_expiry = 21600 minutes\n{LINEAGE}",
        ),
        (
            f"renew_before_expiry = 1 minutes\n{LINEAGE}",
            timedelta(days=15),
            f"renew_before_expiry = 21600 minutes\n{LINEAGE}",
        ),
        (f"renew_before_expiry = 21600 minutes\n{LINEAGE}", None, LINEAGE),
        (LINEAGE, None, LINEAGE),
    ],
)
def test_with_due_time(text: str, due: timedelta | None, wanted: str) -> None:
    assert certificates.with_due_time(text, due) == wanted
    assert certificates.with_due_time(wanted, due) == wanted


@pytest.mark.parametrize(
    ("life", "config", "due"),
    [
        (90, {}, "renew_before_expiry = 43200 minutes\n"),
        (160 / 24, {}, "renew_before_expiry = 4800 minutes\n"),
        (90, {"ari": True}, ""),
        (90, {"ari": True, "renew_before_days": 7}, "renew_before_expiry = 10080 minutes\n"),
    ],
    ids=["classic", "short", "by the CA", "by the inventory"],
)
def test_prepare(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, life: float, config: dict[str, Any], due: str
) -> None:
    monkeypatch.setattr(certificates, "LETSENCRYPT", tmp_path / "letsencrypt")
    monkeypatch.setattr(certificates, "BACKUPS", tmp_path / "backups")
    path = tmp_path / "letsencrypt/renewal/reef.conf"
    path.parent.mkdir(parents=True)
    path.write_text(LINEAGE)
    path.chmod(0o640)
    certificates.prepare(state(monkeypatch, certificate(life=life), **config), lambda _line: None)
    assert path.read_text() == due + LINEAGE
    assert path.stat().st_mode & 0o777 == 0o640
    said: list[str] = []
    certificates.prepare(state(monkeypatch, certificate(life=life), **config), said.append)
    assert [line for line in said if line.startswith("Set")] == []


def test_backup(tmp_path: Path) -> None:
    folder, target = tmp_path / "letsencrypt", tmp_path / "backups"
    later = (NOW + timedelta(minutes=number) for number in range(9))
    assert certificates.backup(folder, target, 2, next(later)) is None
    (folder / "live").mkdir(parents=True)
    (folder / "live/cert.pem").symlink_to("../archive/cert1.pem")
    first = certificates.backup(folder, target, 2, next(later))
    assert certificates.backup(folder, target, 2, next(later)) is None, "nothing has changed"
    assert (target.stat().st_mode & 0o777, first.stat().st_mode & 0o777) == (0o700, 0o600)
    with tarfile.open(first) as archive:
        assert archive.getmember(f"{folder}/live/cert.pem".lstrip("/")).linkname == "../archive/cert1.pem"
    (folder / "live/cert.pem").unlink()
    (folder / "live/cert.pem").symlink_to("../archive/cert2.pem")
    second = certificates.backup(folder, target, 2, next(later))
    (folder / "new").touch()
    third = certificates.backup(folder, target, 2, next(later))
    assert sorted(target.iterdir()) == [second, third]


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (
            "acme.messages.Error: urn:ietf:params:acme:error:rateLimited :: wait\n",
            "urn:ietf:params:acme:error:rateLimited :: wait",
        ),
        ("x\nacme.messages.Error: one\nx\nacme.messages.Error: two\nacme.messages.Error: one\n", "one\ntwo"),
        ("2026-11-24: certbot: nothing is due\n", ""),
        (
            "Notifying user:\n  Domain: reef.test\n  Type:   dns\n  Detail: x\n\nHint: y\n",
            "Domain: reef.test\nType:   dns\nDetail: x",
        ),
    ],
)
def test_certbots_words(log: str, words: str) -> None:
    assert certificates.certbots_words(log) == words


RAN = "1:INFO:certbot.compat.misc:Running deploy-hook command: /etc/hooks/{}\n"
FAILED = "1:WARNING:certbot.display.ops:Hook 'deploy-hook' reported error code {}\n"


@pytest.mark.parametrize(
    ("log", "complaints"),
    [
        ("", []),
        (RAN.format("a") + RAN.format("b"), []),
        (RAN.format("a") + "x\n" + FAILED.format(3), ["certbot's hook /etc/hooks/a ended with exit code 3"]),
        (RAN.format("a") + RAN.format("b") + FAILED.format(1), ["certbot's hook /etc/hooks/b ended with exit code 1"]),
    ],
)
def test_failed_hooks(log: str, complaints: list[str]) -> None:
    assert certificates.failed_hooks(log) == complaints


def test_an_old_runs_log_is_no_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "LOG", tmp_path / "letsencrypt.log")
    assert certificates.last_run() == ""
    start = "2026-11-24 19:50:26,498:DEBUG:certbot._internal.main:certbot version: 4.0.0\n"
    certificates.LOG.write_text(f"{start}old\n{start}new\n")
    assert certificates.last_run() == "4.0.0\nnew\n"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make a certificate with its key."""
    folder = tmp_path_factory.mktemp("own")

    def make(name: str) -> Path:
        if not (folder / name).exists():
            (folder / name).mkdir()
            subprocess.run(
                [
                    *(
                        "openssl",
                        "req",
                        "-utf8",
                        "-x509",
                        "-newkey",
                        "ec",
                        "-pkeyopt",
                        "ec_paramgen_curve:P-256",
                        "-nodes",
                    ),
                    *("-days", "45", "-subj", f"/O=Reef/CN={name}", "-addext"),
                    "subjectAltName=DNS:reef.example,DNS:*.reef.example,IP:192.0.2.1",
                    *("-out", folder / name / "fullchain.pem", "-keyout", folder / name / "privkey.pem"),
                ],
                check=True,
                capture_output=True,
            )
        return folder / name

    return make


def test_read(monkeypatch: pytest.MonkeyPatch, pair: Callable[[str], Path]) -> None:
    monkeypatch.setattr(certificates, "OWN", pair("Riff ä").parent)
    found = certificates.read("Riff ä", own=True)
    assert (found.issuer, found.domains) == ("Riff ä", ("reef.example", "*.reef.example"))
    assert found.lifetime == timedelta(days=45)
    assert found.left(found.ends - timedelta(days=1)) == timedelta(days=1)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"privkey.pem": None}, "there is no .*/privkey.pem: it was never issued"),
        ({"fullchain.pem": None}, "there is no .*/fullchain.pem: it was never issued"),
        ({"privkey.pem": "other"}, "privkey.pem is not the key of .*/fullchain.pem"),
        ({"fullchain.pem": ""}, "openssl x509 -noout: "),
    ],
    ids=["no key", "no certificate", "another key", "empty"],
)
def test_pairs_that_are_none(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    pair: Callable[[str], Path],
    change: dict[str, str | None],
    complaint: str,
) -> None:
    monkeypatch.setattr(certificates, "OWN", tmp_path)
    (tmp_path / "reef").mkdir()
    for name in ("fullchain.pem", "privkey.pem"):
        other = change.get(name, "one")
        if other is not None:
            content = (pair(other) / name).read_text() if other else ""
            (tmp_path / "reef" / name).write_text(content)
    with pytest.raises(certificates.CertificateError, match=complaint):
        certificates.read("reef", own=True)
