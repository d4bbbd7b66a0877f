# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring one release of a site to its visitors: start beside, probe, switch, probe, drain."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from ansible_collections.coralnet.server.plugins.module_utils._good import GoodSet, directory
from ansible_collections.coralnet.server.plugins.module_utils._release import current, link_to, mark_refused, point
from ansible_collections.coralnet.server.plugins.module_utils._run import Run
from ansible_collections.coralnet.server.plugins.module_utils._systemd import (
    SystemdError,
    Unit,
    instances,
    journal,
    systemctl,
)

LetGo = Callable[[], None]
"""Makes the front close the idle connections that it keeps to an instance."""

Probe = Callable[[str], str]
"""Asks the instance of that name; returns a complaint, or nothing when all is well."""


class SwitchError(Exception):
    """The release was refused; the message says why and what the site runs now."""

    def __init__(self, message: str, journal: str = "") -> None:
        super().__init__(message)
        self.journal = journal


@dataclass
class Plan:
    """What has to happen, worked out without touching anything."""

    release: str
    instance: str
    before_release: str
    before_instance: str
    start: bool
    enable: bool
    drain: list[str] = field(default_factory=list)

    @property
    def switch(self) -> bool:
        return (self.release, self.instance) != (self.before_release, self.before_instance)

    @property
    def changed(self) -> bool:
        return bool(self.start or self.enable or self.switch or self.drain)


class Switcher:
    """An instance is a release under a configuration: `<release>`, then `<release>.1`, `<release>.2` ...

    A change of configuration alone gets a new instance too, so that it is proven beside the running
    one exactly as new code is.
    """

    def __init__(
        self, site: str, root: str, release: str, config_files: list[str], run: Run, let_go: LetGo = lambda: None
    ) -> None:
        self._site = site
        self._root = root
        self._release = release
        self._config_files = config_files
        self._run = run
        self._let_go = let_go
        self._good = GoodSet(directory(root), config_files)

    def plan(self) -> Plan:
        before_release = current(self._root)
        instance = self._instance_of(self._release) or self._release
        socket, service = self._unit(instance, "socket"), self._unit(instance, "service")
        # One that drains has closed its door for good; one that is outdated may be of a run that died
        while service.active and (not socket.active or self._outdated(service)):
            instance = _next_instance(instance)
            socket, service = self._unit(instance, "socket"), self._unit(instance, "service")
        return Plan(
            release=self._release,
            instance=instance,
            before_release=before_release,
            before_instance=self._instance_of(before_release) if before_release else "",
            start=not service.active,
            enable=not (service.enabled and socket.enabled),
            drain=[other for other in instances(self._run, self._site) if other != instance and self._serving(other)],
        )

    def apply(self, plan: Plan, probe: Probe, front: Probe) -> str:
        """Carry the plan out, or leave the site on what it ran before and raise SwitchError.

        Return a complaint of what went wrong afterwards: visitors have the new instance, and the next run tries again.
        """
        try:
            self._start(plan)
            self._must(plan, "on its own socket", probe(plan.instance))
            self._switch(plan.release, plan.instance)
            if plan.switch or plan.drain:
                self._let_go()
            self._must(plan, "through the front", front(plan.instance))
            self._good.save()
        except Exception as exc:  # whatever it is, the site must not be left on what was not proven
            raise self._give_back(plan, exc) from exc
        try:
            mark_refused(self._root, plan.release, False)
            for other in plan.drain:
                self._drain(other)
        except (SystemdError, OSError) as exc:
            return str(exc)
        return ""

    def socket(self, instance: str) -> str:
        return f"/run/{self._site}/{instance}.sock"

    def died(self, instance: str) -> str:
        """Say so when a service that was just started has ended, so that nobody waits for it."""
        service = self._unit(instance, "service")
        return f"{service.name} ended by itself" if service.restarts or service.idle else ""

    def running(self) -> set[str]:
        """Name the releases with an instance that still does something, the draining ones too."""
        names = instances(self._run, self._site)
        return {name.partition(".")[0] for name in names if not self._unit(name, "service").idle}

    def _journal(self, instance: str) -> str:
        return journal(self._run, f"{self._site}@{instance}.service")

    def _unit(self, instance: str, kind: str) -> Unit:
        return Unit(f"{self._site}@{instance}.{kind}", self._run)

    def _instance_of(self, release: str) -> str:
        try:
            target = os.readlink(os.path.join(self._root, "releases", release, "app.sock"))
        except OSError:
            return ""
        return os.path.basename(target).removesuffix(".sock")

    def _outdated(self, service: Unit) -> bool:
        """Whether a file that the process read at its start has changed since."""
        changed = [os.stat(path).st_mtime for path in self._config_files if os.path.exists(path)]
        return max(changed, default=0.0) > service.started

    def _serving(self, instance: str) -> bool:
        """A drained instance has no socket any more; it may still finish its last requests."""
        socket, service = self._unit(instance, "socket"), self._unit(instance, "service")
        return socket.active or socket.enabled or service.enabled

    def _start(self, plan: Plan) -> None:
        socket, service = self._unit(plan.instance, "socket"), self._unit(plan.instance, "service")
        if socket.stale or service.stale:
            systemctl(self._run, "daemon-reload")
        if plan.enable:
            systemctl(self._run, "enable", "--quiet", socket.name, service.name)
        if plan.start:
            # A new try with a new reason: its failed starts count no longer
            self._run(["systemctl", "reset-failed", socket.name, service.name])
            systemctl(self._run, "start", socket.name)
            systemctl(self._run, "start", service.name)

    def _must(self, plan: Plan, where: str, complaint: str) -> None:
        if complaint:
            raise SwitchError(f"{self._site}@{plan.instance} does not work {where}: {complaint}")

    def _switch(self, release: str, instance: str) -> None:
        """Two renames, each atomic; the one that visitors follow is the last."""
        if self._instance_of(release) != instance:
            link_to(os.path.join(self._root, "releases", release, "app.sock"), self.socket(instance))
        if current(self._root) != release:
            point(self._root, release)

    def _give_back(self, plan: Plan, reason: Exception) -> SwitchError:
        """Put the site back on what served before, on disk too; systemd, which may be the reason, comes last."""
        if not plan.switch:
            return self._give_settings_back(plan, reason)
        seen_by_visitors = current(self._root) == plan.release and self._instance_of(plan.release) == plan.instance
        if plan.before_release:
            self._switch(plan.before_release, plan.before_instance)
        elif current(self._root):
            point(self._root, "")
        if seen_by_visitors:
            with contextlib.suppress(Exception):  # it may be the reason, and the last requests are answered anyway
                self._let_go()
        restored = self._good.restore()
        if plan.release != plan.before_release:
            mark_refused(self._root, plan.release, True)
        last_words = self._journal(plan.instance)
        if plan.start and not seen_by_visitors:
            self._kill(plan.instance)
        else:
            with contextlib.suppress(SystemdError):  # the next run tries again
                self._drain(plan.instance)
        served = f"The site goes on with {plan.before_instance}" if plan.before_instance else "No release was running"
        files = f", and these files are as they were before: {', '.join(restored)}" if restored else ""
        return SwitchError(f"{reason}. {served}{files}", last_words)

    def _give_settings_back(self, plan: Plan, reason: Exception) -> SwitchError:
        """Start the instance that was current again with the settings that it worked with, if those have changed."""
        last_words = self._journal(plan.instance)
        restored = self._good.restore()
        if not restored:
            return SwitchError(
                f"{reason}. It is what was running, and there is nothing to put in its place", last_words
            )
        self._run(["systemctl", "daemon-reload"])
        self._run(["systemctl", "restart", f"{self._site}@{plan.instance}.service"])
        return SwitchError(
            f"{reason}. It was started again with these files as they were: {', '.join(restored)}", last_words
        )

    def _kill(self, instance: str) -> None:
        """End an instance that has no visitors and may hang; whatever of this fails, the site is served."""
        names = [f"{self._site}@{instance}.{kind}" for kind in ("socket", "service")]
        self._run(["systemctl", "disable", "--quiet", *names])
        self._run(["systemctl", "kill", "--signal=KILL", names[1]])
        self._run(["systemctl", "stop", *names])
        self._run(["systemctl", "reset-failed", *names])

    def _drain(self, instance: str) -> None:
        """Close the door and let the last requests finish, however long they take.

        A stop would be cut short by TimeoutStopSec, which is there for a reboot; a signal to the main
        process has no such limit, and Restart=on-failure leaves a clean exit alone.
        """
        socket, service = (f"{self._site}@{instance}.{kind}" for kind in ("socket", "service"))
        systemctl(self._run, "stop", socket)
        if Unit(service, self._run).pid:
            # systemd before 252 knows no --kill-whom; a later one takes this for its beginning
            systemctl(self._run, "kill", "--kill-who=main", "--signal=TERM", service)
        # Last, because by this the next run knows that the signal was sent
        systemctl(self._run, "disable", "--quiet", socket, service)


def _next_instance(instance: str) -> str:
    release, _dot, generation = instance.partition(".")
    return f"{release}.{int(generation or 0) + 1}"
