# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of OpenPGP keys: which keys they hold, and whether these are the expected ones and fit to be trusted."""

from __future__ import annotations

import re
import tempfile
import time
from dataclasses import dataclass

from ansible_collections.coralnet.server.plugins.module_utils._run import Run

DAY = 86400
WEAK_BELOW = 2048
# RFC 4880 and RFC 9580: what signs, and how long its keys have to be
RSA = {"1", "2", "3"}
ALGORITHMS = {
    "1": "rsa",
    "2": "rsa",
    "3": "rsa",
    "16": "elgamal",
    "17": "dsa",
    "18": "ecdh",
    "19": "ecdsa",
    "22": "eddsa",
}
ELLIPTIC = {"18", "19", "22", "25", "26", "27", "28"}
BLOCK = re.compile(r"-----BEGIN PGP PUBLIC KEY BLOCK-----.*?-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL)


class KeyFileError(Exception):
    """A file of keys must not be trusted; the message says why."""


@dataclass(frozen=True)
class Key:
    """A primary key, with what gpg says of it."""

    fingerprint: str
    algorithm: str
    bits: int
    expires: int = 0
    revoked: bool = False
    secret: bool = False
    weak: bool = False

    def expired(self, now: float) -> bool:
        return bool(self.expires) and self.expires <= now

    def usable(self, now: float) -> bool:
        return not self.revoked and not self.expired(now)

    def state(self, now: float) -> str:
        if self.revoked:
            return "was revoked"
        if not self.expires:
            return "does not expire"
        return f"{'expired' if self.expired(now) else 'expires'} on {date(self.expires)}"


def date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def read_keys(text: str, run: Run) -> list[Key]:
    """Have gpg list the keys of an ASCII-armoured text, in a home of its own."""
    check_text(text)
    with tempfile.TemporaryDirectory(prefix="keys-") as home:
        path = f"{home}/keys.asc"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        argv = ["gpg", "--batch", "--no-options", "--homedir", home, "--with-colons", "--show-keys", path]
        rc, out, err = run(argv)
    keys = parse(out)
    if rc != 0 or not keys:
        reasons = [line.removeprefix("gpg: ") for line in err.splitlines() if home not in line]
        raise KeyFileError(f"gpg cannot read it: {'; '.join(reasons) or 'it found no key'}")
    return keys


def check_text(text: str) -> None:
    """Refuse what is no file of public keys, and what two programs could read in two ways."""
    if not text.strip():
        raise KeyFileError("it is empty")
    if "PRIVATE KEY BLOCK" in text:
        raise KeyFileError("it holds a private key, which nobody must see: give the public one")
    if text.count("-----BEGIN PGP PUBLIC KEY BLOCK") > text.count("-----END PGP PUBLIC KEY BLOCK-----"):
        raise KeyFileError("it is cut off: a key begins that does not end")
    if not BLOCK.search(text):
        page = ": it is a web page" if re.match(r"\s*<", text) else ""
        raise KeyFileError(f"it holds no ASCII-armoured OpenPGP key{page}")
    if BLOCK.sub("", text).strip():
        raise KeyFileError("it holds something beside the keys")


def parse(colons: str) -> list[Key]:
    """Read gpg's list of keys (doc/DETAILS in GnuPG's source); a subkey counts for the strength alone."""
    keys: list[Key] = []
    fields: list[str] = []
    for line in colons.splitlines():
        record = line.split(":")
        if record[0] in ("pub", "sec"):
            fields = record
        elif record[0] == "fpr" and fields:
            keys.append(
                Key(
                    fingerprint=record[9],
                    algorithm=ALGORITHMS.get(fields[3], fields[3]),
                    bits=int(fields[2]),
                    expires=int(fields[6] or 0),
                    revoked=fields[1] in ("r", "i", "d"),
                    secret=fields[0] == "sec",
                    weak=_weak(fields),
                )
            )
            fields = []
        elif record[0] in ("sub", "ssb") and keys and "s" in record[11] and _weak(record):
            keys[-1] = Key(**{**keys[-1].__dict__, "weak": True, "bits": int(record[2])})
    return keys


def _weak(record: list[str]) -> bool:
    """Whether a key's kind or length is no longer trusted: DSA is not, and RSA needs its bits."""
    return record[3] not in ELLIPTIC and (record[3] not in RSA or int(record[2]) < WEAK_BELOW)


def normal(fingerprint: str) -> str:
    return re.sub(r"\s", "", fingerprint).upper()


def check_keys(keys: list[Key], pinned: list[str], now: float) -> None:
    """Refuse the whole file unless every key is pinned and strong, and one can be used."""
    if any(key.secret for key in keys):
        raise KeyFileError("it holds a private key, which nobody must see: give the public one")
    unknown = [key.fingerprint for key in keys if key.fingerprint not in {normal(each) for each in pinned}]
    if unknown:
        raise KeyFileError(f"it holds a key that is not among the pinned fingerprints: {', '.join(unknown)}")
    for key in keys:
        if key.weak:
            raise KeyFileError(
                f"the key {key.fingerprint} ({key.algorithm}, {key.bits} bits) is too weak to be trusted"
            )
    if not any(key.usable(now) for key in keys):
        states = ", ".join(f"{key.fingerprint} {key.state(now)}" for key in keys)
        raise KeyFileError(f"none of its keys can be used: {states}")


def last_day(keys: list[Key], now: float) -> int:
    """When the last usable key expires, in seconds since the epoch; 0 for never."""
    ends = [key.expires for key in keys if key.usable(now)]
    return 0 if 0 in ends else max(ends)


def warnings(keys: list[Key], days: int, now: float) -> list[str]:
    """Say which keys are about to expire."""
    usable = [key for key in keys if key.usable(now)]
    soon = [key for key in usable if key.expires and key.expires - now < days * DAY]
    others = [key.fingerprint for key in usable if key not in soon]
    then = (
        f"these remain: {', '.join(others)}"
        if others
        else "apt takes nothing from the repository after that, unless the file has a newer key by then"
    )
    return [
        f"the key {key.fingerprint} expires on {date(key.expires)}, in {int((key.expires - now) // DAY)} days; {then}"
        for key in soon
    ]
