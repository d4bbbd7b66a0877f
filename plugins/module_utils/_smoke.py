# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A walk through a site, in steps that are data: what to open, what to fill in, what must come of it."""

from __future__ import annotations

import html
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.coralnet.server.plugins.module_utils._mailbox import Mail, MailError
from ansible_collections.coralnet.server.plugins.module_utils._page import Page
from ansible_collections.coralnet.server.plugins.module_utils._visitor import (
    REDIRECTS,
    Site,
    Visit,
    VisitError,
    Visitor,
    find_form,
)

VALUE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
"""A value of the run in a step's words: {run}. {2,3} in a regular expression is none."""

OWN = ("run", "email", "password", "host")
"""What every run has by itself."""

WORDS = 300
"""Characters of a page that are shown."""

PAUSE = 1
"""Seconds before a step is tried again."""


class SmokeError(Exception):
    """A step failed: the message says which, where, and what the page has to say."""


@dataclass(frozen=True)
class Step:
    """One thing that a person does, and what must come of it."""

    name: str
    visit: str = ""
    mail: str = ""
    submit: Mapping[str, Any] = field(default_factory=dict)
    upload: Mapping[str, str] = field(default_factory=dict)
    form: str = ""
    layer: str = "front"
    host: str = ""
    headers: Mapping[str, Any] = field(default_factory=dict)
    status: Sequence[int] = ()
    follow: bool = True
    at: str = ""
    expect: Sequence[str] = ()
    reject: Sequence[str] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    retries: int = 0

    @property
    def fills(self) -> bool:
        return bool(self.submit or self.upload or self.form)

    @property
    def accepted(self) -> Sequence[int]:
        # A form that was not accepted is shown again, with status 200
        return self.status or ((302, 303) if self.fills else (200,))

    @property
    def words(self) -> list[str]:
        """What may have values of the run in it."""
        return [self.visit, self.mail, self.host, *map(str, self.submit.values()), *self.upload.values(),
                *map(str, self.headers.values())]  # fmt: skip

    @property
    def patterns(self) -> list[str]:
        return [self.form, self.at, *self.expect, *self.reject, *self.answers.values()]

    @property
    def needs(self) -> set[str]:
        """Name the values that it has no group for."""
        return {name for words in [*self.words, *self.patterns] for name in VALUE.findall(words)}


@dataclass(frozen=True)
class Done:
    """A step that was taken."""

    name: str
    page: str
    status: int
    milliseconds: int


def new_run(address: str, host: str) -> dict[str, str]:
    """Make the values of a run; its name is in everything that the run makes, and in nothing else."""
    run = f"smoke{secrets.token_hex(5)}"
    # The end is for those who count kinds of characters
    password = f"{secrets.token_urlsafe(18)}-aA1"
    return {"run": run, "email": address.replace("{run}", run), "password": password, "host": host}


def fill(words: str, values: Mapping[str, str]) -> str:
    return VALUE.sub(lambda match: values[match[1]], words)


def complaints(steps: Sequence[Step], values: Sequence[str], front: str, app: str) -> list[str]:
    """Say what is wrong with the steps, before the first is taken."""
    found, known = [], set(values)
    for step in steps:
        if bool(step.visit) == bool(step.mail):
            found.append(f"{step.name}: set either visit or mail")
        if step.mail and step.fills:
            found.append(f"{step.name}: a mail has no form, so submit, upload and form are of no use")
        if step.visit and not step.visit.startswith(("/", "{", "http://", "https://")):
            found.append(f"{step.name}: visit is to begin with /, and is {step.visit!r}")
        if step.retries < 0:
            found.append(f"{step.name}: retries is to be 0 or more, and is {step.retries}")
        if not (app if step.layer == "app" else front):
            found.append(f"{step.name}: set {step.layer}, since the step is to be taken there")
        if unknown := sorted(step.needs - known):
            found.append(f"{step.name}: no value is named {', '.join(unknown)}, and no earlier step keeps it")
        for pattern in step.patterns:
            try:
                kept = set(re.compile(VALUE.sub("x", pattern)).groupindex)
            except re.error as exc:
                found.append(f"{step.name}: {pattern!r} is no regular expression: {exc}")
                continue
            if taken := sorted(kept & set(OWN)):
                found.append(
                    f"{step.name}: {', '.join(taken)} is the run's own, so call the group in {pattern!r} otherwise"
                )
            known |= kept
    return found


class Walk:
    """A visitor on the way, with what was found out so far."""

    def __init__(
        self,
        visitor: Visitor,
        site: Site,
        values: Mapping[str, str],
        hidden: Sequence[str] = (),
        mail: Mail | None = None,
        patience: float = 30,
    ) -> None:
        self._visitor = visitor
        self._site = site
        self._values = dict(values)
        self._hidden = [text for text in hidden if text]
        self._mail = mail
        self._patience = patience
        self.done: list[Done] = []

    def take(self, step: Step) -> None:
        """Take one step, as often as it may be tried."""
        for left in range(step.retries, -1, -1):
            began = time.monotonic()
            try:
                page, status = self._read(step) if step.mail else self._go(step)
            except (VisitError, MailError) as exc:
                if left:
                    time.sleep(PAUSE)
                    continue
                raise SmokeError(self._told(step, exc)) from exc
            took = round((time.monotonic() - began) * 1000)
            self.done.append(Done(step.name, self._shown(page), status, took))
            return

    def _read(self, step: Step) -> tuple[str, int]:
        if self._mail is None:
            raise MailError("nothing says where the mail can be read: set mail")
        address = self._fill(step.mail)
        self._judge_text(step, self._mail.wait(address, self._patience), "the mail")
        return address, 0

    def _go(self, step: Step) -> tuple[str, int]:
        visit = self._open(step)
        if step.fills:
            if visit.answer.status != 200:
                raise VisitError(judged(visit, (200,)), said(visit))
            names = set(step.submit) | set(step.upload)
            form = find_form(Page(visit.answer.body), names, self._pattern(step.form))
            fields = {name: self._fill(str(value)) for name, value in step.submit.items()}
            files = {name: self._fill(value) for name, value in step.upload.items()}
            visit = self._visitor.submit(visit, form, fields, files)
        if complaint := judged(visit, step.accepted):
            raise VisitError(complaint, said(visit))
        if step.follow and self._here(visit):
            visit = self._visitor.follow(visit)
            if visit.answer.status not in step.accepted and (complaint := judged(visit, (200,))):
                raise VisitError(f"redirected to {visit.path}: {complaint}", said(visit))
        self._judge(step, visit)
        return visit.path, visit.answer.status

    def _open(self, step: Step) -> Visit:
        headers = {name: self._fill(str(value)) for name, value in step.headers.items()}
        return self._visitor.open(self._fill(step.visit), step.layer, self._fill(step.host), headers)

    def _here(self, visit: Visit) -> bool:
        """Whether a redirect leads to this site; what is elsewhere is not looked at."""
        address = visit.answer.headers.get("location", "")
        try:
            self._site.path(address)
        except VisitError:
            return False
        return visit.answer.status in REDIRECTS

    def _judge(self, step: Step, visit: Visit) -> None:
        location = visit.answer.headers.get("location") if visit.answer.status in REDIRECTS else None
        address = location or visit.path
        if step.at and not self._keep(step.at, address):
            raise VisitError(f"it led to {address}, where {self._pattern(step.at)!r} does not fit", said(visit))
        for name, pattern in step.answers.items():
            seen = visit.answer.headers.get(name.lower(), "")
            if not self._keep(pattern, seen):
                raise VisitError(f"the header {name} says {seen!r}, where {pattern!r} does not fit", said(visit))
        self._judge_text(step, visit.answer.body, "the page", said(visit))

    def _judge_text(self, step: Step, text: str, what: str, words: str = "") -> None:
        for pattern in step.expect:
            if not self._keep(pattern, text):
                raise VisitError(f"{what} does not contain {self._pattern(pattern)!r}", words)
        for pattern in step.reject:
            if re.search(self._pattern(pattern), text):
                raise VisitError(f"{what} contains {self._pattern(pattern)!r}", words)

    def _keep(self, pattern: str, text: str) -> bool:
        """Look for a pattern, and keep what its named groups have found."""
        found = re.search(self._pattern(pattern), text)
        if found:
            self._values.update({name: html.unescape(value or "") for name, value in found.groupdict().items()})
        return found is not None

    def _fill(self, words: str) -> str:
        return fill(words, self._values)

    def _pattern(self, pattern: str) -> str:
        return VALUE.sub(lambda match: re.escape(self._values[match[1]]), pattern)

    def lacks(self, step: Step) -> bool:
        """Whether a step speaks of what was never come to."""
        return bool(step.needs - self._values.keys())

    def _told(self, step: Step, failure: VisitError | MailError) -> str:
        """Say what failed, in words of the page too, which are cut only when no secret is in them."""
        words = self._shown(getattr(failure, "words", ""))[:WORDS].strip()
        told = self._shown(f"{step.name}: {self._fill(step.mail or step.visit)}: {failure}")
        return f"{told}; the page says: {words}" if words else told

    def _shown(self, text: str) -> str:
        for secret in self._hidden:
            text = text.replace(secret, "********")
        return text


def judged(visit: Visit, accepted: Sequence[int]) -> str:
    """Say what is wrong with the status of an answer; nothing where it is accepted."""
    answer = visit.answer
    if answer.error:
        return answer.error
    if answer.status in accepted:
        return ""
    wanted = " or ".join(map(str, accepted))
    if answer.status in REDIRECTS:
        return f"status {answer.status} instead of {wanted} (redirected to {answer.headers.get('location', 'nowhere')})"
    return f"status {answer.status} instead of {wanted}"


def said(visit: Visit) -> str:
    """Give a page's own words; a picture has none."""
    if visit.answer.headers.get("content-type", "").startswith(("image/", "audio/", "video/", "font/")):
        return ""
    page = Page(visit.answer.body)
    if visit.answer.status >= 500:
        page.errors.clear()  # what Django shows with DEBUG on has elements of such classes for another reason
    return page.words


def walk(
    way: Walk,
    steps: Sequence[Step],
    prepare: Callable[[], None] = lambda: None,
    clean: Callable[[], list[str]] = list,
) -> None:
    """Take the steps; whatever comes of them, clean up."""
    failure = ""
    try:
        prepare()
        for step in steps:
            way.take(step)
    except SmokeError as exc:
        failure = str(exc)
    finally:
        left = clean()
    if left:
        said = f"what the walk has made could not be removed, and the next walk will try again: {'; '.join(left)}"
        raise SmokeError(f"{failure}. And {said}" if failure else said)
    if failure:
        raise SmokeError(failure)


def tidy(way: Walk, steps: Sequence[Step]) -> list[str]:
    """Take the steps of cleaning up that have anything to clean, and say which failed."""
    failed = []
    for step in [step for step in steps if not way.lacks(step)]:
        try:
            way.take(step)
        except SmokeError as exc:
            failed.append(str(exc))
    return failed
