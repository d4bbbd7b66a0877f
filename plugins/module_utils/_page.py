# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person sees of an HTML page: its forms, and its words."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

ERRORS = {"errorlist", "errornote", "error", "alert-danger", "alert-error"}
"""Classes of what tells an error, in Django's forms and messages and in Bootstrap's."""

EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
"""Elements that have no end."""

UNSEEN = {"script", "style", "template"}
BUTTONS = {"submit", "button", "image", "reset"}


@dataclass
class Form:
    """A form as it is before anybody types."""

    action: str
    method: str
    encoding: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    """What is sent if nobody types."""
    files: set[str] = field(default_factory=set)
    unset: set[str] = field(default_factory=set)
    """Boxes without a tick, which are not sent."""
    choices: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of each list, the value behind each word that can be chosen."""

    def takes(self, names: set[str]) -> bool:
        return names <= self.fields.keys() | self.files | self.unset

    def choose(self, name: str, value: str) -> str:
        """Give the value behind a word of a list; what is typed stands for itself."""
        choices = self.choices.get(name, {})
        return value if value in choices.values() else choices.get(value, value)


class Page(HTMLParser):
    """A page that was read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.errors: list[str] = []
        self.title = ""
        self._text: list[str] = []
        self._main: list[str] = []
        self._stack: list[str] = []
        self._error_depth = 0
        self._form: Form | None = None
        self._list = ""
        self._option: tuple[dict[str, str], list[str]] | None = None
        self._area = ""
        self.feed(text)
        self.close()

    @property
    def words(self) -> str:
        """Give the errors that it tells, or else its title and its first words."""
        text = self.errors or [f"{self.title}:" if self.title else "", *(self._main or self._text)]
        return " ".join(" ".join(text).split())

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        """Take it for a comment, as browsers do: older Pythons end with an AssertionError at one without a name."""
        del report
        return self.parse_bogus_comment(i)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in EMPTY:
            self._stack.append(tag)
            if not self._error_depth and ERRORS & set(given.get("class", "").split()):
                self._error_depth = len(self._stack)
        if tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").lower(), given.get("enctype", ""))
            self.forms.append(self._form)
        elif self._form is not None and given.get("name"):
            self._control(self._form, tag, given)
        elif tag == "option" and self._form is not None and self._list:
            self._end_option(self._form)
            self._option = (given, [])

    def _control(self, form: Form, tag: str, given: dict[str, str]) -> None:
        name, kind = given["name"], given.get("type", "text").lower()
        if tag == "select":
            self._list = name
            form.choices[name] = {}
        elif tag == "textarea":
            self._area = name
            form.fields[name] = ""
        elif tag == "input" and kind == "file":
            form.files.add(name)
        elif tag == "input" and kind in ("checkbox", "radio") and "checked" not in given:
            form.unset.add(name)
        elif tag == "input" and kind not in BUTTONS:
            form.fields[name] = given.get("value", "on" if kind in ("checkbox", "radio") else "")

    def _end_option(self, form: Form) -> None:
        if self._option:
            given, parts = self._option
            words = " ".join("".join(parts).split())
            value = given.get("value", words)
            form.choices[self._list].setdefault(words, value)
            if "selected" in given or self._list not in form.fields:
                form.fields[self._list] = value
            self._option = None

    def handle_endtag(self, tag: str) -> None:
        if tag in ("option", "select") and self._form is not None and self._list:
            self._end_option(self._form)
        if tag == "select":
            if self._form is not None and self._list:
                self._form.fields.setdefault(self._list, "")
            self._list = ""
        elif tag == "textarea":
            self._area = ""
        elif tag == "form":
            self._form = None
        if tag in self._stack:
            while self._stack.pop() != tag:
                pass
        if len(self._stack) < self._error_depth:
            self._error_depth = 0

    def handle_data(self, data: str) -> None:
        if UNSEEN & set(self._stack):
            return
        if self._option:
            self._option[1].append(data)
        elif self._area and self._form is not None:
            self._form.fields[self._area] += data
        elif self._stack[-1:] == ["title"]:
            self.title += data.strip()
        elif data.strip():
            kind = self.errors if self._error_depth else self._main if "main" in self._stack else self._text
            kind.append(data.strip())
