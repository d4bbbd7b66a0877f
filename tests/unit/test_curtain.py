"""The module that draws and opens the curtain: times, words, files and what it says of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.coralnet.server.plugins.module_utils._curtain import CurtainError, fill
from ansible_collections.coralnet.server.plugins.modules import nginx_curtain

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
NOON = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)
PATTERN = """<h1>Reef</h1>
<p><!--message-->Back &amp; soon<!--/message--></p>
<!--until--><time datetime="@until@">@until_text@</time><!--/until-->
"""

Draw = Callable[..., dict[str, Any]]


def test_words_are_text() -> None:
    page, shown = fill(PATTERN, r'<b>\1 "&"', NOON)

    assert shown == r'<b>\1 "&"'
    assert r"<p>&lt;b&gt;\1 &quot;&amp;&quot;</p>" in page
    assert '<time datetime="2026-11-24T12:00:30+00:00">24 November 2026, 12:00 UTC</time>' in page
    assert "<!--" not in page


def test_the_pages_own_words_without_an_end() -> None:
    page, shown = fill(PATTERN, "", None)

    assert shown == "Back & soon"
    assert page == "<h1>Reef</h1>\n<p>Back &amp; soon</p>\n\n"


def test_a_page_without_a_place_for_words() -> None:
    with pytest.raises(CurtainError, match="has no <!--message-->words<!--/message-->"):
        fill("<h1>Reef</h1>", "", None)


# --- the module


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "reef"
    path.mkdir()
    (path / "pattern.html").write_text(PATTERN)
    return path


@pytest.fixture
def draw(site: Path, capsys: pytest.CaptureFixture[str]) -> Draw:
    """Run the module and return what it says, `failed` included."""

    def run(*, check: bool = False, **arguments: object) -> dict[str, Any]:
        given = {"site": "reef", "state": "drawn", "directory": str(site.parent), **arguments}
        with patch_module_args({**given, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            nginx_curtain.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir())


def soon(hours: int = 1) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).replace(microsecond=0).isoformat()


def test_drawn(draw: Draw, site: Path) -> None:
    until = soon()
    wanted = {"until": until, "text": "New disks"}
    before = names(site)

    planned = draw(check=True, **wanted)
    assert (planned["changed"], names(site)) == (True, before)
    done = draw(**wanted)
    assert {**done, "invocation": None} == {**planned, "invocation": None}
    assert (done["drawn"], done["until"], done["message"]) == (True, until, "New disks")
    assert done["diff"] == {
        "before": "curtain: open\n",
        "after": f"curtain: drawn\nmessage: New disks\nuntil: {until}\n",
    }
    assert not draw(check=True, **wanted)["changed"]
    assert not draw(**wanted)["changed"]

    assert json.loads((site / "drawn.json").read_text()) == {"status": 503, "detail": "New disks", "until": until}
    assert "<p>New disks</p>" in (site / "drawn.html").read_text()
    assert (site / "drawn").stat().st_mtime == datetime.fromisoformat(until).timestamp()
    assert {path.stat().st_mode & 0o777 for path in site.glob("drawn*")} == {0o644}


@pytest.mark.parametrize("change", [{"text": "Other"}, {"text": ""}, {"until": "+2h"}, {"until": ""}], ids=str)
def test_other_words_or_another_end_are_a_change(draw: Draw, change: dict[str, str]) -> None:
    wanted = {"until": soon(), "text": "New disks"}
    draw(**wanted)

    assert draw(check=True, **{**wanted, **change})["changed"]
    done = draw(**{**wanted, **change})
    assert done["changed"]
    assert done["diff"]["before"] != done["diff"]["after"]
    assert not draw(**{**wanted, **change})["changed"]


def test_opened(draw: Draw, site: Path) -> None:
    draw(text="New disks")

    assert draw(check=True, state="open")["changed"]
    assert (site / "drawn").exists()
    done = draw(state="open")
    assert (done["changed"], done["drawn"], done["until"], done["message"]) == (True, False, "", "")
    assert done["diff"]["after"] == "curtain: open\n"
    assert not (site / "drawn").exists()
    assert (site / "drawn.html").exists(), "a request may be on its way to it"
    assert not draw(state="open")["changed"]
    assert draw(text="New disks")["changed"]


@pytest.mark.parametrize("harm", ["unreadable", "mode", "gone", "half"])
def test_harm_is_repaired(draw: Draw, site: Path, harm: str) -> None:
    draw(text="New disks")
    page = site / "drawn.html"
    match harm:
        case "unreadable":
            (site / "drawn.json").write_text("{")
        case "mode":
            page.chmod(0o600)
        case "gone":
            page.unlink()
        case "half":
            page.write_text("<h1>")
            (site / "drawn.html.new").write_text("a run that died")

    assert draw(text="New disks")["changed"]
    assert page.read_text().startswith("<h1>Reef</h1>")
    assert page.stat().st_mode & 0o777 == 0o644
    assert not draw(text="New disks")["changed"]
    assert names(site) == ["drawn", "drawn.html", "drawn.json", "pattern.html"]


def test_a_new_look_is_a_change(draw: Draw, site: Path) -> None:
    draw()
    (site / "pattern.html").write_text(PATTERN.replace("Reef", "Coral"))

    assert draw()["changed"]
    assert "Coral" in (site / "drawn.html").read_text()


def test_an_end_that_is_over(draw: Draw, site: Path) -> None:
    assert "is over: give a time to come" in draw(until="2026-01-01T00:00Z")["msg"]
    assert not (site / "drawn").exists()
    # The same command again, after its time: nothing has changed
    draw(until=soon(1))
    os.utime(site / "drawn", (1767225600, 1767225600))
    (site / "drawn.json").write_text('{"status": 503, "detail": "Back & soon", "until": "2026-01-01T00:00:00+00:00"}\n')
    assert "msg" not in draw(until="2026-01-01T00:00Z")
    assert not draw(until="2026-01-01T00:00Z")["changed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"site": "other"}, "set one for the site and run site.yml first"),
        ({"until": "soon"}, "'soon' is no time"),
        ({"until": "18:30", "time_zone": "Europe/Atlantis"}, "this host knows no time zone 'Europe/Atlantis'"),
        ({"until": "18:30", "time_zone": "../etc"}, "this host knows no time zone"),
        ({"state": "closed"}, "value of state must be one of"),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_bad_input_changes_nothing(
    draw: Draw, site: Path, arguments: dict[str, str], message: str, check: bool
) -> None:
    said = draw(check=check, **arguments)

    assert message in said["msg"]
    assert names(site) == ["pattern.html"]
