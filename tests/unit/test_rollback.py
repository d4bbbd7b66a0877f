"""The way back: which release, which migrations, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.coralnet.server.plugins.module_utils._release import mark_refused, point
from ansible_collections.coralnet.server.plugins.module_utils._rollback import (
    Kept,
    Migrations,
    RollbackError,
    Way,
    age,
    choose,
    compare,
    dump_from_before,
    read_answer,
)
from ansible_collections.coralnet.server.plugins.modules import release_rollback

ONE, TWO, THREE, FOUR = (f"2026010{day}T000000Z-{str(day) * 10}" for day in (1, 2, 3, 4))
GONE = "20251231T000000Z-0000000000"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a site with three releases, of which the last is current."""
    for name, version in ((ONE, "v1"), (TWO, "v2"), (THREE, "v3")):
        directory = tmp_path / "releases" / name
        directory.mkdir(parents=True)
        record = {"commit": name[-1] * 40, "inputs": "x", "version": version}
        (directory / "release.json").write_text(json.dumps(record))
        (directory / "app.sock").symlink_to(f"/run/reef/{name}.sock")
    point(str(tmp_path), THREE)
    return tmp_path


@pytest.mark.parametrize(("wanted", "chosen"), [("", TWO), (ONE, ONE), ("v1", ONE), ("1111111", ONE), ("2" * 40, TWO)])
def test_the_release_that_is_asked_for(root: Path, wanted: str, chosen: str) -> None:
    running, older = choose(str(root), wanted)

    assert (running.name, older.name) == (THREE, chosen)


@pytest.mark.parametrize("trouble", ["refused", "never in use", "not finished"])
def test_a_release_that_was_not_seen_to_work_is_passed_over(root: Path, trouble: str) -> None:
    spoil(root, TWO, trouble)

    assert choose(str(root), "")[1].name == ONE


def deployments(root: Path, *records: tuple[str, str, str]) -> str:
    """Write the records of runs: outcome, from, to."""
    path = root / "deployments.jsonl"
    lines = [json.dumps(dict(zip(("outcome", "from", "to"), record, strict=True))) for record in records]
    path.write_text("\n".join([*lines, "[]", '{"outcome": "depl']))
    return str(path)


@pytest.mark.parametrize(
    ("records", "chosen"),
    [
        # The second was gone back from, so the third came after the first
        ([("deployed", ONE, TWO), ("returned", TWO, ONE), ("deployed", ONE, THREE)], ONE),
        ([("deployed", ONE, TWO), ("deployed", TWO, THREE)], TWO),
        # What one has come back to says nothing of what ran before it the first time
        ([("deployed", ONE, THREE), ("deployed", THREE, FOUR), ("returned", FOUR, THREE)], ONE),
        ([("deployed", ONE, THREE), ("failed", TWO, THREE)], ONE),
        # Gone, or newer: the newest of the older ones
        ([("deployed", GONE, THREE)], TWO),
        ([("deployed", FOUR, THREE)], TWO),
        ([("deployed", "", THREE)], TWO),
        ([], TWO),
    ],
)
def test_the_release_that_ran_before(root: Path, records: list[tuple[str, str, str]], chosen: str) -> None:
    assert choose(str(root), "", deployments(root, *records))[1].name == chosen


def test_the_release_that_ran_before_is_passed_over_where_it_was_refused(root: Path) -> None:
    spoil(root, ONE, "refused")
    assert choose(str(root), "", deployments(root, ("deployed", ONE, THREE)))[1].name == TWO


def test_a_site_without_records(root: Path) -> None:
    assert choose(str(root), "", str(root / "deployments.jsonl"))[1].name == TWO


def spoil(root: Path, name: str, trouble: str) -> None:
    if trouble == "refused":
        mark_refused(str(root), name, refused=True)
    else:
        (root / "releases" / name / ("app.sock" if trouble == "never in use" else "release.json")).unlink()


THERE = f"there are {ONE} (v1), {TWO} (v2), {THREE} (v3)"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("v9", f"no finished release answers to v9: {THERE}"),
        ("111111", f"no finished release answers to 111111: {THERE}"),
        ("v3", f"{THREE} (v3) is what runs: {THERE}"),
    ],
)
def test_a_release_that_cannot_be_meant(root: Path, wanted: str, message: str) -> None:
    with pytest.raises(RollbackError) as refusal:
        choose(str(root), wanted)

    assert str(refusal.value) == message


@pytest.mark.parametrize("trouble", ["refused", "never in use"])
def test_a_release_in_trouble_that_is_asked_for(root: Path, trouble: str) -> None:
    spoil(root, ONE, trouble)

    with pytest.raises(RollbackError, match=rf"^{ONE} \(v1, {trouble}\) cannot be gone back to: there are "):
        choose(str(root), "v1")


def test_an_unfinished_release_that_is_asked_for(root: Path) -> None:
    spoil(root, ONE, "not finished")

    with pytest.raises(RollbackError, match=f"^no finished release answers to {ONE}: there are {TWO} "):
        choose(str(root), ONE)


def test_a_newer_release_is_an_updates_matter(root: Path) -> None:
    point(str(root), TWO)

    with pytest.raises(RollbackError, match=r"is newer than .* update.yml -e version=v3 brings it$"):
        choose(str(root), "v3")


def test_there_may_be_nothing_to_go_back_to(root: Path) -> None:
    point(str(root), ONE)
    with pytest.raises(RollbackError, match=rf"^there is no good release before {ONE} \(v1\): there are "):
        choose(str(root), "")

    point(str(root), "")
    with pytest.raises(RollbackError, match=r"no finished release of .* is current"):
        choose(str(root), "")


def state(
    *migrations: str,
    leaves: list[str],
    unapplied: str = "",
    stubborn: str = "",
    replaces: dict[str, list[str]] | None = None,
) -> dict[str, Any]:
    return {
        "leaves": [leaf.split(".") for leaf in leaves],
        "migrations": [
            {
                "key": name.split("."),
                "applied": name != unapplied,
                "replaces": [other.split(".") for other in (replaces or {}).get(name, [])],
                "stubborn": [f"Operation <RunPython> in {name} is not reversible"] if name == stubborn else [],
            }
            for name in migrations
        ],
    }


OLD = state("sources.0001", leaves=["sources.0001"])
NOTHING = Migrations([], [], [], [])
SQUASHED = {"sources.0001_squashed": ["sources.0001"]}
NEW = ("sources.0001", "sources.0002", "labels.0001")
LEAVES = ["sources.0002", "labels.0001"]


@pytest.mark.parametrize(
    ("newer", "older", "expected"),
    [
        (OLD, OLD, NOTHING),
        (
            state(*NEW, leaves=LEAVES),
            OLD,
            Migrations(["sources.0002", "labels.0001"], [("labels", "zero"), ("sources", "0001")], [], []),
        ),
        # What the database does not have need not be reversed
        (
            state(*NEW, leaves=LEAVES, unapplied="labels.0001"),
            OLD,
            Migrations(["sources.0002"], [("sources", "0001")], [], []),
        ),
        (
            state(*NEW, leaves=LEAVES, unapplied="labels.0001", stubborn="sources.0002"),
            OLD,
            Migrations(
                ["sources.0002"],
                [("sources", "0001")],
                ["Operation <RunPython> in sources.0002 is not reversible"],
                [],
            ),
        ),
        # Another beginning, which does not say what it stands for: reversing it would drop all tables
        (
            state("sources.0001_anew", leaves=["sources.0001_anew"]),
            OLD,
            Migrations(
                ["sources.0001_anew"],
                [("sources", "0001")],
                ["the newer release has no sources.0001 to go back to"],
                [],
            ),
        ),
        (state("sources.0001_squashed", leaves=["sources.0001_squashed"], replaces=SQUASHED), OLD, NOTHING),
        # One after it, with and without the old ones still in the code
        *(
            (
                state(*old, "sources.0001_squashed", "sources.0002", leaves=["sources.0002"], replaces=SQUASHED),
                OLD,
                Migrations(["sources.0002"], [("sources", "0001_squashed")], [], []),
            )
            for old in ([], ["sources.0001"])
        ),
        (
            state(
                *("sources.0001", "sources.0002", "sources.0001_to_2"),
                leaves=["sources.0001_to_2"],
                replaces={"sources.0001_to_2": ["sources.0001", "sources.0002"]},
            ),
            OLD,
            Migrations(
                ["sources.0002", "sources.0001_to_2"],
                [("sources", "0001")],
                ["sources.0001_to_2 stands for migrations of which the older release has some, and not all"],
                [],
            ),
        ),
        (
            state("sources.0001", "sources.0002", leaves=["sources.0002"]),
            state(
                "sources.0001", "sources.0001_b", leaves=["sources.0001", "sources.0001_b"], unapplied="sources.0001_b"
            ),
            Migrations(
                ["sources.0002"],
                [("sources", "0001")],
                ["sources ends in 0001 and 0001_b in the older release"],
                ["sources.0001_b"],
            ),
        ),
    ],
    ids=[
        "same",
        "new app",
        "unapplied",
        "stubborn",
        "anew",
        "squashed",
        "squashed, old gone",
        "squashed, old there",
        "half",
        "two ends",
    ],
)
def test_migrations_between(newer: dict[str, Any], older: dict[str, Any], expected: Migrations) -> None:
    assert compare(newer, older) == expected


def test_an_answer_after_other_words() -> None:
    assert read_answer('Loading settings\n\n{"leaves": []}\n') == {"leaves": []}


def dump(day: int, running: str) -> str:
    return f"/dumps/2026020{day}T000000Z_{running}_{THREE}.pgc"


def test_the_newest_dump_of_the_older_release() -> None:
    older = Kept(ONE, "1" * 40, "v1")
    paths = [dump(1, ONE), dump(3, ONE), dump(2, ONE), dump(4, TWO), "/dumps/other.pgc"]

    found = dump_from_before(paths, older)

    assert found
    assert found.path == dump(3, ONE)
    assert dump_from_before(paths, Kept(THREE, "3" * 40, "v3")) is None


EXTRA = Migrations(["sources.0002"], [("sources", "0001")], [], [])
STUBBORN = Migrations(["sources.0002"], [("sources", "0001")], ["not reversible"], [])
HALF_AN_HOUR_LATER = 1769904000 + 1800
BEGIN = [
    f"from {THREE} (v3) back to {ONE} (v1)",
    "returned: the code, its packages and its list of static files",
    "not returned: settings, uploads, and mail that was sent",
]


@pytest.mark.parametrize(
    ("migrations", "mode", "restore", "said"),
    [
        (
            Migrations([], [], [], []),
            "keep",
            "",
            [
                "database: not returned; it has no migration that the older release does not have",
                f"dump from before: {dump(1, ONE)}",
                f"  with -e restore_dump={dump(1, ONE)} the last 31 min of data are lost",
            ],
        ),
        (
            EXTRA,
            "keep",
            "",
            [
                "database: not returned; it keeps these migrations, which the older release does not have",
                "  sources.0002",
                "  nobody knows whether the older code works with them; it is asked before a visitor is",
                "  with -e migrations=reverse they are reversed",
                f"dump from before: {dump(1, ONE)}",
                f"  with -e restore_dump={dump(1, ONE)} the last 31 min of data are lost",
            ],
        ),
        (
            STUBBORN,
            "keep",
            "",
            [
                "database: not returned; it keeps these migrations, which the older release does not have",
                "  sources.0002",
                "  cannot be reversed: not reversible",
                "  nobody knows whether the older code works with them; it is asked before a visitor is",
                f"dump from before: {dump(1, ONE)}",
                f"  with -e restore_dump={dump(1, ONE)} the last 31 min of data are lost",
            ],
        ),
        (
            EXTRA,
            "reverse",
            "",
            [
                "database: these migrations are reversed, and the data in what they made is lost",
                "  sources.0002",
                f"dump from before: {dump(1, ONE)}",
                f"  with -e restore_dump={dump(1, ONE)} the last 31 min of data are lost",
            ],
        ),
        (
            EXTRA,
            "keep",
            dump(1, TWO),
            [
                f"database: restored from {dump(1, TWO)}; the last 31 min of data are lost",
                f"  it was made while {TWO} ran",
                "  the database of now is kept under another name, and named at the end",
            ],
        ),
        (
            Migrations([], [], [], ["sources.0001_b"]),
            "keep",
            "",
            [
                "database: not returned; it has no migration that the older release does not have",
                "the older release has migrations that the database has not: sources.0001_b",
                f"dump from before: {dump(1, ONE)}",
                f"  with -e restore_dump={dump(1, ONE)} the last 31 min of data are lost",
            ],
        ),
    ],
    ids=["code", "migrations", "stubborn", "reverse", "restore", "missing"],
)
def test_what_is_said(migrations: Migrations, mode: str, restore: str, said: list[str]) -> None:
    running, older = Kept(THREE, "3" * 40, "v3"), Kept(ONE, "1" * 40, "v1")
    found = dump_from_before([dump(1, ONE)], older)

    assert Way(running, older, migrations, found, HALF_AN_HOUR_LATER).lines(mode, restore) == [*BEGIN, *said]


def test_what_is_said_without_a_dump_and_of_a_file_of_another_name() -> None:
    way = Way(Kept(THREE, "3" * 40, ""), Kept(ONE, "1" * 40, ""), EXTRA, None, 0)

    assert way.lines("keep", "")[-1] == "dump from before: none"
    assert way.lines("keep", "/tmp/reef.pgc")[3] == (
        "database: restored from /tmp/reef.pgc; all data since that was made is lost"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 min"), (59, "1 min"), (60, "2 min"), (7200, "2 h 1 min"), (169_200, "47 h 1 min"), (180_000, "2 days 2 h")],
)
def test_times_are_not_said_shorter_than_they_are(seconds: int, words: str) -> None:
    assert age(seconds) == words


# --- the module


@pytest.fixture
def run(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, Any]]:
    """Run the module; each release answers as `answers` says."""

    def run(answers: dict[str, tuple[int, str, str]], **arguments: object) -> dict[str, Any]:
        def run_command(_module: AnsibleModule, argv: list[str], **_options: object) -> tuple[int, str, str]:
            assert argv[:2] == [str(root / "run"), "--instance"]
            assert argv[3:-1] == ["python", "manage.py", "shell", "--command"]
            return answers[argv[2]]

        monkeypatch.setattr(AnsibleModule, "run_command", run_command)
        with patch_module_args({"root": str(root), **arguments}), pytest.raises(SystemExit):
            release_rollback.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


def said(answer: dict[str, Any]) -> tuple[int, str, str]:
    return 0, f"\n{json.dumps(answer)}\n", ""


def test_the_module(run: Callable[..., dict[str, Any]]) -> None:
    answers = {THREE: said(state(*NEW, leaves=LEAVES)), ONE: said(OLD)}

    result = run(answers, release="v1", migrations="reverse", dumps=[dump(1, ONE)])

    assert (result["changed"], result["release"], result["current"]) == (False, ONE, THREE)
    assert (result["version"], result["current_version"]) == ("v1", "v3")
    assert result["migrations"] == ["sources.0002", "labels.0001"]
    assert result["targets"] == [{"app": "labels", "migration": "zero"}, {"app": "sources", "migration": "0001"}]
    assert f"dump from before: {dump(1, ONE)}" in result["words"]


@pytest.mark.parametrize(
    ("answers", "arguments", "message"),
    [
        (
            {THREE: said(state(*NEW, leaves=LEAVES, stubborn="sources.0002")), ONE: said(OLD)},
            {"migrations": "reverse"},
            "nothing was changed, because these migrations cannot be reversed: "
            "Operation <RunPython> in sources.0002 is not reversible",
        ),
        (
            {THREE: said(OLD), ONE: (1, "", "Traceback\nImproperlyConfigured: EXPORT_SIGNING_KEY\n")},
            {},
            f"{ONE} (v1) cannot say which migrations it has: Traceback ImproperlyConfigured: EXPORT_SIGNING_KEY",
        ),
        (
            {THREE: said(OLD), ONE: (0, "something else\n", "")},
            {},
            f"{ONE} (v1) cannot say which migrations it has: something else",
        ),
        (
            {},
            {"migrations": "reverse", "restore_dump": "/tmp/reef.pgc"},
            "say migrations=reverse or restore_dump, not both: a dump brings its own migrations",
        ),
    ],
    ids=["stubborn", "does not start", "no answer", "both"],
)
def test_the_module_refuses(
    run: Callable[..., dict[str, Any]], answers: dict[str, Any], arguments: dict[str, str], message: str
) -> None:
    result = run(answers, release="v1", **arguments)

    assert result["failed"]
    assert result["msg"] == message
