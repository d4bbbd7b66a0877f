"""Copies of the sample site, each with a database of its own."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from sample_site import Site


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the site once and make its database, from which each test has its own."""
    source = os.environ.get("SAMPLE_SITE")
    assert source, "set SAMPLE_SITE to a clone of the sample site, and run this with a Python that has its requirements"
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(Path(source) / "project", folder / "project")
    done = Site(folder).manage("migrate")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copy(checkout: Path, tmp_path: Path) -> Iterator[Callable[[], Site]]:
    made: list[Site] = []

    def make() -> Site:
        folder = tmp_path / f"site{len(made)}"
        shutil.copytree(checkout, folder)
        made.append(Site(folder))
        return made[-1]

    yield make
    for site in made:
        site.stop()


@pytest.fixture
def site(copy: Callable[[], Site]) -> Site:
    """The site as it is, serving."""
    whole = copy()
    whole.start()
    return whole
