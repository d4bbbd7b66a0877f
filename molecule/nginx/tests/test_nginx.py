"""nginx as its visitors and its operators see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from shared.visitor import Visitor, changed


@pytest.fixture
def reef(address: str) -> Visitor:
    return Visitor(address, "reef.test")


@pytest.mark.parametrize("name", ["reef.test", "www.reef.test"])
def test_the_application_answers_under_each_name(address: str, name: str) -> None:
    asked = Visitor(address, name).get("/").json()
    assert asked["HTTP_HOST"] == name
    assert asked["HTTP_X_FORWARDED_PROTOCOL"] == "https"
    assert "HTTP_X_FORWARDED_PROTO" not in asked, "the site's own headers replace the default ones"


def test_files_do_not_reach_the_application(reef: Visitor) -> None:
    answer = reef.get("/static/reef.txt")
    assert answer.text == "A reef.\n"
    assert answer.headers["Cache-Control"] == "max-age=3600"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert reef.get("/static/nothing.txt").status_code == 404
    assert reef.get("/static/../echo.py").status_code == 200, "outside /static/ the application answers"
    assert "application" not in reef.get("/static/..%2fecho.py").text


def test_body_sizes(address: str) -> None:
    body = b"x" * 1_500_000
    assert Visitor(address, "reef.test").post("/", data=body[:1_000_000]).json()["length"] == 1_000_000
    assert Visitor(address, "reef.test").post("/", data=body).status_code == 413
    # the other site's own limit is larger; nobody listens behind it
    assert Visitor(address, "survey.test").post("/", data=body).status_code == 502


def test_the_applications_time(reef: Visitor) -> None:
    assert reef.get("/?wait=1").status_code == 200
    assert reef.get("/?wait=4").status_code == 504


@pytest.mark.parametrize("name", ["other.test", "reef.test.evil.test", "localhost"])
def test_other_names_get_no_answer(address: str, name: str) -> None:
    with pytest.raises(requests.ConnectionError):
        Visitor(address, name).get("/")


def test_the_service(host: Any) -> None:
    service = host.service("nginx")
    assert service.is_running
    assert service.is_enabled
    host.run_expect([0], "nginx -t")
    assert not host.file("/etc/nginx/sites-enabled/default").exists


def test_a_configuration_that_nginx_refuses_fails_every_run(
    host: Any, reef: Visitor, playbook: Callable[..., Any]
) -> None:
    host.run_expect([0], "echo 'nonsense;' > /etc/nginx/conf.d/broken.conf")
    try:
        for _run in range(2):
            result = playbook()
            assert result.returncode != 0
            assert 'unknown directive "nonsense"' in result.stdout + result.stderr
            assert reef.get("/static/reef.txt").status_code == 200
    finally:
        host.run_expect([0], "rm /etc/nginx/conf.d/broken.conf")
    host.run_expect([0], "touch /etc/systemd/system/nginx.service.d/sandbox.conf")  # as a changed one is new
    result = playbook()
    assert result.returncode == 0
    assert "nginx runs with the sandbox of before" in " ".join(result.stdout.split())


def test_files_of_ours_that_nginx_refuses_are_put_back(
    host: Any, reef: Visitor, address: str, playbook: Callable[..., Any]
) -> None:
    written = {
        "nginx_sites": [
            {
                "name": "reef",
                "server_names": ["reef.test"],
                "socket": "/run/echo.sock",
                "headers": {"X-Reef": "a; nonsense"},
            }
        ]
    }
    generated = {
        "nginx_generated_sites": [
            {
                "name": "own",
                "path": "/srv/reef/own.conf",
                "command": ["sh", "-c", "echo 'more nonsense;' > /srv/reef/own.conf"],
            }
        ]
    }
    files = [f"/etc/nginx/sites-available/{name}" for name in ("reef", "own")]
    before = [host.file(path).content for path in files]
    for values, refused in [
        (written, 'unknown directive "nonsense" in /etc/nginx/sites-enabled/reef'),
        (written, 'unknown directive "nonsense" in /etc/nginx/sites-enabled/reef'),  # every run, not the first alone
        (generated, 'unknown directive "more" in /etc/nginx/sites-enabled/own'),
    ]:
        result = playbook("-e", json.dumps(values))
        assert result.returncode != 0
        assert refused in " ".join(result.stdout.split())
        assert [host.file(path).content for path in files] == before
        host.run_expect([0], "systemctl restart nginx")
        assert reef.get("/static/reef.txt").status_code == 200
        assert Visitor(address, "own.test").get("/").text == "generated"
    result = playbook()
    assert changed(result) == 0
    assert "sandbox of before" not in " ".join(result.stdout.split()), "nginx was restarted"
