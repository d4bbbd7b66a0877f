from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.coralnet.server.plugins.module_utils import _switch
from ansible_collections.coralnet.server.plugins.module_utils._good import GoodSet
from ansible_collections.coralnet.server.plugins.module_utils._nginx import NginxError
from ansible_collections.coralnet.server.plugins.module_utils._release import current
from ansible_collections.coralnet.server.plugins.module_utils._switch import Plan, Switcher, SwitchError
from fakes import Systemd, Unit

SITE = "reef"
ONE, TWO = "20260101T000000Z-1111111111", "20260201T000000Z-2222222222"
NOW = time.time()


def well(_instance: str) -> str:
    return ""


def refuse(complaint: str) -> Callable[[str], str]:
    return lambda _instance: complaint


def fall_over(_instance: str) -> str:
    raise re.error("unterminated subpattern")


class Killed(BaseException):
    """The run is gone, as with kill -9: no handler of the plugins may see it."""


class Host:
    """A site's directory, its configuration and its units."""

    def __init__(self, path: Path) -> None:
        self.root = path
        self.systemd = Systemd()
        self.let_go: Callable[[], None] = lambda: None
        self.config = path / "shared" / "secrets.json"
        self.config.parent.mkdir()
        self.configure("good", NOW - 3600)
        for release in (ONE, TWO):
            (path / "releases" / release).mkdir(parents=True)

    def configure(self, text: str, when: float) -> None:
        self.config.write_text(text)
        os.utime(self.config, (when, when))

    def switcher(self, release: str) -> Switcher:
        files = [str(self.config), str(self.root / "no-such-file")]
        return Switcher(SITE, str(self.root), release, files, self.systemd, self._let_go)

    def _let_go(self) -> None:
        self.let_go()

    def plan(self, release: str) -> Plan:
        return self.switcher(release).plan()

    def deploy(self, release: str, probe: Callable[[str], str] = well, front: Callable[[str], str] = well) -> Plan:
        """Plan and apply, as the module does."""
        switcher = self.switcher(release)
        plan = switcher.plan()
        self.systemd.calls.clear()
        switcher.apply(plan, probe, front)
        return plan

    def state(self, instance: str) -> tuple[str, bool, str, bool]:
        socket, service = (self.systemd.units[f"{SITE}@{instance}.{kind}"] for kind in ("socket", "service"))
        return socket.state, socket.enabled, service.state, service.enabled

    @property
    def served(self) -> tuple[str, str]:
        """What visitors get: the current release, and the instance that its link leads to."""
        link = self.root / "current" / "app.sock"
        return current(str(self.root)), link.readlink().stem if link.is_symlink() else ""

    @property
    def refused(self) -> set[str]:
        return {path.parent.name for path in self.root.glob("releases/*/refused")}


RUNNING = ("active", True, "active", True)
DRAINING = ("inactive", False, "active", False)
GONE = ("inactive", False, "inactive", False)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def running(host: Host) -> Host:
    """Return a host on which release ONE was deployed a minute ago."""
    host.systemd.clock = lambda: NOW - 60
    host.deploy(ONE)
    host.systemd.clock = time.time
    host.systemd.calls.clear()
    return host


# --- plans


def test_plan_first_deployment(host: Host) -> None:
    plan = host.plan(ONE)

    assert plan == Plan(ONE, ONE, "", "", start=True, enable=True, drain=[])
    assert plan.switch
    assert plan.changed


def test_plan_touches_nothing(running: Host) -> None:
    before = sorted(running.root.rglob("*"))
    running.plan(TWO)

    assert running.systemd.changes == []
    assert sorted(running.root.rglob("*")) == before


def test_plan_same_release_has_nothing_to_do(running: Host) -> None:
    plan = running.plan(ONE)

    assert plan == Plan(ONE, ONE, ONE, ONE, start=False, enable=False, drain=[])
    assert not plan.switch
    assert not plan.changed


def test_plan_new_release(running: Host) -> None:
    assert running.plan(TWO) == Plan(TWO, TWO, ONE, ONE, start=True, enable=True, drain=[ONE])


def test_plan_configuration_that_is_newer_than_the_process(running: Host) -> None:
    running.configure("new", NOW - 30)

    assert running.plan(ONE) == Plan(ONE, f"{ONE}.1", ONE, ONE, start=True, enable=True, drain=[ONE])


def test_plan_configuration_changed_twice(running: Host) -> None:
    running.configure("new", NOW - 30)
    running.systemd.clock = lambda: NOW - 20
    running.deploy(ONE)
    running.systemd.die(f"{SITE}@{ONE}")
    assert not running.plan(ONE).changed

    running.configure("newer", NOW - 10)

    assert running.plan(ONE) == Plan(ONE, f"{ONE}.2", ONE, f"{ONE}.1", start=True, enable=True, drain=[f"{ONE}.1"])


def test_plan_configuration_changed_after_a_run_that_died(running: Host) -> None:
    # That run had started an instance with the first change when it died; a second change came before the next run
    running.configure("new", NOW - 30)
    running.systemd.run_instance(f"{SITE}@{ONE}.1", NOW - 20)
    running.configure("newer", NOW - 10)

    plan = running.plan(ONE)

    assert (plan.instance, plan.start) == (f"{ONE}.2", True)
    assert plan.drain == [ONE, f"{ONE}.1"]


def test_plan_takes_over_what_a_run_that_died_had_started(running: Host) -> None:
    running.systemd.run_instance(f"{SITE}@{TWO}", NOW - 20)

    assert running.plan(TWO) == Plan(TWO, TWO, ONE, ONE, start=False, enable=False, drain=[ONE])


@pytest.mark.parametrize("state", ["inactive", "failed", "activating"])
def test_plan_instance_that_died(running: Host, state: str) -> None:
    running.systemd.die(f"{SITE}@{ONE}")
    running.systemd.units[f"{SITE}@{ONE}.service"].state = state

    plan = running.plan(ONE)

    assert plan == Plan(ONE, ONE, ONE, ONE, start=True, enable=False, drain=[])
    assert plan.changed
    assert not plan.switch


def test_plan_after_a_boot(running: Host) -> None:
    running.systemd.boot()

    assert not running.plan(ONE).changed


def test_plan_instance_that_is_not_enabled(running: Host) -> None:
    running.systemd.units[f"{SITE}@{ONE}.socket"].enabled = False

    plan = running.plan(ONE)

    assert (plan.instance, plan.enable, plan.start, plan.changed) == (ONE, True, False, True)


def test_plan_drains_nothing_twice(running: Host) -> None:
    running.deploy(TWO)
    assert running.state(ONE) == DRAINING

    assert not running.plan(TWO).changed


def test_plan_drains_what_a_run_that_died_left_enabled(running: Host) -> None:
    running.systemd.units[f"{SITE}@{TWO}.service"] = Unit("inactive", enabled=True)

    plan = running.plan(ONE)

    assert plan.drain == [TWO]
    assert plan.changed


def test_plan_leaves_other_sites_alone(running: Host) -> None:
    running.systemd.run_instance(f"{SITE}er@{TWO}", NOW)

    assert not running.plan(ONE).changed


def test_plan_goes_back_to_a_release_that_still_drains(running: Host) -> None:
    # Its door is closed for good; a further instance of it serves beside the last requests of the first
    running.deploy(TWO)

    plan = running.plan(ONE)

    assert plan == Plan(ONE, f"{ONE}.1", TWO, TWO, start=True, enable=True, drain=[TWO])


def test_plan_goes_back_to_a_release_that_has_ended(running: Host) -> None:
    running.deploy(TWO)
    running.systemd.die(f"{SITE}@{ONE}")

    assert running.plan(ONE) == Plan(ONE, ONE, TWO, TWO, start=True, enable=True, drain=[TWO])


# --- carried out


def test_first_deployment(host: Host) -> None:
    asked: list[tuple[str, str, tuple[str, str]]] = []

    def ask(where: str) -> Callable[[str], str]:
        def probe(instance: str) -> str:
            asked.append((where, instance, host.served))
            return ""

        return probe

    host.deploy(ONE, ask("own"), ask("front"))

    assert asked == [("own", ONE, ("", "")), ("front", ONE, (ONE, ONE))]
    assert host.served == (ONE, ONE)
    assert (host.root / "current" / "app.sock").readlink() == Path(f"/run/{SITE}/{ONE}.sock")
    assert host.systemd.changes == [
        f"enable --quiet {SITE}@{ONE}.socket {SITE}@{ONE}.service",
        f"reset-failed {SITE}@{ONE}.socket {SITE}@{ONE}.service",
        f"start {SITE}@{ONE}.socket",
        f"start {SITE}@{ONE}.service",
    ]


def test_new_release_drains_the_old_in_the_right_order(running: Host) -> None:
    running.deploy(TWO)

    assert running.served == (TWO, TWO)
    assert running.state(TWO) == RUNNING
    assert running.state(ONE) == DRAINING
    assert running.systemd.changes[-3:] == [
        f"stop {SITE}@{ONE}.socket",
        f"kill --kill-who=main --signal=TERM {SITE}@{ONE}.service",
        f"disable --quiet {SITE}@{ONE}.socket {SITE}@{ONE}.service",
    ]


def test_the_old_is_not_touched_before_the_new_has_answered_twice(running: Host) -> None:
    def untouched(_instance: str) -> str:
        assert running.state(ONE) == RUNNING
        return ""

    running.deploy(TWO, untouched, untouched)


def test_the_front_lets_go_of_the_old_before_that_drains(running: Host) -> None:
    seen: list[tuple[tuple[str, str], tuple[str, bool, str, bool]]] = []
    running.let_go = lambda: seen.append((running.served, running.state(ONE)))
    running.deploy(TWO)
    assert seen == [((TWO, TWO), RUNNING)]

    running.deploy(TWO)
    assert len(seen) == 1, "nothing was switched"


def test_the_front_lets_go_of_one_that_it_refuses(running: Host) -> None:
    seen: list[tuple[str, str]] = []
    running.let_go = lambda: seen.append(running.served)
    with pytest.raises(SwitchError):
        running.deploy(TWO, well, refuse("no"))
    assert seen == [(TWO, TWO), (ONE, ONE)]


def test_a_front_that_cannot_let_go_is_a_refusal(running: Host) -> None:
    def broken() -> None:
        raise NginxError("nginx could not be reloaded: unknown directive")

    running.let_go = broken
    with pytest.raises(SwitchError, match=rf"unknown directive. The site goes on with {ONE}"):
        running.deploy(TWO)
    assert running.served == (ONE, ONE)
    assert running.state(ONE) == RUNNING


def test_new_configuration(running: Host) -> None:
    running.configure("new", NOW - 30)
    running.deploy(ONE)

    assert running.served == (ONE, f"{ONE}.1")
    assert running.state(f"{ONE}.1") == RUNNING
    assert running.state(ONE) == DRAINING


def test_nothing_to_do_is_nothing_done_but_asking(running: Host) -> None:
    asked: list[str] = []
    running.deploy(ONE, lambda instance: asked.append(instance) or "", well)

    assert running.systemd.changes == []
    assert asked == [ONE]


def test_instance_that_died_is_started_again(running: Host) -> None:
    running.systemd.die(f"{SITE}@{ONE}")
    running.systemd.units[f"{SITE}@{ONE}.service"].restarts = 5
    running.deploy(ONE)

    assert running.state(ONE) == RUNNING
    assert running.systemd.units[f"{SITE}@{ONE}.service"].restarts == 0, "an older death is no sign of a new one"


def test_changed_unit_files_are_read_first(running: Host) -> None:
    running.systemd.units[f"{SITE}@{TWO}.service"].stale = True
    running.deploy(TWO)

    assert running.systemd.changes[0] == "daemon-reload"


def test_an_old_instance_that_is_dead_is_closed_without_a_signal(running: Host) -> None:
    running.systemd.die(f"{SITE}@{ONE}")
    running.deploy(TWO)

    assert running.state(ONE) == GONE
    assert not any(line.startswith("kill") for line in running.systemd.changes)


def test_success_takes_the_mark_of_an_earlier_refusal_away(running: Host) -> None:
    with pytest.raises(SwitchError):
        running.deploy(TWO, refuse("no"))
    assert running.refused == {TWO}

    running.deploy(TWO)

    assert running.refused == set()


def test_running_names_releases_and_not_instances(running: Host) -> None:
    running.configure("new", NOW - 30)
    running.deploy(ONE)
    running.deploy(TWO)
    switcher = running.switcher(TWO)
    assert switcher.running() == {ONE, TWO}

    running.systemd.die(f"{SITE}@{ONE}")
    assert switcher.running() == {ONE, TWO}, "its other instance still drains"
    running.systemd.die(f"{SITE}@{ONE}.1")
    assert switcher.running() == {TWO}


@pytest.mark.parametrize(
    ("state", "restarts", "died"),
    [("active", 0, False), ("activating", 0, False), ("active", 1, True), ("failed", 0, True), ("inactive", 0, True)],
)
def test_died(running: Host, state: str, restarts: int, died: bool) -> None:
    running.systemd.units[f"{SITE}@{ONE}.service"] = Unit(state, restarts=restarts)

    assert running.switcher(ONE).died(ONE) == (f"{SITE}@{ONE}.service ended by itself" if died else "")


# --- refused


def test_refused_on_its_own_socket(running: Host) -> None:
    with pytest.raises(SwitchError) as caught:
        running.deploy(TWO, refuse("/: status 500 instead of 200"))

    assert str(caught.value) == (
        f"{SITE}@{TWO} does not work on its own socket: /: status 500 instead of 200. The site goes on with {ONE}"
    )
    assert caught.value.journal == "the last words"
    assert running.served == (ONE, ONE)
    assert running.state(ONE) == RUNNING
    assert running.state(TWO) == GONE
    assert running.refused == {TWO}
    assert not running.plan(ONE).changed


def test_refused_through_the_front(running: Host) -> None:
    with pytest.raises(SwitchError) as caught:
        running.deploy(TWO, well, refuse("/: no answer"))

    assert f"{SITE}@{TWO} does not work through the front: /: no answer. The site goes on with {ONE}" in str(
        caught.value
    )
    assert running.served == (ONE, ONE)
    assert running.state(ONE) == RUNNING
    # It had visitors: their requests may end
    assert running.state(TWO) == DRAINING
    assert running.refused == {TWO}
    assert not running.plan(ONE).changed


@pytest.mark.parametrize("front", [False, True], ids=["own socket", "front"])
def test_refused_first_deployment(host: Host, front: bool) -> None:
    with pytest.raises(SwitchError, match=r"does not work .*: no\. No release was running$"):
        host.deploy(ONE, well if front else refuse("no"), refuse("no"))

    assert host.served == ("", "")
    assert not os.path.lexists(host.root / "current")
    assert not any(unit.enabled for unit in host.systemd.units.values())
    assert host.refused == {ONE}


@pytest.mark.parametrize("front", [False, True], ids=["own socket", "front"])
def test_refused_configuration(running: Host, front: bool) -> None:
    time_of_good = running.config.stat().st_mtime_ns
    running.configure("bad", NOW - 30)

    with pytest.raises(SwitchError) as caught:
        running.deploy(ONE, well if front else refuse("no"), refuse("no"))

    assert str(caught.value).endswith(
        f"The site goes on with {ONE}, and these files are as they were before: {running.config}"
    )
    assert running.config.read_text() == "good"
    assert running.config.stat().st_mtime_ns == time_of_good
    assert running.served == (ONE, ONE)
    assert running.state(ONE) == RUNNING
    assert running.state(f"{ONE}.1") == (DRAINING if front else GONE)
    assert running.refused == set(), "the release is not to blame"
    assert not running.plan(ONE).changed


def test_refused_release_with_its_configuration(running: Host) -> None:
    running.configure("for two", NOW - 30)
    with pytest.raises(SwitchError):
        running.deploy(TWO, refuse("no"))

    assert running.config.read_text() == "good"
    assert running.served == (ONE, ONE)


def test_refused_where_it_is_what_runs(running: Host) -> None:
    with pytest.raises(SwitchError, match=r"no\. It is what was running, and there is nothing to put in its place$"):
        running.deploy(ONE, refuse("no"))

    assert running.served == (ONE, ONE)
    assert running.state(ONE) == RUNNING


def test_dead_and_refused_with_new_settings(running: Host) -> None:
    running.systemd.die(f"{SITE}@{ONE}")
    running.configure("bad", NOW)
    with pytest.raises(SwitchError, match=r"no\. It was started again with these files as they were: .*secrets\.json$"):
        running.deploy(ONE, refuse("no"))

    assert running.config.read_text() == "good"
    assert running.served == (ONE, ONE)
    assert running.systemd.changes[-1] == f"restart {SITE}@{ONE}.service"


def test_refused_though_a_run_that_died_had_started_it(running: Host) -> None:
    running.systemd.run_instance(f"{SITE}@{TWO}", NOW - 20)
    with pytest.raises(SwitchError):
        running.deploy(TWO, refuse("no"))

    assert running.served == (ONE, ONE)
    # Somebody else may have been sent there, so it is not killed, but it must not come up at the next boot
    assert running.state(TWO) == DRAINING


REFUSALS = [
    ("enable", f"{SITE}@{TWO}.socket"),
    ("start", f"{SITE}@{TWO}.socket"),
    ("start", f"{SITE}@{TWO}.service"),
    ("daemon-reload", ""),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=" ".join)
def test_refused_by_systemd(running: Host, refusal: tuple[str, str]) -> None:
    running.configure("for two", NOW - 30)
    running.systemd.units[f"{SITE}@{TWO}.service"].stale = True
    running.systemd.refuse[refusal] = "Access denied"

    with pytest.raises(SwitchError) as caught:
        running.deploy(TWO)

    assert re.match(rf"systemctl {refusal[0]}.* failed: Access denied\. The site goes on with {ONE}", str(caught.value))
    assert running.served == (ONE, ONE)
    assert running.state(ONE) == RUNNING
    assert running.state(TWO) == GONE
    assert running.config.read_text() == "good"


def test_refused_while_systemd_is_out_of_reach(running: Host) -> None:
    """The links and files do not depend on it."""
    running.configure("for two", NOW - 30)

    def lose_systemd(_instance: str) -> str:
        for verb in ("show", "disable", "stop", "kill", "list-units", "reset-failed"):
            running.systemd.refuse[verb,] = "Failed to connect to bus"
        return "no answer"

    with pytest.raises(SwitchError, match=rf"through the front: no answer\. The site goes on with {ONE}"):
        running.deploy(TWO, well, lose_systemd)

    assert running.served == (ONE, ONE)
    assert running.config.read_text() == "good"

    running.systemd.refuse.clear()
    assert running.plan(ONE).drain == [TWO], "the next run ends what this one could not"


@pytest.mark.parametrize("front", [False, True], ids=["own socket", "front"])
def test_refused_by_whatever_goes_wrong(running: Host, front: bool) -> None:
    running.configure("for two", NOW - 30)
    with pytest.raises(SwitchError, match=rf"^unterminated subpattern\. The site goes on with {ONE}"):
        running.deploy(TWO, well if front else fall_over, fall_over)

    assert running.served == (ONE, ONE)
    assert running.config.read_text() == "good"


def test_refused_by_the_disk(running: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _switch.point

    def point(root: str, name: str) -> None:
        if name == TWO:
            raise OSError(28, "No space left on device")
        real(root, name)

    monkeypatch.setattr(_switch, "point", point)
    with pytest.raises(SwitchError, match=r"No space left on device\. The site goes on with"):
        running.deploy(TWO)

    assert running.served == (ONE, ONE)
    assert running.state(TWO) == GONE


def test_refused_where_what_is_good_cannot_be_kept(running: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the settings of before would be put back under the new release by whoever cleans up."""
    running.configure("for two", NOW - 30)

    def save(_good: GoodSet) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GoodSet, "save", save)
    with pytest.raises(SwitchError, match=rf"No space left on device\. The site goes on with {ONE}"):
        running.deploy(TWO)

    assert running.served == (ONE, ONE)
    assert running.config.read_text() == "good"


@pytest.mark.parametrize("verb", ["stop", "kill", "disable"])
def test_an_old_instance_that_cannot_be_ended_is_no_refusal(running: Host, verb: str) -> None:
    switcher = running.switcher(TWO)
    plan = switcher.plan()
    running.systemd.refuse[verb,] = "Access denied"

    assert "Access denied" in switcher.apply(plan, well, well)
    assert running.served == (TWO, TWO)
    running.systemd.refuse.clear()
    assert running.plan(TWO).drain == [ONE], "the next run ends what this one could not"


# --- runs that died


def die_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """End the run just before the named function of the switch does its work."""

    def die(*_args: object) -> None:
        raise Killed

    monkeypatch.setattr(_switch, name, die)


@pytest.mark.parametrize("moment", ["link_to", "point", "mark_refused"])
def test_a_run_that_was_killed_is_completed_by_the_next(
    running: Host, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    with monkeypatch.context() as patch:
        die_at(patch, moment)
        with pytest.raises(Killed):
            running.deploy(TWO)
    # Before the last rename visitors get the old release, after it the new one: never a link that leads nowhere
    assert running.served == ((TWO, TWO) if moment == "mark_refused" else (ONE, ONE))
    assert running.state(ONE) == RUNNING

    plan = running.deploy(TWO)

    assert (plan.instance, plan.start) == (TWO, False)
    assert running.served == (TWO, TWO)
    assert running.state(TWO) == RUNNING
    assert running.state(ONE) == DRAINING
    assert not running.plan(TWO).changed


@pytest.mark.parametrize("moment", ["link_to", "point", "mark_refused"])
def test_a_run_that_was_killed_can_be_given_up(running: Host, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    with monkeypatch.context() as patch:
        die_at(patch, moment)
        with pytest.raises(Killed):
            running.deploy(TWO)

    running.deploy(ONE)

    assert running.served == (ONE, ONE)
    assert running.state(ONE) == RUNNING
    assert running.state(TWO) == DRAINING
    assert not running.plan(ONE).changed


@pytest.mark.parametrize("call", range(3))
def test_a_run_that_was_killed_while_it_drained(running: Host, call: int) -> None:
    switcher = running.switcher(TWO)
    plan = switcher.plan()
    fatal = ["stop", "kill", "disable"][call]

    def run(argv: list[str]) -> tuple[int, str, str]:
        if argv[1] == fatal:
            raise Killed
        return running.systemd(argv)

    switcher._run = run
    with pytest.raises(Killed):
        switcher.apply(plan, well, well)
    assert running.served == (TWO, TWO)

    running.deploy(TWO)

    assert running.state(TWO) == RUNNING
    assert running.state(ONE) == DRAINING
    assert f"kill --kill-who=main --signal=TERM {SITE}@{ONE}.service" in running.systemd.changes


def test_a_run_that_was_killed_while_it_gave_back(running: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    running.configure("bad", NOW - 30)
    with monkeypatch.context() as patch:
        patch.setattr(_switch.GoodSet, "restore", fall_dead)
        with pytest.raises(Killed):
            running.deploy(ONE, refuse("no"))
    assert running.served == (ONE, ONE)

    with pytest.raises(SwitchError):
        running.deploy(ONE, refuse("no"))

    assert running.config.read_text() == "good"
    assert running.served == (ONE, ONE)
    assert not running.systemd.units[f"{SITE}@{ONE}.1.service"].enabled


def fall_dead(_self: object) -> None:
    raise Killed
