"""The site on its server, as visitors and operators find it."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import Any

from shared.visitor import Visitor

ROOT = "/srv/www/coralnet"


@dataclass(frozen=True)
class Queue:
    """The site's jobs, and those who do them."""

    host: Any

    def add(self, seconds: float = 0) -> str:
        """Queue a job, as the code that serves does; returns its name."""
        return self._manage(f"queue_job --seconds {seconds}")

    def job(self, name: str) -> dict[str, str]:
        """Say what became of a job: its state, and the release and version that brought it there."""
        found: dict[str, str] = json.loads(self._manage(f"show_job {name}"))
        return found

    def wait(self, name: str, state: str = "done", seconds: float = 30) -> dict[str, str]:
        """Wait until a job is so far."""
        deadline = time.monotonic() + seconds
        while (job := self.job(name))["state"] != state:
            assert time.monotonic() < deadline, f"{name} is not {state}: {job}"
            time.sleep(0.5)
        return job

    @property
    def running(self) -> list[str]:
        """Name the copies of workers that run, by worker, release and number."""
        listing = self.host.check_output(
            "systemctl list-units --plain --no-legend --state=running 'coralnet.*@*.service'"
        )
        return sorted(line.split()[0].removeprefix("coralnet.") for line in listing.splitlines())

    @property
    def timers(self) -> list[str]:
        listing = self.host.check_output("systemctl list-units --plain --no-legend --state=active 'coralnet.*.timer'")
        return [line.split()[0] for line in listing.splitlines()]

    def _manage(self, words: str) -> str:
        return str(self.host.check_output(f"{ROOT}/run python manage.py {words} 2>/dev/null"))


@dataclass(frozen=True)
class Site:
    host: Any
    address: str

    @property
    def version(self) -> str:
        """The version that visitors get, from the page and from its header alike."""
        answer = Visitor(self.address).get("/")
        assert answer.status_code == 200, f"{answer.status_code}: {answer.text[:300]}"
        found = re.search(r'<meta name="site-version" content="([^"]+)"', answer.text)
        assert found
        assert answer.headers["X-Site-Version"] == found[1]
        return found[1]

    @property
    def release(self) -> str:
        return str(self.host.check_output(f"basename $(readlink {ROOT}/current)"))

    @property
    def instance(self) -> str:
        """The instance that serves: the release, with a number where it has been started anew."""
        return str(self.host.check_output(f"basename $(readlink {ROOT}/current/app.sock) .sock"))

    @property
    def records(self) -> list[dict[str, Any]]:
        text = self.host.check_output(f"cat {ROOT}/deployments.jsonl")
        return [json.loads(line) for line in text.splitlines()]

    def unmigrate(self) -> None:
        """Take back what v2 did to the database, with the code of v2, if that was ever here."""
        script = f"""
        for record in $(grep -l '"version": "v2"' {ROOT}/releases/*/release.json); do
          release=$(basename $(dirname $record))
          exec {ROOT}/run --instance $release python manage.py migrate sources 0001
        done"""
        self.host.run_expect([0], script)

    def restart(self) -> None:
        """Start everything that the site needs anew, as a reboot does."""
        self.host.run_expect([0], f"systemctl restart postgresql nginx coralnet@{self.instance}.service")
        # Of workers and timers a boot starts those that are enabled
        self.host.run_expect([0], "systemctl stop 'coralnet.*' && systemctl start multi-user.target timers.target")
