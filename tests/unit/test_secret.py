"""Credentials in addresses are found, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._secret import credentials

TOKEN = "ghp_0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://me:s3cret@index.example/simple", {"me:s3cret", "s3cret"}),
        (f"--index-url http://{TOKEN}@index.example/simple", {TOKEN}),
        (f"git+https://x-access-token:{TOKEN}@github.com/a/b.git", {f"x-access-token:{TOKEN}", TOKEN}),
        ("https://short@index.example/simple", {"short"}),
        ("ftp://me:s3cret@index.example/simple", {"me:s3cret", "s3cret"}),
        ("https://deploy:@github.com/a/b.git", {"deploy:"}),
        # Hiding every git would leave no sentence to read
        ("ssh://git@github.com/a/b.git", set()),
        ("git+ssh://git@github.com/a/b.git", set()),
        ("git@github.com:a/b.git", set()),
        ("https://github.com/a/b.git", set()),
        ("reef @ https://example.org/reef-1.0.zip", set()),
        ("1", set()),
    ],
)
def test_credentials(text: str, found: set[str]) -> None:
    assert credentials(["", text]) == found
