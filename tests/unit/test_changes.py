"""What an update brings, in words, from real commits."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._changes import SHOWN, Changes, between
from ansible_collections.coralnet.server.plugins.module_utils._git import GitError, Mirror


class Source:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "--quiet", "--initial-branch=main", str(path))

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.path.parent, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, message: str, files: dict[str, str | None]) -> str:
        for name, content in files.items():
            file = self.path / name
            if content is None:
                file.unlink()
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content)
        at = ["-C", str(self.path)]
        self.git(*at, "add", "--all")
        self.git(*at, "commit", "--quiet", "--allow-empty", "--message", message)
        return self.git(*at, "rev-parse", "HEAD")


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "source")


@pytest.fixture
def mirror(tmp_path: Path, source: Source) -> Mirror:
    def run(argv: list[str]) -> tuple[int, str, str]:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return Mirror(str(tmp_path / "repo.git"), str(source.path), run)


REQUIREMENTS = ["requirements/production.txt"]
BASE = "# what it takes\nDjango==5.2.1 \\\n    --hash=sha256:aa\nPillow==11\n"


def history(source: Source) -> tuple[str, str]:
    old = source.commit(
        "First",
        {
            "requirements/production.txt": "-r base.txt\ngunicorn\n",
            "requirements/base.txt": BASE,
            "app/migrations/__init__.py": "",
            "app/migrations/0001_initial.py": "1",
            "other/requirements.txt": "x",
            "static/a.css": "a",
        },
    )
    source.commit("Show größe", {"app/migrations/0002_größe.py": "2", "app/migrations/__init__.py": "#"})
    new = source.commit(
        "Newer Django",
        {
            "requirements/base.txt": BASE.replace("5.2.1", "5.2.2").replace(":aa", ":bb").replace("what", "all"),
            "requirements/production.txt": "-r base.txt\ngunicorn\n++odd\n",
            "app/migrations/0001_initial.py": "11",
            "other/requirements.txt": "y",
            "static/a.css": None,
            "app/static/b.css": "b",
        },
    )
    return old, new


def test_forward_and_back(source: Source, mirror: Mirror) -> None:
    old, new = history(source)
    mirror.fetch()
    there, back = (between(mirror, *pair, REQUIREMENTS) for pair in ((old, new), (new, old)))

    assert [line.split(" ", 1)[1] for line in there.commits] == ["author: Newer Django", "author: Show größe"]
    assert there.left_out == []
    assert sorted(there.requirements) == ["+ ++odd", "+ Django==5.2.2 \\", "- Django==5.2.1 \\"]
    assert there.migration_files == [
        ("changed", "app/migrations/0001_initial.py"),
        ("new", "app/migrations/0002_größe.py"),
    ]
    assert (there.static, there.files) == (2, 8)
    assert there.lines()[:2] == ["files: 8 changed, 2 of them static", "commits: 2"]
    assert back.commits == []
    assert back.left_out == there.commits
    assert back.lines()[-1] == "  the removed ones are not reversed in the database"


def test_check_mode_looks_aside(source: Source, mirror: Mirror, tmp_path: Path) -> None:
    old = source.commit("First", {"a": "1"})
    mirror.fetch()
    new = source.commit("Second", {"a": "2"})
    before = sorted(path for path in (tmp_path / "repo.git").rglob("*"))
    with mirror.aside() as other:
        assert other.has(new)
        assert between(other, old, new, []).files == 1
        place = Path(other.git(["rev-parse", "--absolute-git-dir"]).strip())
    assert not mirror.has(new)
    assert not place.exists()
    assert sorted(path for path in (tmp_path / "repo.git").rglob("*")) == before


def test_a_commit_that_git_does_not_have(source: Source, mirror: Mirror) -> None:
    old = source.commit("First", {"a": "1"})
    mirror.fetch()
    with pytest.raises(GitError, match="could not read"):
        between(mirror, old, "1" * 40, [])


def test_a_long_list_is_cut() -> None:
    lines = Changes(commits=[str(number) for number in range(SHOWN + 3)]).lines()

    assert lines[1] == f"commits: {SHOWN + 3}"
    assert lines[-1] == "  and 3 more"
    assert Changes().lines() == ["files: 0 changed, 0 of them static"]
