from __future__ import annotations

import mailbox
import os
import time
from email.message import EmailMessage
from pathlib import Path

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._mailbox import Mail, MailError, mail_at

RUN = "smoke0123456789"
ADDRESS = f"{RUN}@smoke.invalid"
OTHER = "someone@reef.example"
LINE = b"-" * 79 + b"\n"


def letter(to: str = ADDRESS, text: str = "open https://reef.example/activate/1") -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Activate", "reef@reef.example", to
    message.set_content(text)
    return message


def written(*messages: EmailMessage) -> bytes:
    return b"".join(message.as_bytes() + b"\n" + LINE for message in messages)


def no_program(argv: list[str]) -> tuple[int, str, str]:
    raise AssertionError(argv)


def at(kind: str, path: Path, began: float | None = None) -> Mail:
    return mail_at(kind, str(path), time.time() if began is None else began, no_program)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_directory_gives_the_newest(tmp_path: Path) -> None:
    mail = at("directory", tmp_path)
    for number, name in enumerate(["b", "a"]):
        (tmp_path / name).write_bytes(written(letter(text=f"link {number}")))
        os.utime(tmp_path / name, (time.time() + number, time.time() + number))

    assert mail.wait(ADDRESS, 0).strip() == "link 1"


def test_a_directory_gives_nothing_of_before_and_nothing_of_others(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(written(letter()))
    os.utime(tmp_path / "old", (1, 1))
    (tmp_path / "other").write_bytes(written(letter(OTHER)))

    with pytest.raises(MailError, match=f"no mail to {ADDRESS} came within 0 seconds"):
        at("directory", tmp_path).wait(ADDRESS, 0)


def test_what_is_not_whole_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "half").write_bytes(letter().as_bytes())

    with pytest.raises(MailError):
        at("directory", tmp_path).wait(ADDRESS, 0.3)
    with (tmp_path / "half").open("ab") as file:
        file.write(b"\n" + LINE)
    assert "activate/1" in at("directory", tmp_path).wait(ADDRESS, 0)


def test_a_letter_in_another_encoding_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(written(letter(text="Ré" * 100 + "https://reef.example/" + "x" * 100)))

    assert "https://reef.example/" + "x" * 100 in at("directory", tmp_path).wait(f"{ADDRESS}", 0)


def test_only_files_with_no_letter_to_others_are_removed(tmp_path: Path) -> None:
    (tmp_path / "ours").write_bytes(written(letter(), letter(f"admin-{ADDRESS}")))
    (tmp_path / "both").write_bytes(written(letter(), letter(OTHER)))
    (tmp_path / "none").write_bytes(b"not a letter\n")
    (tmp_path / "theirs").write_bytes(written(letter(OTHER)))
    (tmp_path / "folder").mkdir()

    at("directory", tmp_path).remove(RUN)

    assert names(tmp_path) == ["both", "folder", "none", "theirs"]


def test_a_log_is_read_from_where_it_ended(tmp_path: Path) -> None:
    log = tmp_path / "console"
    log.write_bytes(written(letter(text="old")))
    mail = at("log", log)
    with log.open("ab") as file:
        file.write(b'[26/Nov] "GET / HTTP/1.1" 200\n' + written(letter(text="new")) + b"more\n")

    assert mail.wait(ADDRESS, 0).strip() == "new"
    before = log.read_bytes()
    mail.remove(RUN)
    assert log.read_bytes() == before


def test_the_journal_is_asked_since_the_run_began() -> None:
    calls = []

    def journalctl(argv: list[str]) -> tuple[int, str, str]:
        calls.append(argv)
        return 0, "Listening at: unix\n" + written(letter()).decode(), ""

    assert "activate/1" in mail_at("journal", "reef@*", 1700000000.7, journalctl).wait(ADDRESS, 0)
    assert calls == [["journalctl", "--unit=reef@*", "--since=@1700000000", "--output=cat", "--no-pager"]]


def test_a_journal_that_cannot_be_read() -> None:
    mail = mail_at("journal", "reef@*", 0, lambda _argv: (1, "", "No journal files were found.\n"))

    with pytest.raises(MailError, match=r"journalctl cannot read reef@\*: No journal files were found\."):
        mail.wait(ADDRESS, 0)


@pytest.mark.parametrize("kind", [mailbox.mbox, mailbox.Maildir])
def test_a_mailbox(kind: type[mailbox.Mailbox[mailbox.Message]], tmp_path: Path) -> None:
    path = tmp_path / "box"
    box = kind(str(path))  # type: ignore[call-arg]
    for message in (letter(OTHER), letter(text="first"), letter(text="second")):
        box.add(message)
    box.close()
    mail = at("mailbox", path)

    assert mail.wait(ADDRESS, 0).strip() == "second"
    if path.is_file():
        path.chmod(0o640)
        os.chown(path, 12345, 12345) if os.geteuid() == 0 else None
    before = path.stat()
    mail.remove(RUN)

    left = kind(str(path))  # type: ignore[call-arg]
    assert [message["To"] for message in left] == [OTHER]
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_the_newest_of_a_directory_of_messages_is_not_the_last_by_name(tmp_path: Path) -> None:
    box = mailbox.Maildir(str(tmp_path / "box"))
    for name, text in (("1764190000.M999P7Q9.reef", "first"), ("1764190000.M1000P7Q10.reef", "second")):
        (tmp_path / "box/new" / name).write_bytes(letter(text=text).as_bytes())
        os.utime(tmp_path / "box/new" / name, (1764190000, 1764190000))
    box.close()

    assert at("mailbox", tmp_path / "box").wait(ADDRESS, 0).strip() == "second"


@pytest.mark.parametrize("kind", ["directory", "log", "mailbox"])
def test_a_place_that_is_not_there(kind: str, tmp_path: Path) -> None:
    with pytest.raises(MailError, match=r"the mail in .*nowhere cannot be read: No such file or directory"):
        at(kind, tmp_path / "nowhere").wait(ADDRESS, 0)
    assert not (tmp_path / "nowhere").exists()
