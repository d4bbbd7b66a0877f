"""A site's settings are judged for where it runs, with Django's own settings and checks; no value is told."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.conf import UserSettingsHolder, global_settings
from rendering import CANARY, ROLES

FILE = ROLES / "django_app" / "files" / "settings_check.py"
KEY = "q8Zr5vW1mT7xK3nB9cL2hJ6pD4gF0sYaUeIoRtQwXzCvNbMkHj-Pd"
WANTED = {
    "debug": False,
    "https": True,
    "hosts": ["reef.example", "www.reef.example"],
    "headers": {"X-Forwarded-Proto": "https"},
    "skip": [],
    "fail_level": "ERROR",
}
GOOD = {
    "DEBUG": False,
    "SECRET_KEY": KEY,
    "ALLOWED_HOSTS": ["reef.example", "www.reef.example"],
    "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
    "SESSION_COOKIE_SECURE": True,
    "CSRF_COOKIE_SECURE": True,
}


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings_check", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judged(check: ModuleType, wanted: dict[str, Any] | None = None, **changes: Any) -> dict[str, str]:
    """Give what is wrong with good settings that were changed, by setting."""
    settings = UserSettingsHolder(global_settings)
    for name, value in {**GOOD, **changes}.items():
        setattr(settings, name, value)
    said = check.judge(settings, {**WANTED, **(wanted or {})})
    assert all((each["set"] == "") == each["ok"] for each in said)
    return {each["setting"]: each["set"] for each in said if not each["ok"]}


def test_settings_of_an_older_django(check: ModuleType) -> None:
    """Before 4.1 there were no fallbacks."""
    assert [ok for name, ok, _value in check.keys(SimpleNamespace(SECRET_KEY=KEY)) if name == "SECRET_KEY"] == [True]


def test_good_settings(check: ModuleType) -> None:
    assert judged(check) == {}


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("DEBUG", True, "set DEBUG to False"),
        *(
            ("SECRET_KEY", key, "set SECRET_KEY to 50 random characters or more")
            for key in (
                f"django-insecure-{KEY}",
                KEY[:49],
                "ab" * 30,
                "change-me" * 8,
                f"{CANARY} a development server keeps no secrets, whatever is said",
                "<replace: Django's SECRET_KEY> and more so that it is long",
                b"short",
            )
        ),
        ("SECRET_KEY_FALLBACKS", [KEY, "old"], "set SECRET_KEY_FALLBACKS to keys of 50 random"),
        ("ALLOWED_HOSTS", [], "set ALLOWED_HOSTS to the names of the site and no '*': reef.example, www.reef.example"),
        ("ALLOWED_HOSTS", ["*"], "no '*'"),
        ("ALLOWED_HOSTS", [*GOOD["ALLOWED_HOSTS"], "*"], "no '*'"),  # type: ignore[misc]  # the values are of several types
        ("ALLOWED_HOSTS", ["reef.example"], "www.reef.example"),
        ("SECURE_PROXY_SSL_HEADER", None, "to ('HTTP_X_FORWARDED_PROTO', 'https'), which is the header that the web"),
        ("SECURE_PROXY_SSL_HEADER", ("HTTP_X_FORWARDED_SSL", "on"), "HTTP_X_FORWARDED_PROTO"),
        ("SESSION_COOKIE_SECURE", False, "set SESSION_COOKIE_SECURE to True"),
        ("CSRF_COOKIE_SECURE", False, "set CSRF_COOKIE_SECURE to True"),
        ("CSRF_TRUSTED_ORIGINS", ["http://reef.example"], "https://reef.example, https://www.reef.example; none with"),
    ],
)
def test_each_setting(check: ModuleType, setting: str, value: Any, words: str) -> None:
    wrong = judged(check, **{setting: value})

    assert words in wrong[setting]
    # Without the header Django does not know the site's own origin for one that it can trust
    assert set(wrong) - {"CSRF_TRUSTED_ORIGINS"} <= {setting}
    assert judged(check, {"skip": list(wrong)}, **{setting: value}) == {}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"ALLOWED_HOSTS": [".reef.example"]}, {}),
        ({"CSRF_COOKIE_SECURE": False, "CSRF_USE_SESSIONS": True}, {}),
        ({"SECRET_KEY": KEY.encode()}, {}),
        (
            {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_SCHEME", "https")},
            {"headers": {"X-Forwarded-For": "1", "X-Scheme": "https"}},
        ),
        ({"SESSION_COOKIE_SECURE": False, "CSRF_COOKIE_SECURE": False}, {"https": False}),
        # A developer's own machine
        ({"DEBUG": True, "SECRET_KEY": "x", "ALLOWED_HOSTS": []}, {"debug": True, "https": False}),
        ({"SESSION_COOKIE_SECURE": False, "CSRF_COOKIE_SECURE": False}, {"debug": True, "https": False}),
    ],
)
def test_what_is_right_too(check: ModuleType, changes: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert judged(check, wanted, **changes) == {}


@pytest.mark.parametrize(
    ("origins", "missing"),
    [
        ([], True),
        (["https://reef.example"], True),
        (["https://reef.example", "https://www.reef.example"], False),
        (["https://reef.example", "https://*.reef.example"], False),
    ],
)
def test_origins_stand_in_for_a_header_that_is_not_believed(
    check: ModuleType, origins: list[str], missing: bool
) -> None:
    wrong = judged(
        check, {"skip": ["SECURE_PROXY_SSL_HEADER"]}, SECURE_PROXY_SSL_HEADER=None, CSRF_TRUSTED_ORIGINS=origins
    )

    assert (set(wrong) == {"CSRF_TRUSTED_ORIGINS"}) == missing


def test_secure_cookies_without_tls_let_nobody_log_in(check: ModuleType) -> None:
    assert set(judged(check, {"https": False})) == {"SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE"}


SETTINGS = """
from pathlib import Path
print("something of the site's own")
INSTALLED_APPS = []
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware"]
"""


def run(tmp_path: Path, wanted: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Judge a settings module in a Django of its own, as the role does."""
    text = SETTINGS + "".join(f"{name} = {value!r}\n" for name, value in {**GOOD, **changes}.items())
    (tmp_path / "reef_settings.py").write_text(text)
    call = "\nimport json, sys\nprint(json.dumps(settings_report(json.load(sys.stdin))))"
    done = subprocess.run(
        [sys.executable, "-m", "django", "shell", "--verbosity", "0", "--command", FILE.read_text() + call],
        input=json.dumps({**WANTED, **(wanted or {})}),
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "reef_settings", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert CANARY not in done.stdout
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_one_start_of_django_is_enough_for_all(tmp_path: Path) -> None:
    told = run(tmp_path, SECRET_KEY=f"django-insecure-{CANARY}", SECURE_HSTS_SECONDS=0)

    assert [each["setting"] for each in told["settings"] if not each["ok"]] == ["SECRET_KEY"]
    found = {each["id"]: each for each in told["checks"]}
    assert {"security.W004", "security.W009"} <= set(found), "check --deploy has its own words"
    assert not any(each["fails"] for each in told["checks"])


@pytest.mark.parametrize(("level", "fails"), [("NONE", False), ("ERROR", False), ("WARNING", True), ("INFO", True)])
def test_the_level_from_which_a_message_fails(tmp_path: Path, level: str, fails: bool) -> None:
    told = run(tmp_path, {"fail_level": level}, SILENCED_SYSTEM_CHECKS=["security.W008"])

    assert {each["id"] for each in told["checks"]} == {"security.W002", "security.W003", "security.W004"}
    assert {each["fails"] for each in told["checks"]} == {fails}


def test_an_error_fails_at_the_default_level(tmp_path: Path) -> None:
    told = run(tmp_path, CSRF_TRUSTED_ORIGINS=["reef.example"])

    assert [each["id"] for each in told["checks"] if each["fails"]] == ["4_0.E001"]
