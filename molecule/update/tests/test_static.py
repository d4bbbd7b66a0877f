"""Static files that nobody needs any more."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from shared.deployed import ROOT, Site
from shared.visitor import Visitor, changed

CLEAR = "django_app_clear_static=true"


def stylesheet(address: str) -> str:
    """Where the page has its stylesheet, with the hash of its content."""
    found = re.search(r'href="(/static/[^"]+\.css)"', Visitor(address).get("/").text)
    assert found
    return found[1]


@pytest.mark.on("debian-13")
def test_old_files_go_and_those_of_open_pages_stay(
    at_v1: None, site: Site, address: str, update: Callable[..., Any]
) -> None:
    # v2 may have been here, and then has left its own
    assert changed(update("v1", CLEAR)) in (0, 1)
    site.host.run_expect(
        [0], f"cd {ROOT}/static && echo x >old.css && echo x >old.css.gz && mkdir -p CACHE && echo x >CACHE/x"
    )
    open_page = stylesheet(address)

    changed(update("v2", CLEAR))

    assert site.version == "v2"
    assert stylesheet(address) != open_page
    for path in (open_page, stylesheet(address)):
        assert Visitor(address).get(path).status_code == 200, path
        assert site.host.file(f"{ROOT}{path}.gz").exists
    for name, there in (("old.css", False), ("old.css.gz", False), ("CACHE/x", True), ("staticfiles.json", True)):
        assert site.host.file(f"{ROOT}/static/{name}").exists == there, name

    assert changed(update("v2", CLEAR)) == 1
    assert Visitor(address).get(open_page).status_code == 404
    assert Visitor(address).get(stylesheet(address)).status_code == 200
    assert changed(update("v2", CLEAR)) == 0
