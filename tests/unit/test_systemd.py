from __future__ import annotations

import time

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._systemd import (
    Run,
    SystemdError,
    Unit,
    instances,
    journal,
    systemctl,
)

Calls = list[list[str]]


def answering(out: str, rc: int = 0, err: str = "", calls: Calls | None = None) -> Run:
    def run(argv: list[str]) -> tuple[int, str, str]:
        if calls is not None:
            calls.append(argv)
        return rc, out, err

    return run


def test_unit_asks_once() -> None:
    calls: Calls = []
    Unit("reef@one.service", answering("ActiveState=active\n", calls=calls))

    [argv] = calls
    assert argv[:2] == ["systemctl", "show"]
    assert argv[-2:] == ["--", "reef@one.service"]
    assert set(argv[2].removeprefix("--property=").split(",")) == {
        "ActiveState",
        "UnitFileState",
        "NeedDaemonReload",
        "NRestarts",
        "MainPID",
        "ExecMainStartTimestampMonotonic",
    }


@pytest.mark.parametrize(
    ("state", "active", "idle"),
    [
        ("active", True, False),
        ("reloading", True, False),
        ("activating", False, False),
        ("deactivating", False, False),
        ("inactive", False, True),
        ("failed", False, True),
    ],
)
def test_unit_state(state: str, active: bool, idle: bool) -> None:
    unit = Unit("x.service", answering(f"ActiveState={state}\n"))

    assert (unit.active, unit.idle) == (active, idle)


def test_unit_properties() -> None:
    unit = Unit(
        "x.service",
        answering("MainPID=4711\nNRestarts=3\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=yes\n"),
    )

    assert (unit.pid, unit.restarts, unit.enabled, unit.stale) == (4711, 3, True, True)


@pytest.mark.parametrize("out", ["", "MainPID=\nUnitFileState=\nExecMainStartTimestampMonotonic=\nNRestarts=\n"])
def test_unit_that_systemd_does_not_know(out: str) -> None:
    unit = Unit("x.socket", answering(out))

    assert (unit.pid, unit.restarts, unit.enabled, unit.stale, unit.active) == (0, 0, False, False, False)


def test_unit_is_enabled_only_when_its_own_link_says_so() -> None:
    assert not Unit("x.service", answering("UnitFileState=enabled-runtime\n")).enabled
    assert not Unit("x.service", answering("UnitFileState=indirect\n")).enabled


def test_unit_started_is_a_time_of_day() -> None:
    an_hour_ago = int((time.clock_gettime(time.CLOCK_MONOTONIC) - 3600) * 1e6)
    unit = Unit("x.service", answering(f"ExecMainStartTimestampMonotonic={an_hour_ago}\n"))

    assert unit.started == pytest.approx(time.time() - 3600, abs=5)


def test_unit_that_cannot_be_read() -> None:
    with pytest.raises(SystemdError, match=r"^could not read the state of x.service: Failed to connect to bus$"):
        Unit("x.service", answering("", 1, "Failed to connect to bus\n"))


def test_systemctl_tells_what_was_refused() -> None:
    with pytest.raises(SystemdError, match=r"^systemctl start x.service failed: Unit x.service not found\.$"):
        systemctl(answering("", 5, "Unit x.service not found.\n"), "start", "x.service")


def test_systemctl_hands_the_words_over() -> None:
    calls: Calls = []
    systemctl(answering("", calls=calls), "enable", "--quiet", "x.service")

    assert calls == [["systemctl", "enable", "--quiet", "x.service"]]


def test_journal() -> None:
    calls: Calls = []

    assert journal(answering("the last words\n\n", calls=calls), "x.service", lines=7) == "the last words"
    [argv] = calls
    assert argv[0] == "journalctl"
    assert argv[argv.index("--unit") + 1] == "x.service"
    assert argv[argv.index("--lines") + 1] == "7"
    assert "--no-pager" in argv


@pytest.mark.parametrize(
    ("out", "names"),
    [
        ("", []),
        ("\n", []),
        ("reef@one.service loaded active running Reef, release one\n", ["one"]),
        ("reef@one.service loaded active running x\nreef@one.socket loaded active running x\n", ["one"]),
        ("reef@b.service loaded failed failed x\nreef@a.1.socket loaded active listening x\n", ["a.1", "b"]),
        (
            "reef@20261124T101500Z-0123456789.12.service loaded active running x\n",
            ["20261124T101500Z-0123456789.12"],
        ),
    ],
)
def test_instances(out: str, names: list[str]) -> None:
    calls: Calls = []

    assert instances(answering(out, calls=calls), "reef") == names
    assert calls[0][-2:] == ["reef@*.service", "reef@*.socket"]
    assert "--all" in calls[0]
