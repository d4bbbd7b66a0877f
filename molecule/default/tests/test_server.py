"""The server behind the site: accounts, units, sockets, database."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

ROOT = "/srv/www/coralnet"


@pytest.fixture
def instance(host: Any) -> str:
    return str(host.check_output(f"basename $(readlink {ROOT}/current/app.sock) .sock"))


def test_the_database_is_the_sites(host: Any) -> None:
    query = "select pg_get_userbyid(datdba), pg_encoding_to_char(encoding) from pg_database where datname = 'coralnet'"
    answer = host.run(f'cd / && runuser -u postgres -- psql -Atc "{query}"')
    assert answer.stdout.strip() == "coralnet|UTF8"
    # without a password, from the site's own account only
    assert (
        host.run("cd / && runuser -u coralnet -- psql -Atc 'select count(*) > 0 from django_migrations'").stdout
        == "t\n"
    )
    assert host.run("cd / && runuser -u www-data -- psql -U coralnet coralnet -c 'select 1'").rc != 0


def test_exposure(host: Any, instance: str) -> None:
    report = host.check_output(f"systemd-analyze security --no-pager coralnet@{instance}.service")
    exposure = re.search(r"Overall exposure level for .*: ([\d.]+)", report)
    assert exposure
    print(f"exposure {exposure[1]} on {host.system_info.distribution} {host.system_info.release}")
    assert float(exposure[1]) <= 1.2


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("ProtectSystem", "strict"),
        ("NoNewPrivileges", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("ReadWritePaths", f"{ROOT}/shared"),
        ("NoExecPaths", f"{ROOT}/shared"),
        ("User", "coralnet"),
    ],
)
def test_sandbox_in_force(host: Any, instance: str, setting: str, value: str) -> None:
    assert host.check_output(f"systemctl show --value --property={setting} coralnet@{instance}.service") == value


def test_only_nginx_may_connect(host: Any, instance: str) -> None:
    socket = host.file(f"/run/coralnet/{instance}.sock")
    assert (socket.user, socket.group, socket.mode) == ("coralnet", "www-data", 0o660)


def test_nothing_but_nginx_listens_outside_loopback(host: Any) -> None:
    outside = host.check_output("ss --no-header --listening --tcp --numeric --processes").splitlines()
    public = [line for line in outside if not re.search(r"(127\.0\.0\.\d+|\[::1\]):\d+ ", line)]
    assert public
    assert all("nginx" in line for line in public), public


def test_the_site_cannot_write_its_own_code(host: Any) -> None:
    for path in ("current/src", "current/venv", "releases", "shared", "shared/secrets.json", "static/css"):
        writable = host.run(f"runuser -u coralnet -- test -w {ROOT}/{path}").rc == 0
        # collectstatic writes static files as the site's account; the service has it read-only
        assert writable == (path == "static/css"), path


def test_secrets_are_the_sites_alone(host: Any) -> None:
    for name in ("secrets.json", "environment.json"):
        file = host.file(f"{ROOT}/shared/{name}")
        assert (file.user, file.group, file.mode) == ("root", "coralnet", 0o640)
    for account in ("www-data", "coralnet-deploy", "nobody"):
        assert host.run(f"runuser -u {account} -- cat {ROOT}/shared/secrets.json").rc != 0


def test_the_release_says_what_it_is(host: Any) -> None:
    record = json.loads(host.file(f"{ROOT}/current/release.json").content_string)
    assert record["version"] == "v1"
    head = host.check_output(f"git -c safe.directory='*' -C {ROOT}/current/src rev-parse HEAD")
    assert record["commit"] == head


def test_commands_run_in_the_sites_environment(host: Any) -> None:
    answer = host.check_output(
        f"{ROOT}/run python manage.py diffsettings | grep -E '^(DEBUG|STATIC_ROOT|SETTINGS_MODULE)'"
    )
    assert "DEBUG = False" not in answer  # diffsettings shows what differs from Django's defaults
    assert f"STATIC_ROOT = '{ROOT}/static'" in answer
    assert host.check_output(f"{ROOT}/run id -un") == "coralnet"
    assert "run this as root" in host.run(f"runuser -u nobody -- {ROOT}/run id").stderr


def test_no_unit_failed(host: Any) -> None:
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
