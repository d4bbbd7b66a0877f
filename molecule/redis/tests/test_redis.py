"""Redis, asked as those who use it ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from shared.visitor import changed

PASSWORD = "lab-only-broker-password"
TCP, SOCKET = "-p 6380", "-s /run/redis/reef.sock"


def ask(host: Any, words: str, *, place: str = TCP, password: str = PASSWORD, user: str = "reef") -> str:
    command = f"REDISCLI_AUTH={password} redis-cli {place} {words} 2>&1"
    return str(host.run(f"runuser -u {user} -- sh -c '{command}'").stdout.strip())


@pytest.mark.parametrize("place", [TCP, SOCKET])
def test_who_knows_the_password_is_answered(host: Any, place: str) -> None:
    assert ask(host, "PING", place=place) == "PONG"
    assert "NOAUTH" in host.run(f"redis-cli {place} PING").stdout
    assert "WRONGPASS" in ask(host, "PING", place=place, password="guess")


def test_the_socket_is_for_its_users(host: Any) -> None:
    assert "Permission denied" in ask(host, "PING", place=SOCKET, user="nobody")


def test_it_listens_nowhere_else(host: Any) -> None:
    listening = [line.split()[3] for line in host.check_output("ss -Hltn").splitlines()]
    assert [each for each in listening if each.endswith(":6380")] in (
        ["127.0.0.1:6380"],
        ["127.0.0.1:6380", "[::1]:6380"],
    )
    assert not [each for each in listening if each.endswith(":6379")]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("maxmemory", "67108864"), ("maxmemory-policy", "allkeys-lru"), ("save", ""), ("timeout", "300")],
)
def test_settings(host: Any, setting: str, value: str) -> None:
    assert ask(host, f"CONFIG GET {setting}").splitlines()[1:] == ([value] if value else [])


def test_its_unit_has_further_settings(host: Any) -> None:
    assert host.check_output("systemctl show --property=MemoryMax --value redis-server") == "209715200"
    assert host.service("redis-server").is_enabled


def test_nothing_is_lost_in_a_restart(host: Any) -> None:
    assert ask(host, "SET job waits") == "OK"
    host.run_expect([0], "sleep 1.5; systemctl kill --signal=KILL redis-server; sleep 2")
    assert ask(host, "GET job") == "waits"


def test_the_password_is_not_for_everybody(host: Any) -> None:
    file = host.file("/etc/redis/redis.conf")
    assert (file.user, file.group, file.mode) == ("redis", "redis", 0o640)
    assert host.run(f"journalctl --no-pager | grep --fixed-strings {PASSWORD}").rc == 1


def test_a_lost_restart_is_made_up_for(host: Any, playbook: Callable[..., Any]) -> None:
    host.run_expect([0], "sed -i s/64mb/32mb/ /etc/redis/redis.conf")
    assert changed(playbook()) == 2
    assert ask(host, "CONFIG GET maxmemory").splitlines()[-1] == "67108864"
    host.run_expect([0], "systemctl stop redis-server")
    done = playbook()
    assert changed(done) == 1
    assert PASSWORD not in done.stdout
    assert changed(playbook()) == 0
