from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.coralnet.server.plugins.module_utils import _venv
from ansible_collections.coralnet.server.plugins.module_utils._venv import fingerprint, hashed, prune_venvs, reusable

NAMES = [f"2026010{number}T000000Z-0123456789" for number in range(1, 6)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, text in {
        "requirements/base.txt": "Django>=5.2,<5.3\n",
        "requirements/production.txt": "-r base.txt\n-c ../pins.txt\ngunicorn\n",
        "pins.txt": "# none yet\n",
        "setup.py": "",
        "own-1.0.zip": "",
    }.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "src"


def of(source: Path, files: tuple[str, ...] = ("requirements/production.txt",), **change: object) -> str:
    given: dict[str, object] = {"packages": [], "environment": {}, "interpreter": "3.13"}
    return fingerprint(str(source), list(files), **{**given, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change", [{"packages": ["gunicorn"]}, {"environment": {"PIP_INDEX_URL": "x"}}, {"interpreter": "3.14"}]
)
def test_whatever_an_installation_depends_on_makes_a_difference(source: Path, change: dict[str, object]) -> None:
    assert of(source) == of(source) != ""
    assert of(source, **change) not in ("", of(source))


@pytest.mark.parametrize("file", ["requirements/production.txt", "requirements/base.txt", "pins.txt"])
def test_so_does_every_file_included(source: Path, file: str) -> None:
    before = of(source)
    (source / "setup.py").write_text("setup()")
    assert of(source) == before

    with (source / file).open("a") as text:
        text.write("Pillow~=12.3\n")

    assert of(source) not in ("", before)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# -e .\n\n   # ./x\n",
        "Django",
        "Django>=5.2,<5.3  # -e .",
        "django-storages[s3, azure] ~= 1.14 ; python_version < '4'",
        "zope.interface==7.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11",
        "reef @ https://example.org/reef-1.0.tar.gz",
        "reef @ git+https://example.org/reef.git@0123456",
        "--extra-index-url https://example.org/simple\n-i https://example.org/simple --pre",
        "--require-hashes\n--no-binary :all:",
        "-rrequirements/base.txt",
        "--requirement=requirements/base.txt",
        "--constraint requirements/base.txt  # why",
        "-r requirements/again.txt",
    ],
)
def test_published_packages_are_shared(source: Path, text: str) -> None:
    (source / "requirements" / "again.txt").write_text("-r ../requirements.txt\n")
    (source / "requirements.txt").write_text(text)

    assert of(source, ("requirements.txt",))


@pytest.mark.parametrize(
    "line",
    [
        ".",
        "..",
        ".[test]",
        "./lib",
        "lib/own",
        "/srv/own",
        "-e .",
        "-e.",
        "-e git+https://example.org/reef.git#egg=reef",
        "--editable=.",
        "--edit .",
        "# a comment does not continue \\\n-e .",
        "--pre -e .",
        "--pre \\\n-e .",
        "own-1.0.zip",
        "own-1.0.zip[all]",
        "own @ file:///srv/own",
        "own @ git+file:///srv/own",
        "own@file:own",
        "own @ ./own",
        "file:own",
        "https://example.org/reef-1.0.tar.gz",
        "--find-links wheels",
        "-f wheels",
        "--index-url wheels",
        "--extra-index-url=file:///srv/wheels",
        "-r missing.txt",
        "-r",
        "-r nested.txt",
        "-r https://example.org/requirements.txt",
        "-r ${FILES}/base.txt",
        "--requirement \\\nnested.txt",
        "own;\udcff -e .",
    ],
)
@pytest.mark.parametrize("way", ["file", "package"])
def test_what_may_be_the_projects_own_is_shared_with_nobody(source: Path, line: str, way: str) -> None:
    (source / "nested.txt").write_text("-e .\n")
    (source / "requirements.txt").write_text(f"Django\n{line}\n" if way == "file" else "", errors="surrogateescape")

    assert of(source, ("requirements.txt",), packages=[line] if way == "package" else []) == ""


@pytest.mark.parametrize("name", sorted(_venv.UNKNOWN_FILES))
def test_nor_is_what_the_environment_names(source: Path, name: str) -> None:
    assert of(source, environment={name: "pins.txt"}) == ""


def test_a_missing_file_is_left_to_pip(source: Path) -> None:
    assert of(source, ("requirements.txt",)) == ""


def make(root: Path, name: str, record: str | None) -> None:
    path = root / "venvs" / name
    path.mkdir(parents=True)
    if record is not None:
        (path / "venv.json").write_text(record)


def test_the_newest_finished_one_is_reused(tmp_path: Path) -> None:
    for name, record in zip(NAMES, [*[json.dumps({"fingerprint": key}) for key in "xxyx"], None], strict=True):
        make(tmp_path, name, record)

    assert reusable(str(tmp_path), "fingerprint", "x") == NAMES[3]
    assert reusable(str(tmp_path), "fingerprint", "y") == NAMES[2]
    assert reusable(str(tmp_path), "fingerprint", "z") == ""


@pytest.mark.parametrize("record", [None, "{", "[]", "3", "{}", '{"fingerprint": ""}', "\x00"])
def test_one_that_was_not_finished_or_must_not_be_shared_is_not_reused(tmp_path: Path, record: str | None) -> None:
    make(tmp_path, NAMES[0], record)

    assert reusable(str(tmp_path), "fingerprint", "x") == reusable(str(tmp_path), "fingerprint", "") == ""


def test_prune_keeps_what_a_release_needs_and_what_may_be_in_the_making(tmp_path: Path) -> None:
    for name in NAMES:
        make(tmp_path, name, None)
    (tmp_path / "venvs" / "by-hand").mkdir()
    for release, venv in ((NAMES[1], NAMES[0]), (NAMES[3], NAMES[1])):
        (tmp_path / "releases" / release).mkdir(parents=True)
        (tmp_path / "releases" / release / "venv").symlink_to(f"../../venvs/{venv}")
    # Made before virtual environments were shared
    (tmp_path / "releases" / NAMES[0] / "venv").mkdir(parents=True)

    assert prune_venvs(str(tmp_path), NAMES[3]) == [NAMES[2]]
    assert sorted(path.name for path in (tmp_path / "venvs").iterdir()) == [*NAMES[:2], *NAMES[3:], "by-hand"]


def test_prune_where_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()

    assert prune_venvs(str(tmp_path), NAMES[0]) == []


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("requirements/production.txt", "Pillow==12.3 --hash=sha256:aa\n", True),
        ("requirements/base.txt", "Pillow==12.3 \\\n    --hash=sha256:aa\n", True),
        ("requirements/base.txt", "--require-hashes\n", True),
        ("pins.txt", "Pillow==12.3 --hash sha256:aa\n", True),
        ("pins.txt", "# Pillow==12.3 --hash=sha256:aa\nwith--hash=x\n", False),
        ("setup.py", "--require-hashes\n", False),
    ],
)
def test_hashes(source: Path, file: str, text: str, expected: bool) -> None:
    with (source / file).open("a") as requirements:
        requirements.write(text)

    assert hashed(str(source), ["requirements/production.txt"]) is expected


def test_hashes_of_what_is_not_there(source: Path) -> None:
    """The installer says so better."""
    assert not hashed(str(source), ["no/such"])
