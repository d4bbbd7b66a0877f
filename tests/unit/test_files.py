"""Files written in one go: by the module as Ansible runs it, on a real disk."""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.coralnet.server.plugins.module_utils import _files
from ansible_collections.coralnet.server.plugins.modules import config_files

ME = pwd.getpwuid(os.geteuid()).pw_name
MINE = grp.getgrgid(os.getegid()).gr_name
OLD = 1_700_000_000_000_000_000

Module = Callable[..., dict[str, Any]]


@pytest.fixture
def module(capsys: pytest.CaptureFixture[str]) -> Module:
    """Run the module and return what it says, `failed` included."""

    def run(*files: dict[str, str], check: bool = False) -> dict[str, Any]:
        with patch_module_args({"files": list(files), "_ansible_check_mode": check}), pytest.raises(SystemExit):
            config_files.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


def file(path: Path, content: str = "new\n", **others: str) -> dict[str, str]:
    return {"path": str(path), "content": content, "owner": ME, "group": MINE, **others}


def test_files_and_their_directories_are_made(module: Module, tmp_path: Path) -> None:
    one, two = tmp_path / "etc" / "site" / "one", tmp_path / "two"

    done = module(file(one), file(two, "secret", mode="0640"))

    assert done["changed"]
    assert done["written"] == [str(one), str(two)]
    assert (one.read_text(), two.read_text()) == ("new\n", "secret")
    assert stat.S_IMODE(one.stat().st_mode) == 0o644
    assert stat.S_IMODE(two.stat().st_mode) == 0o640
    assert stat.S_IMODE(one.parent.stat().st_mode) == 0o755
    assert sorted(path.name for path in tmp_path.iterdir()) == ["etc", "two"]
    assert not module(file(one), file(two, "secret", mode="0640"))["changed"]


def test_only_what_differs_is_written_anew(module: Module, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    module(file(one), file(two))
    for path in (one, two):
        os.utime(path, ns=(OLD, OLD))

    done = module(file(one), file(two, "newer\n"))

    assert done["written"] == [str(two)]
    assert one.stat().st_mtime_ns == OLD
    assert two.stat().st_mtime_ns > OLD


def test_another_mode_keeps_the_time_of_the_content(module: Module, tmp_path: Path) -> None:
    path = tmp_path / "one"
    module(file(path))
    os.utime(path, ns=(OLD, OLD))

    assert module(file(path, mode="0600"))["changed"]

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_mtime_ns == OLD


def test_a_link_gives_way_to_the_file(module: Module, tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "link"
    module(file(target))
    path.symlink_to(target)

    assert module(file(path))["changed"]

    assert not path.is_symlink()
    assert path.read_text() == target.read_text() == "new\n"


def test_nobody_leads_it_elsewhere(module: Module, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("theirs")
    other.chmod(0o600)
    (tmp_path / "one").symlink_to(other)
    (tmp_path / "one.new").symlink_to(other)

    done = module(file(tmp_path / "one"))

    assert "theirs" not in json.dumps(done["diff"])
    assert (other.read_text(), stat.S_IMODE(other.stat().st_mode)) == ("theirs", 0o600)
    assert (tmp_path / "one").read_text() == "new\n"


def test_what_a_killed_run_left_is_no_hindrance(module: Module, tmp_path: Path) -> None:
    path = tmp_path / "one"
    (tmp_path / "one.new").write_text("half")

    module(file(path))

    assert path.read_text() == "new\n"
    assert not (tmp_path / "one.new").exists()


def test_check_mode_says_what_and_writes_nothing(module: Module, tmp_path: Path) -> None:
    path = tmp_path / "one"
    module(file(path, "old\n"))

    done = module(file(path), file(tmp_path / "none", owner="not-made-yet"), check=True)

    assert done["written"] == [str(path), str(tmp_path / "none")]
    assert done["diff"][0] == {
        "before": "old\n",
        "after": "new\n",
        "before_header": str(path),
        "after_header": str(path),
    }
    assert path.read_text() == "old\n"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"mode": "u=rw"}, "octal number such as '0640'; 'u=rw' is not"),
        ({"mode": "99999"}, "octal number"),
        ({"owner": "nobody-of-this-name"}, "is to belong to nobody-of-this-name, and there is no such account"),
        ({"group": "nobody-of-this-name"}, "is to belong to nobody-of-this-name, and there is no such account"),
        ({"path": "/tmp"}, "/tmp is a directory"),
    ],
)
def test_nothing_is_written_when_one_cannot_be(module: Module, tmp_path: Path, bad: dict[str, str], words: str) -> None:
    path = tmp_path / "one"

    failed = module(file(path), {**file(tmp_path / "two"), **bad})

    assert failed["failed"]
    assert words in failed["msg"]
    assert not path.exists()


def test_nobody_else_can_read_it_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    replace = os.replace

    def look(source: str, target: str) -> None:
        seen.append(stat.S_IMODE(Path(source).stat().st_mode))
        replace(source, target)

    opened = os.open

    def open_closed(path: str, flags: int, mode: int = 0o777) -> int:
        seen.append(mode)
        return opened(path, flags, mode)

    monkeypatch.setattr(_files.os, "replace", look)
    monkeypatch.setattr(_files.os, "open", open_closed)
    _files.TextFile(str(tmp_path / "one"), "secret", ME, MINE, "0640").write()
    assert seen == [0o600, 0o640]


def test_directories_can_be_passed_through_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        _files.make_directory(str(tmp_path / "a" / "b"))
    finally:
        os.umask(before)

    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a", tmp_path / "a" / "b")] == [0o755, 0o755]
