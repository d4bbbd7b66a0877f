from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._release import (
    Release,
    current,
    digest,
    finished,
    link_to,
    mark_refused,
    new_name,
    point,
    prune,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def make(root: Path, name: str, record: str | None = "") -> Path:
    """Make a release's directory; without a record it is one that was not finished."""
    path = root / "releases" / name
    (path / "src").mkdir(parents=True)
    if record is not None:
        text = record or json.dumps({"commit": f"commit of {name}", "inputs": "x", "version": "main"})
        (path / "release.json").write_text(text)
    return path


def names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "releases").iterdir())


def test_new_name_begins_with_the_time_in_utc() -> None:
    assert new_name(COMMIT, 1795515300.9) == "20261124T101500Z-0123456789"


def test_names_sort_by_their_time(tmp_path: Path) -> None:
    times = [1795515300, 1795515301, 1795515300 + 3600 * 24 * 400, 1]
    # Commits that sort the other way round
    for number, time in enumerate(times):
        make(tmp_path, new_name(f"{9 - number}" * 40, time))

    assert [release.name[:15] for release in finished(tmp_path)] == [
        "19700101T000001",
        "20261124T101500",
        "20261124T101501",
        "20271229T101500",
    ]


def test_digest_is_the_same_whatever_the_order() -> None:
    assert digest({"python": "python3", "requirements": ["a"]}) == digest({"requirements": ["a"], "python": "python3"})
    assert digest({"requirements": ["a", "b"]}) != digest({"requirements": ["b", "a"]})
    assert len(digest({})) == 12


def test_finished_reads_the_records(tmp_path: Path) -> None:
    make(tmp_path, "20260101T000000Z-a")

    assert finished(str(tmp_path)) == [Release("20260101T000000Z-a", "commit of 20260101T000000Z-a", "x")]


def test_finished_where_nothing_is_yet(tmp_path: Path) -> None:
    assert finished(str(tmp_path / "nowhere")) == []


@pytest.mark.parametrize(
    "record", [None, "{", "[]", '"text"', "3", "null", "{}", '{"commit": "x"}', '{"inputs": "x"}', "\x00"]
)
def test_finished_ignores_a_build_that_died(tmp_path: Path, record: str | None) -> None:
    make(tmp_path, "20260101T000000Z-good")
    make(tmp_path, "20260102T000000Z-dead", record)

    assert [release.name for release in finished(str(tmp_path))] == ["20260101T000000Z-good"]


def test_finished_ignores_a_record_in_another_encoding(tmp_path: Path) -> None:
    (make(tmp_path, "20260102T000000Z-dead") / "release.json").write_bytes(b'{"commit": "\xff", "inputs": ""}')

    assert finished(str(tmp_path)) == []


def test_finished_ignores_files_beside_the_releases(tmp_path: Path) -> None:
    make(tmp_path, "20260101T000000Z-good")
    (tmp_path / "releases" / "notes.txt").write_text("")

    assert [release.name for release in finished(str(tmp_path))] == ["20260101T000000Z-good"]


def test_point_and_current(tmp_path: Path) -> None:
    assert current(str(tmp_path)) == ""

    point(str(tmp_path), "one")
    assert current(str(tmp_path)) == "one"
    # Relative, so that the site's directory can be looked at from anywhere
    assert (tmp_path / "current").readlink() == Path("releases/one")

    point(str(tmp_path), "two")
    point(str(tmp_path), "two")
    assert current(str(tmp_path)) == "two"

    point(str(tmp_path), "")
    assert not os.path.lexists(tmp_path / "current")


def test_current_that_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()

    assert current(str(tmp_path)) == ""


def test_link_to_never_leaves_a_moment_without_the_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "app.sock"
    link_to(str(link), "/run/old.sock")
    real, seen = os.replace, []

    def replace(source: str, target: str) -> None:
        seen.append((link.readlink(), Path(source).readlink()))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    link_to(str(link), "/run/new.sock")

    assert seen == [(Path("/run/old.sock"), Path("/run/new.sock"))]
    assert link.readlink() == Path("/run/new.sock")
    assert list(tmp_path.iterdir()) == [link]


@pytest.mark.parametrize("leftover", ["link", "dangling", "file"])
def test_link_to_clears_what_a_run_that_died_left(tmp_path: Path, leftover: str) -> None:
    link, fresh = tmp_path / "current", tmp_path / "current.new"
    link_to(str(link), "releases/one")
    if leftover == "file":
        fresh.write_text("")
    else:
        fresh.symlink_to(tmp_path if leftover == "link" else "nowhere")

    link_to(str(link), "releases/two")

    assert link.readlink() == Path("releases/two")
    assert not os.path.lexists(fresh)
    assert tmp_path.exists()


@pytest.mark.parametrize(
    ("keep", "needed", "gone"),
    [
        pytest.param(5, {"5"}, [], id="as many as there are"),
        pytest.param(9, {"5"}, [], id="more than there are"),
        pytest.param(3, {"5"}, ["1", "2"], id="the oldest go"),
        pytest.param(1, {"5"}, ["1", "2", "3", "4"], id="the running one alone"),
        pytest.param(1, {"2", "5"}, ["1", "3", "4"], id="a draining one stays"),
        pytest.param(3, {"1", "5"}, ["2", "3"], id="a draining one counts"),
        pytest.param(2, {"1", "2", "3", "5"}, ["4"], id="all that are needed stay, even beyond the number"),
        pytest.param(2, {"1"}, ["2", "3", "4"], id="rolled back to the oldest"),
    ],
)
def test_prune(tmp_path: Path, keep: int, needed: set[str], gone: list[str]) -> None:
    def full(number: str) -> str:
        return f"2026010{number}T000000Z-0123456789"

    for number in "12345":
        make(tmp_path, full(number))

    assert prune(str(tmp_path), keep, {full(number) for number in needed}) == [full(number) for number in gone]
    assert names(tmp_path) == [full(number) for number in "12345" if number not in gone]


def test_prune_removes_builds_that_died_but_not_one_that_may_be_running(tmp_path: Path) -> None:
    running = "20260103T000000Z-0123456789"
    make(tmp_path, running)
    dead = make(tmp_path, "20260102T000000Z-0123456789", None)
    make(tmp_path, "20260104T000000Z-0123456789", None)

    assert prune(str(tmp_path), 5, {running}) == [dead.name]
    assert names(tmp_path) == [running, "20260104T000000Z-0123456789"]


def test_prune_takes_refused_releases_first(tmp_path: Path) -> None:
    full = [f"2026010{number}T000000Z-0123456789" for number in range(1, 7)]
    for name in full:
        make(tmp_path, name)
    for number in (1, 3, 5):
        mark_refused(str(tmp_path), full[number], True)
    mark_refused(str(tmp_path), full[3], False)

    # [1] is refused; [3] was and works now; [5] is refused and newer than the running one
    assert prune(str(tmp_path), 9, {full[4]}) == [full[1]]
    assert names(tmp_path) == [full[0], *full[2:]]


def test_mark_refused_can_be_repeated(tmp_path: Path) -> None:
    path = make(tmp_path, "20260101T000000Z-0123456789")
    for refused in (False, True, True):
        mark_refused(str(tmp_path), path.name, refused)
    assert (path / "refused").exists()

    for refused in (False, False):
        mark_refused(str(tmp_path), path.name, refused)
    assert not (path / "refused").exists()


def test_prune_keeps_a_needed_release_without_a_record(tmp_path: Path) -> None:
    draining, running = "20260101T000000Z-0123456789", "20260102T000000Z-0123456789"
    make(tmp_path, draining, None)
    make(tmp_path, running)

    assert prune(str(tmp_path), 5, {draining, running}) == []


def test_prune_touches_nothing_but_releases(tmp_path: Path) -> None:
    running = "20260103T000000Z-0123456789"
    make(tmp_path, running)
    make(tmp_path, ".cache", None)
    make(tmp_path, "2025-backup", None)
    (tmp_path / "releases" / ".keep").write_text("")
    (tmp_path / "releases" / "2026").symlink_to(tmp_path)

    assert prune(str(tmp_path), 1, {running}) == []
    assert names(tmp_path) == [".cache", ".keep", "2025-backup", "2026", running]


def test_prune_does_not_follow_links_out_of_a_release(tmp_path: Path) -> None:
    running = "20260103T000000Z-0123456789"
    make(tmp_path, running)
    old = make(tmp_path, "20260101T000000Z-0123456789")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "secrets.json").write_text("{}")
    (old / "src" / "shared").symlink_to(tmp_path / "shared")

    assert prune(str(tmp_path), 1, {running}) == [old.name]
    assert (tmp_path / "shared" / "secrets.json").exists()
