"""The site on its server, as visitors and operators find it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from shared.visitor import Visitor

ROOT = "/srv/www/coralnet"


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
        instance = self.host.check_output(f"basename $(readlink {ROOT}/current/app.sock) .sock")
        self.host.run_expect([0], f"systemctl restart postgresql nginx coralnet@{instance}.service")
