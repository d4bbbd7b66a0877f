"""The running site's settings, broken on purpose: each is named, with what to set, and no secret is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from shared.visitor import changed

SHARED = "/srv/www/coralnet/shared"
KEY = "django-insecure-canary-5c1d-0123456789abcdefghijklmnopqrstuvwxyz"
HOSTS = ("debian-12", "debian-13")
Play = Callable[..., Any]


@pytest.fixture
def settings(playbook: Play) -> Play:
    return partial(playbook, path="playbooks/settings.yml")


@contextmanager
def with_values(host: Any, name: str, **values: Any) -> Iterator[None]:
    """Have a file of the site's say something else meanwhile; the running process has read it already."""
    path = f"{SHARED}/{name}"
    text = json.dumps({**json.loads(host.check_output(f"cat {path}")), **values}).replace("'", "'\\''")
    host.run_expect([0], f"cp -p {path} /var/tmp/{name} && printf '%s' '{text}' >{path}")
    try:
        yield
    finally:
        host.run_expect([0], f"cp -p /var/tmp/{name} {path}")


def test_the_site_is_fit_for_where_it_runs(settings: Play) -> None:
    assert changed(settings()) == 0
    assert changed(settings("--check", "--diff")) == 0


BROKEN = [
    ({"SECRET_KEY": KEY}, {}, "set SECRET_KEY to 50 random characters or more"),
    ({"ALLOWED_HOSTS": ["*"]}, {}, "set ALLOWED_HOSTS to the names of the site and no '*': coralnet.test, localhost"),
    ({"SECURE": True}, {}, "set SESSION_COOKIE_SECURE to False, or serve the site with TLS; set CSRF_COOKIE_SECURE"),
    ({"SECURE": False}, {"site_tls": True}, "set SESSION_COOKIE_SECURE to True; set CSRF_COOKIE_SECURE to True"),
    ({"CSRF_TRUSTED_ORIGINS": ["coralnet.test"]}, {}, "must start with a scheme"),
]


@pytest.mark.parametrize(
    ("values", "variables", "words"),
    [
        pytest.param(*broken, marks=pytest.mark.on(HOSTS[number % 2]), id=next(iter(broken[0])))
        for number, broken in enumerate(BROKEN)
    ],
)
def test_a_setting_that_is_not(
    host: Any, settings: Play, values: dict[str, Any], variables: dict[str, Any], words: str
) -> None:
    with with_values(host, "secrets.json", **values):
        result = settings("-e", json.dumps(variables))
    assert result.returncode != 0
    said = " ".join(result.stdout.split())
    assert "The settings (config.settings.production) are not fit for this environment: " in said
    assert words in said
    assert "canary" not in said
    assert changed(settings()) == 0


@pytest.mark.on(HOSTS[1])
def test_settings_with_which_nothing_starts(host: Any, settings: Play) -> None:
    with with_values(host, "secrets.json", MEDIA_ROOT=""):
        result = settings()
    assert result.returncode != 0
    said = " ".join(result.stdout.split())
    assert "The site does not start with its settings: " in said
    assert "MEDIA_ROOT must be set in" in said
    assert "def judge" not in said, "its text is not for people"


def test_debug_is_for_development_alone(host: Any, settings: Play) -> None:
    host.run_expect([0], "install -d /srv/over && echo 'from config.settings.production import *' >/srv/over/over.py")
    host.run_expect([0], "echo DEBUG = True >>/srv/over/over.py")
    with with_values(host, "environment.json", DJANGO_SETTINGS_MODULE="over", PYTHONPATH="/srv/over"):
        refused = settings()
        assert refused.returncode != 0
        assert "set DEBUG to False" in " ".join(refused.stdout.split())
        assert changed(settings("-e", "deploy_environment=development")) == 0
    host.run_expect([0], "rm -r /srv/over")
