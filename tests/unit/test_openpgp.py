"""Files of keys: read from gpg's own listings, and refused whole for any fault."""

from __future__ import annotations

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._openpgp import (
    DAY,
    Key,
    KeyFileError,
    check_keys,
    check_text,
    last_day,
    parse,
    read_keys,
    warnings,
)

NOW = 1_800_000_000
A, B, C, D = (letter * 40 for letter in "ABCD")
BEGIN, END = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n", "-----END PGP PUBLIC KEY BLOCK-----\n"
BLOCK = f"{BEGIN}\nmQENBE\n=abcd\n{END}"


def pub(fingerprint: str, bits: int = 2048, algorithm: int = 1, expires: int | str = "", validity: str = "-") -> str:
    """Write what gpg lists for a key, as gpg 2.2 and 2.4 do."""
    return (
        f"pub:{validity}:{bits}:{algorithm}:{fingerprint[-16:]}:1313747554:{expires}::-:::scSC::::::23::0:\n"
        f"fpr:::::::::{fingerprint}:\n"
        "uid:-::::1716564661::F18C4DBBFCB45099ABB59088DB6B252FA7E9FB41::a signing key <key@example>::::::::::0:\n"
    )


def sub(bits: int, use: str) -> str:
    return f"sub:-:{bits}:1:{'E' * 16}:1313747554::::::{use}::::::23:\nfpr:::::::::{'E' * 40}:\n"


def key(fingerprint: str, days: float | None = None, **changes: object) -> Key:
    return Key(fingerprint, "rsa", 4096, int(NOW + days * DAY) if days is not None else 0, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        ("", []),
        (pub(A), [Key(A, "rsa", 2048)]),
        (pub(A, 4096, expires=NOW) + pub(B, 256, 22), [Key(A, "rsa", 4096, NOW), Key(B, "eddsa", 256)]),
        (pub(A, validity="r"), [Key(A, "rsa", 2048, revoked=True)]),
        (pub(A, 1024), [Key(A, "rsa", 1024, weak=True)]),
        (pub(A, 3072, 17), [Key(A, "dsa", 3072, weak=True)]),
        (pub(A, 2048, 99), [Key(A, "99", 2048, weak=True)]),
        (pub(A).replace("pub", "sec"), [Key(A, "rsa", 2048, secret=True)]),
        # a subkey is none of the file's keys, but what it signs is trusted
        (pub(A) + sub(4096, "s"), [Key(A, "rsa", 2048)]),
        (pub(A) + sub(1024, "e"), [Key(A, "rsa", 2048)]),
        (pub(A) + sub(1024, "s") + pub(B), [Key(A, "rsa", 1024, weak=True), Key(B, "rsa", 2048)]),
    ],
)
def test_parse(listing: str, expected: list[Key]) -> None:
    assert parse(listing) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("<!DOCTYPE html>\n<title>Not here</title>", "it is a web page"),
        ("404: Not Found\n", "holds no ASCII-armoured OpenPGP key"),
        (BEGIN + "\nmQENBE\n", "cut off"),
        (BLOCK + BLOCK[:60], "cut off"),
        (BLOCK + "<html>", "something beside the keys"),
        (BLOCK.replace("PUBLIC", "PRIVATE"), "private key"),
        (BLOCK + BLOCK.replace("PUBLIC", "PRIVATE"), "private key"),
        (BLOCK.replace("PUBLIC KEY BLOCK", "MESSAGE"), "holds no ASCII-armoured OpenPGP key"),
    ],
)
def test_what_is_no_file_of_keys(text: str, complaint: str) -> None:
    with pytest.raises(KeyFileError, match=complaint):
        check_text(text)


def test_several_blocks_are_one_file() -> None:
    check_text(BLOCK + "\n" + BLOCK)


@pytest.mark.parametrize(
    ("keys", "pinned", "complaint"),
    [
        ([key(A)], [A], ""),
        ([key(A), key(B), key(C)], [A, B, C], ""),
        ([key(A)], [A, B, C], ""),
        ([key(A)], [" ".join([A[:20].lower(), A[20:]])], ""),
        ([key(A, -1), key(B)], [A, B], ""),
        ([key(A, 1)], [A], ""),
        ([key(A), key(B), key(C), key(D)], [A, B, C], f"not among the pinned fingerprints: {D}"),
        ([key(D)], [A], f"not among the pinned fingerprints: {D}"),
        ([key(A)], [A[-16:]], "not among the pinned fingerprints"),
        ([key(A)], [], "not among the pinned fingerprints"),
        ([key(A, -1)], [A], f"none of its keys can be used: {A} expired on 2027-01-14"),
        ([key(A, 0)], [A], "none of its keys can be used"),
        ([key(A, -1), key(B, revoked=True)], [A, B], f"{B} was revoked"),
        ([key(A), key(B, weak=True)], [A, B], f"{B} .rsa, 4096 bits. is too weak"),
        ([key(A, secret=True)], [A], "private key"),
    ],
)
def test_check_keys(keys: list[Key], pinned: list[str], complaint: str) -> None:
    if not complaint:
        check_keys(keys, pinned, NOW)
        return
    with pytest.raises(KeyFileError, match=complaint):
        check_keys(keys, pinned, NOW)


@pytest.mark.parametrize(
    ("keys", "last", "words"),
    [
        ([key(A)], None, []),
        ([key(A, 61)], 61, []),
        ([key(A, 59.5)], 59.5, [f"{A} expires on 2027-03-15, in 59 days; apt takes nothing"]),
        ([key(A, 10), key(B)], None, [f"{A} expires on 2027-01-25, in 10 days; these remain: {B}"]),
        ([key(A, 10), key(B, 20)], 20, ["apt takes nothing", "apt takes nothing"]),
        ([key(A, -10), key(B, revoked=True), key(C, 100)], 100, []),
    ],
)
def test_expiry(keys: list[Key], last: float | None, words: list[str]) -> None:
    assert last_day(keys, NOW) == (0 if last is None else NOW + last * DAY)
    found = warnings(keys, 60, NOW)
    assert len(found) == len(words)
    for warning, word in zip(found, words, strict=True):
        assert word in warning


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ((2, "", "gpg: no valid OpenPGP data found.\n"), "gpg cannot read it: no valid OpenPGP data found."),
        ((2, pub(A), "gpg: read_block: read error: Invalid packet\n"), "Invalid packet"),
        ((0, "", ""), "it found no key"),
    ],
)
def test_what_gpg_cannot_read(answer: tuple[int, str, str], complaint: str) -> None:
    with pytest.raises(KeyFileError, match=complaint):
        read_keys(BLOCK, lambda _argv: answer)


def test_gpg_is_asked_in_a_home_of_its_own() -> None:
    asked: list[list[str]] = []

    def run(argv: list[str]) -> tuple[int, str, str]:
        asked.append(argv)
        return 0, pub(A), f"gpg: keybox '{argv[4]}/pubring.kbx' created\n"

    assert read_keys(BLOCK, run) == [Key(A, "rsa", 2048)]
    (argv,) = asked
    assert argv[:4] == ["gpg", "--batch", "--no-options", "--homedir"]
    assert argv[5:7] == ["--with-colons", "--show-keys"]
    assert argv[7].startswith(argv[4])
