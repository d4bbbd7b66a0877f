"""Lines of a password file: hashes that the system's crypt takes, kept as long as they fit."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.coralnet.server.plugins.filter import htpasswd as plugin
from passlib.hash import sha512_crypt

htpasswd = plugin.FilterModule().filters()["htpasswd"]
# Of "long enough", by Apache's own scheme
APR = "$apr1$abcdefgh$clfVd0jpkovc50n220Yin."
SECRET = "pä$$ :word'\""


def hashes(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines())


def test_each_name_has_a_line() -> None:
    text = htpasswd({"bob": SECRET, "ann": 12345678})

    assert list(hashes(text)) == ["ann", "bob"]
    assert sha512_crypt.verify("12345678", hashes(text)["ann"])
    assert sha512_crypt.verify(SECRET, hashes(text)["bob"])
    assert SECRET not in text


def test_the_system_computes_the_same() -> None:
    """What nginx asks is crypt(3), and so does openssl's own implementation of it."""
    hashed = hashes(htpasswd({"ann": SECRET}))["ann"]
    _empty, scheme, salt, _digest = hashed.split("$")

    assert scheme == "6"
    done = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", salt, "-stdin"],
        input=f"{SECRET}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == hashed


def test_what_fits_is_kept() -> None:
    before = "# managed\n" + htpasswd({"ann": "long enough", "bob": "long enough", "old": "long enough"})
    after = hashes(htpasswd({"ann": "long enough", "bob": "another one"}, before))

    assert set(after) == {"ann", "bob"}
    assert after["ann"] == hashes(before.partition("\n")[2])["ann"]
    assert sha512_crypt.verify("another one", after["bob"])
    # Two who chose the same do not see it
    assert len(set(hashes(before.partition("\n")[2]).values())) == 3


@pytest.mark.parametrize("hashed", ["", "x", "!", APR, "$6$"])
def test_another_hash_is_replaced(hashed: str) -> None:
    assert sha512_crypt.verify("long enough", hashes(htpasswd({"ann": "long enough"}, f"ann:{hashed}\n"))["ann"])


@pytest.mark.parametrize("passwords", ["ann", ["ann"], {"a:b": SECRET}, {"a b": SECRET}, {"#a": SECRET}, {"": SECRET}])
def test_what_is_no_list_of_people(passwords: Mapping[str, Any]) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        htpasswd(passwords)
    assert SECRET not in str(caught.value)


def test_without_passlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "sha512_crypt", None)

    with pytest.raises(AnsibleFilterError, match="pip install passlib"):
        htpasswd({"ann": SECRET})
