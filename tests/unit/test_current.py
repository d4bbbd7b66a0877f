"""A service is started, restarted or reloaded where it has not read what is on disk, and nowhere else."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._current import Service, changed
from ansible_collections.coralnet.server.plugins.module_utils._systemd import SystemdError


class Systemd:
    """Units by name with what `systemctl show` tells of them; every call is kept."""

    def __init__(self, **units: dict[str, Any]) -> None:
        self.units = {name: dict(unit) for name, unit in units.items()}
        self.calls: list[list[str]] = []
        self.refuse = ""
        # What a call does to the units
        self.becomes: dict[str, Any] = {}

    def __call__(self, argv: list[str]) -> tuple[int, str, str]:
        if argv[1] == "show":
            name = argv[-1].partition(".")[0]
            properties = {**RUNNING, "Id": argv[-1], **self.units[name]}
            return 0, "".join(f"{key}={value}\n" for key, value in properties.items()), ""
        self.calls.append(argv[1:])
        if self.refuse:
            return 1, "", f"{self.refuse}\n"
        for unit in self.units.values():
            unit.update(self.becomes)
        return 0, "", ""


def ago(seconds: float) -> int:
    return int((time.clock_gettime(time.CLOCK_MONOTONIC) - seconds) * 1e6)


RUNNING = {
    "ActiveState": "active",
    "UnitFileState": "enabled",
    "NeedDaemonReload": "no",
    "ReloadResult": "success",
    "DropInPaths": "",
    "ActiveEnterTimestampMonotonic": ago(-86400),
    "StateChangeTimestampMonotonic": ago(-86400),
    "ConsistsOf": "",
    "Wants": "",
}
WITH_A_PART = {"ConsistsOf": "part.service", "Wants": "network-online.target part.service"}
LONG_AGO = {"ActiveEnterTimestampMonotonic": ago(3600), "StateChangeTimestampMonotonic": ago(3600)}
RELOADED = {"ActiveEnterTimestampMonotonic": ago(3600)}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "main.cf"
    path.write_text("x")
    return str(path)


@pytest.mark.parametrize(
    ("unit", "restart", "reload", "action"),
    [
        ({}, True, True, ""),
        (LONG_AGO, False, False, ""),
        (LONG_AGO, False, True, "reload"),
        (LONG_AGO, True, True, "restart"),
        (RELOADED, False, True, ""),
        (RELOADED, True, False, "restart"),
        ({"ReloadResult": "exit-code"}, False, True, "reload"),
        ({"NeedDaemonReload": "yes"}, False, False, "restart"),
        ({"ActiveState": "reloading"}, True, True, ""),
        ({"ActiveState": "failed"}, True, True, "start"),
        ({"ActiveState": "inactive", **LONG_AGO}, True, True, "start"),
    ],
)
def test_what_it_takes(file: str, unit: dict[str, Any], restart: bool, reload: bool, action: str) -> None:
    service = Service("reef.service", Systemd(reef=unit))

    assert service.action([file] if restart else [], [file] if reload else []) == action


@pytest.mark.parametrize(
    ("part", "action"),
    [
        ({}, ""),
        (LONG_AGO, "reload"),
        ({"ActiveState": "inactive"}, "start"),
        ({"NeedDaemonReload": "yes"}, "restart"),
        ({"ReloadResult": "exit-code"}, "reload"),
    ],
)
def test_parts_count(file: str, part: dict[str, Any], action: str) -> None:
    systemd = Systemd(reef=WITH_A_PART, part=part)

    assert Service("reef.service", systemd).action([], [file]) == action


@pytest.mark.parametrize(("known", "action"), [(True, ""), (False, "restart")])
def test_a_drop_in_that_systemd_has_not_seen(tmp_path: Path, known: bool, action: str) -> None:
    """Systemd 252 does not say that it has to be reloaded for the first one of a unit."""
    for unit in ("part.service", "another.service"):
        (tmp_path / f"{unit}.d").mkdir()
        (tmp_path / f"{unit}.d" / "sandbox.conf").write_text("[Service]\n")
    drop_ins = [str(tmp_path / f"{unit}.d" / "sandbox.conf") for unit in ("part.service", "another.service")]
    systemd = Systemd(reef=WITH_A_PART, part={"DropInPaths": drop_ins[0] if known else ""})
    service = Service("reef.service", systemd)

    assert service.action(drop_ins, []) == action
    service.act(action)
    assert systemd.calls == (
        [["daemon-reload"], ["reset-failed", "reef.service"], ["restart", "reef.service"]] if action else []
    )


def test_a_part_that_does_not_start_with_the_service_is_none(file: str) -> None:
    systemd = Systemd(reef={**WITH_A_PART, "Wants": ""}, part={"ActiveState": "inactive"})

    assert Service("reef.service", systemd).action([file], [file]) == ""


def test_a_reload_that_a_part_refuses_is_an_error(file: str) -> None:
    systemd = Systemd(reef=WITH_A_PART, part=dict(LONG_AGO))
    service = Service("reef.service", systemd)
    systemd.becomes = {"ReloadResult": "exit-code"}

    with pytest.raises(SystemdError, match=r"part\.service could not be reloaded"):
        service.act(service.action([], [file]))
    assert systemd.calls == [["reload", "reef.service"]]


def test_a_service_that_does_not_start_is_an_error() -> None:
    systemd = Systemd(reef={"ActiveState": "failed", "UnitFileState": "disabled", "NeedDaemonReload": "yes"})

    with pytest.raises(SystemdError, match=r"reef\.service does not run"):
        Service("reef.service", systemd).act("start")
    assert systemd.calls == [
        ["daemon-reload"],
        ["enable", "--quiet", "reef.service"],
        ["reset-failed", "reef.service"],
        ["restart", "reef.service"],
    ]


def test_what_systemd_refuses_is_told() -> None:
    systemd = Systemd(reef={})
    systemd.refuse = "Job failed."

    with pytest.raises(SystemdError, match=r"systemctl reload reef\.service failed: Job failed\."):
        Service("reef.service", systemd).act("reload")


def test_the_time_of_a_change_follows_links_and_passes_over_what_is_not_there(tmp_path: Path, file: str) -> None:
    link = tmp_path / "link"
    link.symlink_to("main.cf")

    assert changed([str(tmp_path / "none")]) == 0
    assert changed([]) == 0
    assert changed([str(link), str(tmp_path / "none")]) == Path(file).stat().st_ctime
