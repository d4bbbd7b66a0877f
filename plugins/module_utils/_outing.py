# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A walk with all that belongs to it: accounts that are made for it, mail, and what is removed in the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.coralnet.server.plugins.module_utils._mailbox import Mail, MailError, mail_at
from ansible_collections.coralnet.server.plugins.module_utils._run import Run
from ansible_collections.coralnet.server.plugins.module_utils._smoke import (
    OWN,
    VALUE,
    Done,
    Step,
    Walk,
    complaints,
    fill,
    new_run,
    tidy,
    walk,
)
from ansible_collections.coralnet.server.plugins.module_utils._throwaway import Accounts, Program, Slip, ThrowawayError
from ansible_collections.coralnet.server.plugins.module_utils._visitor import Site, Visitor

SITE = ("host", "front", "app", "headers", "timeout", "validate_certs")


class Outing:
    """What the module site_smoke does with its options."""

    def __init__(self, params: Mapping[str, Any], run: Run, program: Program) -> None:
        self._params = params
        self._run = run
        self._began = time.time()
        self._own = new_run(params["address"], params["host"])
        given = {**params["values"], **params["secrets"]}
        self.values = {**{name: str(value) for name, value in given.items()}, **self._own}
        self.checks, self.steps, self._cleanup = (
            [Step(**step) for step in params[kind]] for kind in ("checks", "steps", "cleanup")
        )
        self.removed: dict[str, int] = {}
        self._site = Site(**{name: params[name] for name in SITE})
        self._visitor = Visitor(self._site)
        self._accounts = Accounts(params["command"], program, params["objects"])
        hidden = [self._own["password"], *map(str, params["secrets"].values())]
        patience = (params["mail"] or {}).get("seconds", 0)
        self._way = Walk(self._visitor, self._site, self.values, hidden, self._mail(self._began), patience)

    @property
    def done(self) -> list[Done]:
        return self._way.done

    def mistakes(self) -> list[str]:
        """Say what is wrong with what was given."""
        taken = sorted(set(OWN) & {*self._params["values"], *self._params["secrets"]})
        found = (
            [f"values and secrets are not to have {', '.join(taken)}, which every run has by itself"] if taken else []
        )
        if "{run}" not in self._params["address"]:
            found.append(f"address is to have {{run}} in it, and is {self._params['address']!r}")
        found += [f"{check.name}: a check only opens a page" for check in self.checks if check.mail or check.fills]
        fields = [str(value) for account in self._params["accounts"] for value in account["fields"].values()]
        if unknown := sorted({name for value in fields for name in VALUE.findall(value)} - self.values.keys()):
            found.append(f"accounts: no value is named {', '.join(unknown)}")
        steps = [*self.checks, *self.steps, *self._cleanup]
        return found + complaints(steps, list(self.values), self._site.front, self._site.app)

    def look(self) -> None:
        """Take the checks, of which nothing stays."""
        walk(self._way, self.checks)

    def go(self) -> None:
        """Take the checks and then, if there are any, the steps."""
        self.look()
        if not self.steps:
            return
        with Slip(self._params["slip"]) as slip:
            if slip.left:
                self._remove(slip.left, self._mail(0))
            slip.write(self._own["run"])

            def clean() -> list[str]:
                failed = tidy(self._way, self._cleanup)
                try:
                    self._remove(self._own["run"], self._mail(self._began))
                except (ThrowawayError, MailError, OSError) as exc:
                    failed.append(str(exc))
                if not failed:
                    slip.write("")
                return failed

            walk(self._way, self.steps, self._make, clean)

    def _make(self) -> None:
        accounts = [
            {**account, "fields": {name: fill(str(value), self.values) for name, value in account["fields"].items()}}
            for account in self._params["accounts"]
        ]
        self._accounts.make(self._own["run"], accounts)

    def _remove(self, run: str, mail: Mail | None) -> None:
        self.removed = self._accounts.remove(run, self._visitor.had)
        with contextlib.suppress(FileNotFoundError):  # no mail has come there yet
            if mail:
                mail.remove(run)

    def _mail(self, began: float) -> Mail | None:
        mail = self._params["mail"]
        return mail_at(mail["kind"], mail["path"], began, self._run) if mail else None
