from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._good import GoodSet, directory

OLD = 1_700_000_000_000_000_000


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Make three files as a site has them: readable for the site, for all, and by a path with blanks."""
    made = []
    for name, mode in [("etc/site.conf.py", 0o644), ("shared/secrets.json", 0o640), ("shared/with blank%", 0o600)]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"good {name}")
        path.chmod(mode)
        os.utime(path, ns=(OLD, OLD))
        made.append(path)
    return made


@pytest.fixture
def good(tmp_path: Path, files: list[Path]) -> GoodSet:
    return GoodSet(directory(str(tmp_path)), [str(path) for path in files])


def test_nothing_kept_is_nothing_to_restore(good: GoodSet, files: list[Path]) -> None:
    files[0].write_text("changed")

    assert good.differing() == []
    assert good.restore() == []
    assert files[0].read_text() == "changed"


def test_restore_puts_back_content_mode_and_time(good: GoodSet, files: list[Path]) -> None:
    good.save()
    before = [path.stat() for path in files]
    for path in files:
        path.write_text("bad")
        path.chmod(0o666)

    assert good.restore() == [str(path) for path in files]

    for path, seen in zip(files, before, strict=True):
        after = path.stat()
        assert path.read_text().startswith("good ")
        assert (after.st_mode, after.st_uid, after.st_gid) == (seen.st_mode, seen.st_uid, seen.st_gid)
        # A younger file would count as one that the running process has not read
        assert after.st_mtime_ns == OLD
    assert good.differing() == []


def test_restore_touches_only_what_differs(good: GoodSet, files: list[Path]) -> None:
    good.save()
    inodes = [path.stat().st_ino for path in files]
    files[1].write_text("bad")

    assert good.differing() == [str(files[1])]
    assert good.restore() == [str(files[1])]

    assert [files[number].stat().st_ino for number in (0, 2)] == [inodes[0], inodes[2]]


def test_a_file_that_was_only_touched_does_not_differ(good: GoodSet, files: list[Path]) -> None:
    good.save()
    os.utime(files[0])

    assert good.differing() == []


def test_a_change_of_the_same_size_is_seen(good: GoodSet, files: list[Path]) -> None:
    good.save()
    files[0].write_text(files[0].read_text().replace("good", "evil"))

    assert good.differing() == [str(files[0])]


def test_another_mode_is_a_difference(good: GoodSet, files: list[Path]) -> None:
    good.save()
    files[1].chmod(0o600)

    assert good.restore() == [str(files[1])]
    assert stat.S_IMODE(files[1].stat().st_mode) == 0o640


def test_a_file_that_is_gone_comes_back(good: GoodSet, files: list[Path]) -> None:
    good.save()
    files[1].unlink()

    assert good.restore() == [str(files[1])]
    assert files[1].read_text() == "good shared/secrets.json"


def test_a_file_that_was_not_there_when_all_was_good_is_left_alone(good: GoodSet, files: list[Path]) -> None:
    files[1].unlink()
    good.save()
    files[1].write_text("new")

    assert good.restore() == []
    assert files[1].read_text() == "new"


def test_save_replaces_the_copies(good: GoodSet, files: list[Path]) -> None:
    good.save()
    files[1].write_text("better")
    good.save()
    files[1].write_text("bad")

    good.restore()

    assert files[1].read_text() == "better"


def test_save_again_writes_nothing(tmp_path: Path, good: GoodSet) -> None:
    good.save()
    inodes = {path: path.stat().st_ino for path in (tmp_path / "good").iterdir()}
    assert len(inodes) == 3

    good.save()

    assert {path: path.stat().st_ino for path in (tmp_path / "good").iterdir()} == inodes


def test_the_copies_are_for_root_alone(tmp_path: Path, good: GoodSet) -> None:
    old = os.umask(0)
    try:
        good.save()
    finally:
        os.umask(old)

    assert stat.S_IMODE((tmp_path / "good").stat().st_mode) == 0o700


@pytest.mark.parametrize("leftover", [False, True], ids=["", "a run died before"])
def test_a_secret_is_never_readable_for_others_on_the_way(
    good: GoodSet, files: list[Path], monkeypatch: pytest.MonkeyPatch, leftover: bool
) -> None:
    good.save()
    secret = files[1]
    secret.write_text("bad")
    fresh = Path(f"{secret}.new")
    if leftover:
        fresh.write_text("")
        fresh.chmod(0o666)
    copy, replace, seen = shutil.copyfileobj, os.replace, []

    def watch_copy(source: Any, target: Any) -> None:
        copy(source, target)
        seen.append(("written", stat.S_IMODE(fresh.stat().st_mode)))

    def watch_replace(source: str, target: str) -> None:
        seen.append(("renamed", stat.S_IMODE(Path(source).stat().st_mode)))
        replace(source, target)

    monkeypatch.setattr(shutil, "copyfileobj", watch_copy)
    monkeypatch.setattr(os, "replace", watch_replace)
    old = os.umask(0)
    try:
        good.restore()
    finally:
        os.umask(old)

    assert seen == [("written", 0o600), ("renamed", 0o640)]
    assert not fresh.exists()


def test_a_leftover_link_is_not_written_through(tmp_path: Path, good: GoodSet, files: list[Path]) -> None:
    good.save()
    files[1].write_text("bad")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    Path(f"{files[1]}.new").symlink_to(victim)

    good.restore()

    assert victim.read_text() == "mine"
    assert files[1].read_text() == "good shared/secrets.json"
    assert not files[1].is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owner_and_group_are_kept(good: GoodSet, files: list[Path]) -> None:
    os.chown(files[1], 65534, 12)
    good.save()
    files[1].unlink()
    files[1].write_text("bad")

    good.restore()

    assert (files[1].stat().st_uid, files[1].stat().st_gid) == (65534, 12)
    assert stat.S_IMODE(files[1].stat().st_mode) == 0o640
