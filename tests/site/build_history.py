"""Build the git history of the sample site: a bare repository with one tag per version.

    python3 build_history.py DEST.git     make or renew the repository
    python3 build_history.py --list       print the tags and their commits
    python3 build_history.py --site FOLDER …     of another site, which has a base/ and versions/v2/

Authors and dates are fixed, so the same files give the same hashes wherever they are built.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
AUTHOR = "Sample Site <site@example.org>"
FIRST_DATE = 1767225600  # 2026-01-01, and an hour more for each version
MAIN = "v2"
# What running the site in place, or a linter, leaves behind
LEFT_BEHIND = {"__pycache__", ".ruff_cache", "local", "secrets.json"}


@dataclass(frozen=True)
class Version:
    """A tree: the base, with the files of each layer in turn laid over it."""

    tag: str
    parent: str | None
    subject: str
    layers: tuple[str, ...] = ()


HISTORY = [
    Version("v1", None, "Show sources, images and annotations"),
    Version("v2", "v1", "Show the size of images, sign exports", ("v2",)),
    Version("migration-fails", "v1", "Migrate half-way", ("migration-fails",)),
    Version("import-fails", "v1", "Forget a module", ("import-fails",)),
    Version("answers-500", "v1", "Answer every request with an error", ("answers-500",)),
    Version("hangs", "v1", "Never answer", ("hangs",)),
    Version("package-missing", "v1", "Require what does not exist", ("package-missing",)),
    Version("hash-mismatch", "v1", "Require a package with another hash", ("hash-mismatch",)),
    Version("static-fails", "v1", "Refer to a missing stylesheet", ("static-fails",)),
    Version("upload-fails", "v1", "Take no images any more", ("upload-fails",)),
    Version("worker-fails", "v1", "Break the worker", ("worker-fails",)),
    Version("worker-deaf", "v1", "Have the worker ignore its stop signal", ("worker-deaf",)),
    Version("slow", "v1", "Add a slow page", ("slow",)),
    Version("slow-v2", "slow", "Show the size of images beside a slow page", ("v2", "slow")),
    Version("large", "v1", "Use what a site has gathered in some years", ("large",)),
    Version("large-v2", "large", "Show the size of images on a larger site", ("v2", "large")),
]
OTHER = [Version("v1", None, "Begin"), Version("v2", "v1", "Go on", ("v2",))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dest", nargs="?", type=Path, help="the bare repository to make")
    parser.add_argument("--list", action="store_true", help="print the tags and their commits")
    parser.add_argument("--site", type=Path, help="the folder of another site")
    options = parser.parse_args()
    if not (options.dest or options.list):
        parser.error("name the repository to make, or ask for --list")

    history = OTHER if options.site else HISTORY
    folder = options.site.resolve() if options.site else HERE
    # Beside the destination, so that the finished repository only has to be renamed
    parent = options.dest.absolute().parent if options.dest else None
    if parent:
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".history-") as directory:
        repository = Path(directory, "new.git")
        build(repository, folder, history)
        refs = refs_of(repository)
        if options.dest:
            install(repository, refs, options.dest, Path(directory, "old.git"))
    if options.list:
        for version in history:
            print(f"{version.tag:<16} {refs[f'refs/tags/{version.tag}']}")


def build(repository, folder, history):
    git("init", "--quiet", "--bare", "--template=", "--initial-branch=main", repository)
    tags = [version.tag for version in history]
    commits = [commit(folder, version, number, tags) for number, version in enumerate(history)]
    branch = f"reset refs/heads/main\nfrom :{1 + tags.index(MAIN)}\n\ndone\n"
    stream = b"".join([*commits, branch.encode()])
    git("-C", repository, "fast-import", "--quiet", "--done", stream=stream)


def commit(folder, version, number, tags):
    """One commit in the language of git-fast-import, which needs no work tree."""
    lines = [
        f"commit refs/tags/{version.tag}",
        f"mark :{1 + number}",
        f"committer {AUTHOR} {FIRST_DATE + 3600 * number} +0000",
        data(version.subject),
    ]
    if version.parent:
        lines += [f"from :{1 + tags.index(version.parent)}", "deleteall"]
    head = "\n".join(lines).encode() + b"\n"
    return head + b"".join(
        f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n"
        for path, content in sorted(tree(folder, version).items())
    )


def tree(folder, version):
    """The files of a version, by path."""
    files = {}
    for root in [folder / "base", *(folder / "versions" / layer for layer in version.layers)]:
        for path in root.rglob("*"):
            relative = path.relative_to(root)
            if path.is_file() and LEFT_BEHIND.isdisjoint(relative.parts):
                files[relative.as_posix()] = path.read_bytes()
    if folder == HERE:
        files["project/config/version.py"] = f'VERSION = "{version.tag}"\n'.encode()
    return files


def data(text):
    return f"data {len(text.encode())}\n{text}"


def refs_of(repository):
    listing = git("-C", repository, "for-each-ref", "--format=%(refname) %(objectname)")
    return dict(line.split() for line in listing.splitlines())


def install(repository, refs, dest, old):
    """Put the new repository in place, unless what is there is the same already."""
    if dest.exists():
        if not (dest / "HEAD").is_file():
            sys.exit(f"{dest} is no bare git repository: it is left as it is.")
        if refs_of(dest) == refs:
            return
        dest.rename(old)
    repository.rename(dest)


def git(*args, stream=None):
    # Variables of a git that runs us (in a hook, say) would point to its repository
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    return subprocess.run(
        ["git", *args], input=stream, env=environment, check=True, stdout=subprocess.PIPE
    ).stdout.decode()


if __name__ == "__main__":
    if not shutil.which("git"):
        sys.exit("This needs git.")
    main()
