"""One deployment at a time: who holds the lock, who is refused, and what a dead run leaves."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.coralnet.server.plugins.module_utils._lock import Lock, LockError, remember
from ansible_collections.coralnet.server.plugins.modules import deploy_lock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock.json"


def race(path: str, run: str) -> bool:
    try:
        Lock(path).take(run, "somebody", "")
    except LockError:
        return False
    return True


def test_a_run_holds_it_and_gives_it_back(path: Path) -> None:
    lock = Lock(str(path))
    assert lock.take("1", "anna", "update to v2") is None
    began = lock.holder()
    assert lock.take("1", "anna", "update to v2") is None, "a sign of life"
    alive = lock.holder()
    assert began
    assert alive
    assert (alive.since, alive.owner) == (began.since, "anna")
    assert alive.seen > began.seen
    lock.release("1")
    assert lock.holder() is None
    lock.release("1")


def test_the_second_is_told_who_holds_it(path: Path) -> None:
    lock = Lock(str(path))
    lock.take("1", "anna", "update to v2")
    with pytest.raises(LockError, match=r"update to v2.*seen alive 0 s ago: wait for it to end, .* take_over=true"):
        lock.take("2", "ben", "")
    lock.release("2")
    assert lock.holder()


def test_what_was_kept_for_opening_the_site_is_given_back_when_it_is_open(path: Path) -> None:
    lock = Lock(str(path))
    lock.opened()
    lock.take("", "anna", "maintenance at 18:30")
    lock.opened()
    assert lock.holder(), "a time that is announced is another matter"
    lock.take("", "anna", "update failed", closed=True)
    lock.opened()
    assert lock.holder() is None
    lock.take("1", "anna", "update to v2", closed=True)
    lock.opened()
    assert lock.holder(), "a run that lives is at it"


def test_a_run_that_ends_may_keep_it_for_its_owner(path: Path) -> None:
    lock = Lock(str(path))
    lock.keep("1", "anna", "maintenance at 18:30")
    assert lock.holder() is None
    lock.take("1", "anna", "update to v2", closed=True)
    lock.keep("2", "ben", "update to v3")
    left = lock.holder()
    assert left
    assert left.owner == "anna", "one that was taken over is another's"
    lock.keep("1", "anna", "update failed", torn=True)
    left = lock.holder()
    assert left
    assert (left.reserved, left.closed, left.torn) == (True, True, True)


def test_what_is_to_be_put_right_is_known_until_a_run_has_done_it(path: Path) -> None:
    lock = Lock(str(path))
    lock.take("", "anna", "rollback failed", closed=True, torn=True)
    lock.opened()
    left = lock.holder()
    assert left
    assert str(left).endswith("(rollback failed, code and database may not fit)")
    lock.release("", "anna")
    lock.release("", "ben", take_over=True)
    for run in ("1", "2"):  # the first dies before it has come to anything
        before = lock.take(run, "anna", "update to v2", take_over=True)
        assert before
        assert before.torn
    lock.release("2")
    assert lock.holder() is None


def test_what_is_kept_for_opening_the_site_outlives_a_notice(path: Path) -> None:
    lock = Lock(str(path))
    lock.take("", "anna", "update failed", closed=True)
    lock.release("", "anna")
    lock.release("", "ben", take_over=True)
    left = lock.holder()
    assert left
    assert left.closed


def test_anothers_time_is_given_back_when_told(path: Path) -> None:
    lock = Lock(str(path))
    lock.take("", "anna", "maintenance at 18:30")
    lock.release("", "ben")
    assert lock.holder()
    lock.release("", "ben", take_over=True)
    assert lock.holder() is None
    lock.take("1", "anna", "update to v2")
    lock.release("", "ben", take_over=True)
    assert lock.holder(), "a run that lives is at it"


def test_a_dead_run_is_taken_over_when_told(path: Path) -> None:
    lock = Lock(str(path))
    long_ago = time.time() - 7200
    path.write_text(json.dumps({"run": "1", "owner": "anna", "reason": "", "since": long_ago, "seen": long_ago}))
    with pytest.raises(LockError, match=r"not seen alive for 120 minutes.* -e take_over=true"):
        lock.take("2", "ben", "")
    taken = lock.take("2", "ben", "", take_over=True)
    assert taken
    assert taken.owner == "anna"
    lock.release("1")
    holder = lock.holder()
    assert holder
    assert holder.owner == "ben", "the first came back to life and took another's lock away"


def test_who_takes_a_closed_site_over_says_so_until_it_is_open(path: Path) -> None:
    lock = Lock(str(path))
    lock.take("1", "anna", "update to v2")
    lock.take("1", "anna", "update to v2", closed=True)
    for run in ("2", "3"):  # the second dies as well, before it has come to anything
        before = lock.take(run, "ben", "rollback", take_over=True)
        assert before
        assert before.closed
    lock.take("3", "ben", "rollback, which lives")
    holder = lock.holder()
    assert holder
    assert str(holder).endswith("(rollback, which lives, the site is closed)")
    lock.take("3", "ben", "rollback", closed=False)
    holder = lock.holder()
    assert holder
    assert str(holder).endswith("(rollback)")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run": "1"}'])
def test_what_cannot_be_read_is_somebodys(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(LockError, match=r"cannot be read.*-e take_over=true"):
        Lock(str(path)).take("2", "ben", "")
    assert Lock(str(path)).take("2", "ben", "", take_over=True)


def test_one_of_many_at_once_gets_it(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda run: race(str(path), str(run)), range(40)))
    assert got.count(True) == 1


@pytest.mark.parametrize("check", [True, False])
def test_the_module(path: Path, capsys: pytest.CaptureFixture[str], check: bool) -> None:
    def module(**options: Any) -> dict[str, Any]:
        given = {"path": str(path), "state": "held", "owner": "ben", **options}
        with patch_module_args({**given, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            deploy_lock.main()
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    Lock(str(path)).take("1", "anna", "")
    refused = module()
    if check:
        assert "anna has held the lock" in refused["other"]
        return
    assert "anna has held the lock" in refused["msg"]
    taken = module(take_over=True)
    assert "anna" in taken["other"]
    assert module(run=taken["run"])["run"] == taken["run"]
    module(state="released")  # without a run it is what is kept for somebody that is given back
    assert path.exists()
    assert not module(state="released", run=taken["run"])["changed"]
    assert not path.exists()
    assert "is not there: run site.yml first" in module(path=str(path / "nowhere" / "lock"))["msg"]
    kept = {"state": "reserved", "reason": "maintenance at 18:30"}
    first = module(**kept, owner="anna")
    assert (first["reserved"], first["announced"]) == (False, "")
    assert "anna is to deploy (maintenance at 18:30): wait" in module(**kept)["msg"]
    assert "anna is to deploy" in module()["msg"]
    module(state="released")
    assert path.exists(), "it is anna's"
    assert "msg" not in module(**kept, owner="anna")
    began = module(owner="anna")
    assert (began["reserved"], began["announced"], began["other"]) == (True, "maintenance at 18:30", "")
    assert "anna has held the lock" in module(**kept)["msg"]
    module(state="released", run=began["run"])
    module(**kept, owner="anna")
    module(state="released", owner="anna")
    assert not path.exists()
    module(**kept, owner="anna", closed=True)
    opens = module(owner="anna")
    assert (opens["reserved"], opens["closed"]) == (True, True), "whoever had reserved it has to open the site"
    assert "the site is closed" in module()["msg"]
    module(**kept, owner="anna", run=opens["run"], closed=False, torn=True)
    assert "code and database may not fit" in module()["msg"]
    assert module(owner="anna")["torn"], "whoever had reserved it has to put it right"


@pytest.mark.parametrize("state", ["released", "reserved"])
@pytest.mark.parametrize("check", [True, False])
def test_the_module_records_a_run(path: Path, capsys: pytest.CaptureFixture[str], check: bool, state: str) -> None:
    records = path.parent / "records"
    records.write_text('{"outcome": "failed"}\n')
    Lock(str(path)).take("1", "ben", "")
    given = {"path": str(path), "state": state, "run": "1", "record": {"outcome": "deployed"}}

    with (
        patch_module_args({**given, "records": str(records), "_ansible_check_mode": check}),
        pytest.raises(SystemExit, match="0"),
    ):
        deploy_lock.main()

    capsys.readouterr()
    found = [json.loads(line)["outcome"] for line in records.read_text().splitlines()]
    assert found == (["failed"] if check else ["failed", "deployed"])
    assert path.exists() is (check or state == "reserved")


def test_a_record_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    records = tmp_path / "records"
    remember(str(records), {"run": 1})
    with files_end_at(records.stat().st_size + 5), pytest.raises(OSError, match=r"No space left.*records"):
        remember(str(records), {"run": 2})
    assert records.read_text() == '{"run": 1}\n'

    with records.open("a") as file:
        file.write('{"run": 2, "outco')  # by a power cut
    remember(str(records), {"run": 3})
    assert records.read_text().splitlines() == ['{"run": 1}', '{"run": 2, "outco', '{"run": 3}']


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """Have no file grow beyond that many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_lock_is_given_back_though_nothing_can_be_recorded(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Lock(str(path)).take("1", "ben", "")
    given = {"path": str(path), "state": "released", "run": "1", "record": {"outcome": "deployed"}}
    with patch_module_args({**given, "records": str(path.parent)}), pytest.raises(SystemExit, match="1"):
        deploy_lock.main()
    assert "Is a directory" in capsys.readouterr().out
    assert not path.exists()
