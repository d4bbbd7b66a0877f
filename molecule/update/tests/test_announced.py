"""Maintenance that is announced, waited for, and done behind a curtain."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from shared.deployed import ROOT, Site
from shared.visitor import Visitor, changed


@dataclass
class Seen:
    """What a visitor met: in this order, and what the pages said."""

    answers: list[tuple[int, str]] = field(default_factory=list)
    notices: int = 0
    retry_after: set[str] = field(default_factory=set)

    @property
    def story(self) -> list[tuple[int, str]]:
        """Each status and version once, as long as it lasted."""
        return [one for before, one in zip([(0, ""), *self.answers], self.answers, strict=False) if one != before]


@contextmanager
def visitor(address: str) -> Iterator[Seen]:
    seen, end = Seen(), threading.Event()

    def visit() -> None:
        while not end.is_set():
            answer = Visitor(address).get("/")
            seen.answers.append((answer.status_code, answer.headers.get("X-Site-Version", "")))
            seen.notices += "under maintenance in" in answer.text
            if answer.status_code == 503:
                seen.retry_after.add(answer.headers["Retry-After"])
            time.sleep(0.05)

    person = threading.Thread(target=visit)
    person.start()
    try:
        yield seen
    finally:
        end.set()
        person.join()


@pytest.mark.on("debian-12")
def test_an_announced_time_is_its_owners(site: Site, playbook: Callable[..., Any], update: Callable[..., Any]) -> None:
    def maintenance(*words: str) -> Any:
        variables = (word for pair in ("site_operator=anna", *words) for word in ("-e", pair))
        return playbook(*variables, path="playbooks/maintenance.yml")

    assert changed(maintenance("notice=on", "notice_start=+3h")) == 1
    refused = update("v1", "site_operator=ben")
    assert refused.returncode != 0
    said = " ".join(refused.stdout.split())
    assert "anna is to deploy (maintenance, announced for 20" in said
    # An update that fails before that time has not used it up
    failed = update("package-missing", "site_operator=anna")
    assert "there is no version of humanize==999.0" in " ".join(failed.stdout.split())
    assert "anna is to deploy (maintenance, announced for 20" in " ".join(
        update("v1", "site_operator=ben").stdout.split()
    )
    assert changed(maintenance("notice=off")) == 1
    assert changed(update("v1", "site_operator=ben")) == 0


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Give the address of a web hook, and what it is told."""
    told: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", told
        server.shutdown()


@pytest.mark.on("debian-12")
def test_a_window(
    at_v1: None,
    site: Site,
    address: str,
    update: Callable[..., Any],
    hook: tuple[str, list[dict[str, Any]]],
    tmp_path: Path,
) -> None:
    # The lab has no mail server at this place, which is no reason to fail
    told = {"webhook": hook[0], "command": ["tee", str(tmp_path / "told")], "mail": "anna@coralnet.test"}
    words = (
        *("strategy=window", "site_announce=true", "maintenance_start=+1m", "maintenance_end=+10m"),
        json.dumps({"site_notify": told}),
    )
    assert site.version == "v1"
    with visitor(address) as seen:
        done = update("v2", *words)
    assert done.returncode == 0, done.stdout
    said = " ".join(done.stdout.split())
    assert "strategy: window, because it was asked for" in said
    assert "Wait for the announced time, in minutes - 1" in said
    assert re.search(r"expected outage: (about [\d.]+ s, as the last time|not known, as there was none before)", said)
    assert seen.story == [(200, "v1"), (503, ""), (200, "v2")]
    assert seen.notices > 5
    assert all(0 < int(seconds) <= 600 for seconds in seen.retry_after)
    record = site.records[-1]
    print(f"{site.host.backend.name}: closed for {record['outage_seconds']} s, phases {record['seconds']}")
    assert (record["outcome"], record["strategy"]) == ("deployed", "window")
    assert record["seconds"]["try"] > 0, "the walk behind the curtain"
    assert record["migrations"] == ["sources.0002_image_file_size"]
    assert 0 < record["outage_seconds"] < 60
    site.host.run_expect([0], f"pg_restore --list {record['dump']}")
    assert "under maintenance" not in Visitor(address).get("/").text
    assert not site.host.file(f"{ROOT}/shared/notice/maintenance.json").exists
    assert [(news["outcome"], news["version"], news["site"]) for news in hook[1]] == [("deployed", "v2", "coralnet")]
    assert json.loads((tmp_path / "told").read_text())["to"] == site.release
    assert "people, by mail to anna@coralnet.test" in said


@pytest.mark.on("debian-13")
def test_what_a_failed_run_leaves_closed_is_opened_by_the_next(
    at_v1: None, site: Site, address: str, update: Callable[..., Any]
) -> None:
    failed = update("v2", "strategy=window", "site_announce=false", '{"gunicorn_checks": [{"body": "no such words"}]}')
    assert failed.returncode != 0
    assert "and the curtain stays drawn, because it does not answer well" in " ".join(failed.stdout.split())
    assert Visitor(address).get("/").status_code == 503

    changed(update("v2", "strategy=rolling"))
    assert site.version == "v2"
    assert site.records[-1]["outage_seconds"] > 0
    assert not site.host.file(f"{ROOT}/lock.json").exists
