"""A walk through a small site that behaves, and misbehaves, as the paths say."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

import pytest
import yaml
from ansible_collections.coralnet.server.plugins.module_utils._http import Answer
from ansible_collections.coralnet.server.plugins.module_utils._outing import Outing
from ansible_collections.coralnet.server.plugins.module_utils._smoke import SmokeError, said
from ansible_collections.coralnet.server.plugins.module_utils._throwaway import RUN
from ansible_collections.coralnet.server.plugins.module_utils._visitor import Visit
from ansible_collections.coralnet.server.plugins.modules import site_smoke
from servers import Handler, Server, UnixServer

HOST = "reef.test:8443"


class Reef(Handler):
    """Pages by path, and whatever was posted as the server remembers it."""

    pages: ClassVar[dict[str, str]] = {
        "/": "<title>Reef</title><p>Fish</p>",
        "/form/": '<form method="post"><input type="hidden" name="token" value="t1"><input name="title"></form>',
        "/search/": '<form action="/found/?x=1"><input name="q"></form>',
        "/upload/": '<form method="post" enctype="multipart/form-data"><input name="title">'
        '<input name="file" type="file"></form>',
        "/links/": '<a href="/found/?a=1&amp;b=2">Next</a>',
        "/braces/": "aaa {curly}",
        "/found/?a=1&b=2": "found",
        "/found/?q=fish": "fish found",
    }
    moves: ClassVar[dict[str, str]] = {
        "/round/": "/round/",
        "/away/": "https://elsewhere.test/x",
        "/there/": "../form/",
        "/to-nothing/": "/nothing/",
    }

    def do_GET(self) -> None:  # noqa: N802  # as http.server calls it
        self.server.requests.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        if self.path == "/flaky/" and len(self.server.requests) < 3:  # type: ignore[attr-defined]
            self.reply(503, "<title>Busy</title>")
        elif self.path in self.moves:
            self.reply(302, "", ("Location", self.moves[self.path]))
        elif self.path == "/cookies/":
            # Two in one answer, one of them for TLS alone
            self.reply(200, "", ("Set-Cookie", "plain=1; Path=/"), ("Set-Cookie", "secure=2; Path=/; Secure"))
        elif self.path == "/forget/":
            self.reply(200, "", ("Set-Cookie", "plain=; Path=/; Max-Age=0"))
        elif self.path == "/flaky/":
            self.reply(200, "steady")
        else:
            self.reply(200 if self.path in self.pages else 404, self.pages.get(self.path, "<title>Not here</title>"))

    def do_POST(self) -> None:  # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, {**dict(self.headers), "body": body.decode("latin-1")}))  # type: ignore[attr-defined]
        if b"refuse" in body:
            typed = parse_qs(body.decode("latin-1")).get("title", [""])[0]
            self.reply(200, f'<ul class="errorlist"><li>{typed} is taken</li></ul>')
        else:
            self.reply(302, "", ("Location", "/there/"))

    def reply(self, status: int, body: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), ("Content-Type", "text/html"), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())


@pytest.fixture
def reef(serve: Callable[[Server], Server]) -> Server:
    return serve(Server(("127.0.0.1", 0), Reef))


def step(visit: str, **more: Any) -> dict[str, Any]:
    return {"name": "Step", "visit": visit, **more}


def options(server: Server | None, **changes: Any) -> dict[str, Any]:
    front = f"http://127.0.0.1:{server.server_address[1]}" if server else ""
    defaults = {name: option.get("default") for name, option in site_smoke.SPEC.items()}
    return {**defaults, "host": HOST, "front": front, "timeout": 5, **changes}


def no_program(*words: object) -> tuple[int, str, str]:
    raise AssertionError(words)


def outing(server: Server | None, *steps: dict[str, Any], **changes: Any) -> Outing:
    made = Outing(options(server, steps=list(steps), **changes), no_program, no_program)
    assert made.mistakes() == []
    return made


def complaint(server: Server, *steps: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(SmokeError) as caught:
        outing(server, *steps, **changes).go()
    return str(caught.value)


GOOD = [
    [step("/")],
    [step("/", at="^/$", expect=["Fi.h", "<title>Reef"], reject=["Shark"], answers={"Content-Type": "^text/html"})],
    [step("/nothing/", status=[404, 410])],
    [step("/round/", status=[302], follow=False, at="^/round/$")],
    [step("/away/", status=[301, 302], at=r"^https://elsewhere\.test/x$")],
    [step("/there/", status=[302], at="^/form/$", expect=["token"])],
    [step("/links/", expect=['href="(?P<next>[^"]+)"']), step("{next}", expect=["^found$"])],
    [step("/", at="(?P<here>/)"), step("{here}form/")],
    [step("/braces/", expect=[r"a{3} \{curly\}"])],
    [step(f"http://{HOST}/")],
    [step("/form/", submit={"title": "{run}"}, at="^/form/$")],
    [step("/search/", submit={"q": "fish"}, status=[200], expect=["fish found"])],
    [step("/", host="other.test")],
]


@pytest.mark.parametrize("steps", GOOD, ids=lambda steps: json.dumps(steps)[9:60])
def test_what_is_well(reef: Server, steps: list[dict[str, Any]]) -> None:
    walked = outing(reef, *steps)
    walked.go()
    assert len(walked.done) == len(steps)


BAD = [
    (step("/nothing/"), "Step: /nothing/: status 404 instead of 200; the page says: Not here:"),
    (step("/", status=[404, 410]), "Step: /: status 200 instead of 404 or 410; the page says: Reef: Fish"),
    (step("/away/"), "Step: /away/: status 302 instead of 200 (redirected to https://elsewhere.test/x)"),
    (step("/round/", status=[302]), "Step: /round/: redirects without an end, at last to /round/"),
    (
        step("/to-nothing/", status=[302]),
        "Step: /to-nothing/: redirected to /nothing/: status 404 instead of 200; the page says: Not here:",
    ),
    (step("/", at="^/home/"), "Step: /: it led to /, where '^/home/' does not fit; the page says: Reef: Fish"),
    (step("/", expect=["Fish", "Shark"]), "Step: /: the page does not contain 'Shark'; the page says: Reef: Fish"),
    (step("/", reject=["F.sh"]), "Step: /: the page contains 'F.sh'; the page says: Reef: Fish"),
    (
        step("/", answers={"content-type": "png"}),
        "Step: /: the header content-type says 'text/html', where 'png' does not fit; the page says: Reef: Fish",
    ),
    (step("/", answers={"X-None": "."}), "Step: /: the header X-None says '', where '.' does not fit"),
    (step("https://elsewhere.test/"), "Step: https://elsewhere.test/: it leads to https://elsewhere.test/"),
    (step("/", submit={"title": "x"}), "Step: /: the page has no form with title"),
    (step("/form/", submit={"title": "x", "size": "m"}), "Step: /form/: the page has no form with size and title"),
    (step("/form/", form="/out/"), "Step: /form/: the page has no form with a button for '/out/'"),
    (step("/form/", upload={"title": "x.png"}), "Step: /form/: the form does not say that it sends files (enctype)"),
    (step("/nothing/", submit={"a": "b"}), "Step: /nothing/: status 404 instead of 200"),
    (
        step("/form/", submit={"title": "refuse"}),
        "Step: /form/: status 200 instead of 302 or 303; the page says: refuse is taken",
    ),
]


@pytest.mark.parametrize(
    ("bad", "words"), BAD, ids=lambda part: json.dumps(part)[18:70] if isinstance(part, dict) else ""
)
def test_what_is_wrong_is_said(reef: Server, bad: dict[str, Any], words: str) -> None:
    assert complaint(reef, bad).startswith(words)


def test_the_first_mistake_ends_the_walk(reef: Server) -> None:
    complaint(reef, step("/"), step("/nothing/"), step("/form/"))
    assert [path for path, _headers in reef.requests] == ["/", "/nothing/"]


def test_no_secret_is_said(reef: Server) -> None:
    secrets = {"invitation": "refuse-canary"}
    said = complaint(reef, step("/form/", submit={"title": "{invitation}"}), secrets=secrets)
    assert said.endswith("the page says: ******** is taken")
    walked = outing(reef, step("/form/", submit={"title": "refuse {password}"}))
    with pytest.raises(SmokeError) as caught:
        walked.go()
    assert walked.values["password"] not in str(caught.value)
    assert "refuse ******** is taken" in str(caught.value)


def test_a_secret_is_hidden_before_words_are_cut(reef: Server) -> None:
    secret = "refuse" + "x" * 290 + "canary"
    said = complaint(reef, step("/form/", submit={"title": "12345678901234567 {long}"}), secrets={"long": secret})
    assert said.endswith("the page says: 12345678901234567 ******** is taken")
    said = complaint(reef, step("/form/", submit={"title": "refuse" + "y" * 400}))
    assert said.endswith("the page says: refuse" + "y" * 294)


def test_a_form_is_sent_as_a_browser_sends_it(reef: Server) -> None:
    walked = outing(reef, step("/form/", submit={"title": "é & {run}"}))
    walked.go()
    [_form, (path, sent), *_redirects] = reef.requests
    assert path == "/form/"
    assert parse_qs(sent["body"]) == {"token": ["t1"], "title": [f"é & {walked.values['run']}"]}
    assert (sent["Host"], sent["Origin"], sent["Referer"]) == (HOST, f"http://{HOST}", f"http://{HOST}/form/")


def test_a_picture_is_sent(reef: Server) -> None:
    outing(reef, step("/upload/", submit={"title": "x"}, upload={"file": "{run}.png"})).go()
    outing(reef, step("/upload/", upload={"file": "a.png"})).go()
    first, second = (sent["body"] for path, sent in reef.requests if "body" in sent)
    assert re.search(r'name="title"\r\n\r\nx\r\n', first)
    assert re.search(r'name="file"; filename="smoke[0-9a-f]{10}\.png"\r\nContent-Type: image/png\r\n\r\n.PNG', first)
    assert first.partition("PNG")[2] != second.partition("PNG")[2]


@pytest.mark.parametrize(("scheme", "sent"), [("http", "plain=1"), ("https", "plain=1; secure=2")])
def test_secure_cookies_are_for_tls_alone(
    serve: Callable[[Server], Server], short_path: Path, scheme: str, sent: str
) -> None:
    server = serve(UnixServer(str(short_path / "app.sock"), Reef))
    app = {"app": str(server.server_address), "headers": {"X-Forwarded-Proto": scheme}}
    steps = [
        step("/cookies/", layer="app"),
        step("/", layer="app"),
        step("/forget/", layer="app"),
        step("/", layer="app"),
    ]

    outing(None, *steps, **app).go()

    cookies = [headers.get("Cookie") for _path, headers in server.requests]
    assert cookies == [None, sent, sent, "secure=2" if scheme == "https" else None]
    assert {headers["X-Forwarded-Proto"] for _path, headers in server.requests} == {scheme}


def test_headers_of_a_step_and_another_host(reef: Server) -> None:
    outing(
        reef, step("/", host="other.test", headers={"Accept": "text/{run}"}), headers={"X-Forwarded-Proto": "https"}
    ).go()
    [(_path, headers)] = reef.requests
    assert headers["Host"] == "other.test"
    assert re.fullmatch("text/smoke[0-9a-f]{10}", headers["Accept"])
    assert "X-Forwarded-Proto" not in headers, "the front adds that itself"


def test_retries(reef: Server) -> None:
    assert "status 503" in complaint(reef, step("/flaky/"))
    start = time.monotonic()
    outing(reef, step("/flaky/", retries=1)).go()
    assert time.monotonic() - start >= 1


def test_values_are_no_patterns(reef: Server) -> None:
    assert "does not contain 'Fi\\\\.h'" in complaint(reef, step("/", expect=["{word}"]), values={"word": "Fi.h"})


def test_checks_come_first_and_make_nothing(reef: Server, tmp_path: Path) -> None:
    slip = tmp_path / "slip"
    walked = outing(reef, step("/form/"), checks=[step("/nothing/")], slip=str(slip))
    with pytest.raises(SmokeError):
        walked.go()
    assert not slip.exists()
    assert [path for path, _headers in reef.requests] == ["/nothing/"]
    outing(reef, step("/form/"), checks=[step("/")]).look()
    assert [path for path, _headers in reef.requests[1:]] == ["/"]


MISTAKES = [
    ({"steps": [step("x/")]}, "Step: visit is to begin with /, and is 'x/'"),
    ({"steps": [step("")]}, "Step: set either visit or mail"),
    ({"steps": [step("/", mail="{email}")]}, "Step: set either visit or mail"),
    ({"steps": [{"name": "Step", "mail": "{email}", "submit": {"a": "b"}}]}, "Step: a mail has no form"),
    ({"steps": [step("/{source}")]}, "Step: no value is named source, and no earlier step keeps it"),
    ({"steps": [step("/{source}", at="(?P<source>x)")]}, "Step: no value is named source"),
    ({"steps": [step("/", expect=["({run}"])]}, "Step: '({run}' is no regular expression: "),
    ({"steps": [step("/", expect=["(?P<run>x)"])]}, "Step: run is the run's own, so call the group"),
    ({"steps": [step("/", layer="app")]}, "Step: set app, since the step is to be taken there"),
    ({"steps": [step("/")], "front": ""}, "Step: set front"),
    ({"checks": [step("/", form="x")]}, "Step: a check only opens a page"),
    ({"cleanup": [step("/{source}")]}, "Step: no value is named source"),
    ({"values": {"run": "x"}}, "values and secrets are not to have run"),
    ({"secrets": {"password": "x"}}, "values and secrets are not to have password"),
    ({"steps": [step("/", retries=-1)]}, "Step: retries is to be 0 or more, and is -1"),
    ({"accounts": [{"superuser": False, "fields": {"username": "{name}"}}]}, "accounts: no value is named name"),
    ({"address": "reef@reef.example"}, "address is to have {run} in it"),
]


@pytest.mark.parametrize(
    ("changes", "words"), MISTAKES, ids=lambda part: "" if isinstance(part, str) else json.dumps(part)
)
def test_mistakes_in_the_steps_are_found_before_the_first(reef: Server, changes: dict[str, Any], words: str) -> None:
    [found] = Outing(options(reef, **changes), no_program, no_program).mistakes()
    assert found.startswith(words)
    assert reef.requests == []


def test_the_command_makes_and_removes(reef: Server, tmp_path: Path) -> None:
    told: list[tuple[list[str], dict[str, Any]]] = []

    def program(argv: list[str], given: str) -> tuple[int, str, str]:
        told.append((argv, json.loads(given)))
        return 0, 'words before\n{"auth.User": 1}\n', ""

    slip = tmp_path / "slip"
    objects = [{"model": "reef.Fish", "field": "name"}]
    accounts = [{"superuser": True, "fields": {"username": "{run}-admin", "password": "{password}", "size": 3}}]
    changes = {"command": ["make"], "objects": objects, "accounts": accounts, "slip": str(slip)}
    walked = Outing(options(reef, steps=[step("/cookies/")], **changes), no_program, program)
    slip.write_text("smokeabcdefabcd\n")
    walked.go()

    run, password = walked.values["run"], walked.values["password"]
    assert RUN.fullmatch(run)
    fields = {"username": f"{run}-admin", "password": password, "size": "3"}
    assert told == [
        (["make"], {"run": "smokeabcdefabcd", "remove": objects, "cookies": {}}),
        (["make"], {"run": run, "make": [{"superuser": True, "fields": fields}]}),
        (["make"], {"run": run, "remove": objects, "cookies": {"plain": ["1"], "secure": ["2"]}}),
    ]
    assert walked.removed == {"auth.User": 1}
    assert slip.read_text() == ""


@pytest.mark.parametrize("what", ["make", "remove"])
def test_a_command_that_fails(reef: Server, what: str, tmp_path: Path) -> None:
    def program(_argv: list[str], given: str) -> tuple[int, str, str]:
        return (1, "", "Traceback\nNo database\n") if what in json.loads(given) else (0, "", "")

    slip = tmp_path / "slip"
    accounts = [{"superuser": False, "fields": {"username": "{run}"}}]
    changes = {"command": ["make"], "accounts": accounts, "slip": str(slip)}
    walked = Outing(options(reef, steps=[step("/")], **changes), no_program, program)
    with pytest.raises(SmokeError) as caught:
        walked.go()

    words = {
        "make": "could not make the account: No database",
        "remove": "could not remove what the walk has made: No database",
    }
    assert words[what] in str(caught.value)
    # Only where something may have stayed is it remembered
    assert slip.read_text() == ("" if what == "make" else f"{walked.values['run']}\n")
    assert reef.requests == [] if what == "make" else reef.requests


def test_cleaning_up_is_whole_whatever_failed(reef: Server) -> None:
    cleanup = [step("/nothing/"), step("/{source}", at="x"), step("/")]
    said = complaint(reef, step("/form/", expect=["none"]), step("/", at="(?P<source>.)"), cleanup=cleanup)
    assert said.startswith("Step: /form/: the page does not contain 'none'")
    assert ". And what the walk has made could not be removed" in said
    # The one without a value has nothing to clean
    assert [path for path, _headers in reef.requests] == ["/form/", "/nothing/", "/"]


def test_the_module(ansible: Callable[..., subprocess.CompletedProcess[str]], reef: Server, tmp_path: Path) -> None:
    """It walks, says what it would do in check mode, and lets no secret out."""
    smoke = {
        "host": HOST,
        "front": options(reef)["front"],
        "checks": [step("/")],
        "secrets": {"invitation": "canary-refuse"},
    }
    walks = [
        ({"steps": [step("/form/", submit={"title": "x"})]}, {}),
        ({"steps": [step("/form/", submit={"title": "x"})]}, {"check_mode": True}),
        ({"steps": [step("/form/", submit={"title": "{invitation} {password}"})]}, {}),
        ({"steps": [step("/{nobody}")]}, {"check_mode": True}),
    ]
    tasks: list[dict[str, Any]] = [
        {
            "coralnet.server.site_smoke": {**smoke, **more},
            "register": f"walk{number}",
            "ignore_errors": True,
            **keywords,
        }
        for number, (more, keywords) in enumerate(walks)
    ]
    said = "{{ [walk0, walk1, walk2, walk3] | to_json }}"
    tasks.append({"ansible.builtin.copy": {"content": said, "dest": str(tmp_path / "said"), "mode": "0600"}})
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    play["vars"] = {"ansible_python_interpreter": "{{ ansible_playbook_python }}", "ansible_remote_tmp": str(tmp_path)}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))

    done = ansible("playbook", "-vvv", "--inventory", "localhost,", tmp_path / "play.yml")

    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    walked, would, refused, mistaken = json.loads((tmp_path / "said").read_text())
    assert [each["page"] for each in walked["steps"]] == ["/", "/form/"]
    assert walked["changed"] is False
    assert [each["page"] for each in would["steps"]] == ["/"]
    assert would["would"] == ["Step"]
    assert refused["msg"].startswith("Step: /form/: status 200 instead of 302 or 303; the page says: ********")
    assert [each["page"] for each in refused["steps"]] == ["/"]
    assert mistaken["msg"].startswith("the walk cannot be begun: Step: no value is named nobody")
    posted = [sent["body"] for _path, sent in reef.requests if "body" in sent]
    assert len(posted) == 2
    password = parse_qs(posted[1])["title"][0].split()[1]
    assert len(password) > 20
    assert password not in done.stdout
    # Its own text in the play is shown by nobody
    assert "canary-refuse" not in done.stdout


@pytest.mark.parametrize(("kind", "words"), [("image/jpeg", ""), ("text/html; charset=utf-8", "Fish"), ("", "Fish")])
def test_a_picture_says_nothing(kind: str, words: str) -> None:
    assert said(Visit("/reef", Answer(200, {"content-type": kind}, "<p>Fish"))) == words
