# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What brings the packages into a virtual environment: uv, or the pip that comes with the interpreter."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field


class BuildError(Exception):
    """A program refused; the message ends with its last words, and all that it said is beside it."""

    def __init__(self, purpose: str, rc: int, out: str, err: str) -> None:
        lines = (err.strip() or out.strip() or f"it ended with {rc}").splitlines()
        last = " ".join(filter(None, map(str.strip, lines[-10:])))
        super().__init__(f"could not {purpose}: {last}")
        self.output = out + err


Program = Callable[[str, list[str], dict[str, str]], str]
"""Runs words in the release's source with more variables, and returns their output; it is told what for."""

RENAMED = {"PIP_CERT": "SSL_CERT_FILE", "PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX"}
# It compiles only when it is told to, and the site may not, which writes nothing there. Files are copied out of its
# cache, since links to what is there would have the deploy account's group and not the site's.
FOR_OTHERS = {"UV_COMPILE_BYTECODE": "1", "UV_LINK_MODE": "copy"}
# All but the record of the other one, and with its own path where a script says it. Files are linked, not copied:
# installers put new ones in the place of those that change, and write none of them anew, nor does sed. The modes of
# directories are not preserved, or they would lose the bit that gives what is made in them to the site's group.
COPY = """
mkdir "$2"
for entry in "$1"/*; do
  case $entry in */venv.json) ;; *) cp -dRl --preserve=links,timestamps "$entry" "$2/" ;; esac
done
grep -rlIF -- "$1" "$2/bin" "$2/pyvenv.cfg" | while IFS= read -r file; do
  sed -i "s|$1|$2|g" "$file"
done
"""


@dataclass(frozen=True)
class Wanted:
    """A virtual environment and what is to be in it."""

    path: str
    python: str
    requirements: list[str]
    packages: list[str]
    hashed: bool
    command: list[str] = field(default_factory=list)
    extra: list[list[str]] = field(default_factory=list)

    def made_by(self, otherwise: list[str]) -> list[str]:
        return [*(self.command or otherwise), self.path]

    @property
    def words(self) -> list[str]:
        return [word for file in self.requirements for word in ("--requirement", file)] + self.packages


def for_uv(environment: dict[str, str]) -> dict[str, str]:
    """Say to uv what pip's variables say; it reads none of them."""
    told = {RENAMED[name]: value for name, value in environment.items() if name in RENAMED}
    return {"UV_PYTHON_DOWNLOADS": "never", **told, **environment}


def install_with_pip(run: Program, wanted: Wanted, upgrade: bool) -> None:
    """Pip checks hashes where a file has them."""
    run("make the virtual environment", wanted.made_by([wanted.python, "-m", "venv"]), {})
    pip = [os.path.join(wanted.path, "bin", "python"), "-m", "pip", "--disable-pip-version-check", "install"]
    if upgrade:
        run("upgrade pip", [*pip, "--upgrade", "pip"], {})
    if wanted.words:
        run("install the requirements with pip", [*pip, *wanted.words], {})
    for words in wanted.extra:
        run(f"install {' '.join(words)} with pip", [*pip, *words], {})


def install_with_uv(run: Program, wanted: Wanted, uv: str, environment: dict[str, str], like: str) -> bool:
    """Bring the packages in, beginning with a copy of another virtual environment where one is named, and say whether.

    What comes out is the same: uv resolves all of it anew and takes away what nobody asks for.
    """
    variables = {**FOR_OTHERS, **for_uv(environment)}
    copied = bool(like) and _copied(run, like, wanted.path)
    if not copied:
        run(
            "make the virtual environment",
            wanted.made_by([uv, "venv", "--quiet", "--python", wanted.python]),
            variables,
        )
    target = ["--python", os.path.join(wanted.path, "bin", "python")]
    strict = ["--require-hashes"] if wanted.hashed else ["--exact", "--upgrade"]
    if wanted.words:
        words = [uv, "pip", "install", "--quiet", *target, *strict, *wanted.words]
        run("install the requirements with uv", words, variables)
    for extra in wanted.extra:
        run(f"install {' '.join(extra)} with uv", [uv, "pip", "install", "--quiet", *target, *extra], variables)
    # Which everybody could write
    run("tidy the virtual environment", ["rm", "-f", os.path.join(wanted.path, ".lock")], {})
    return copied


def _copied(run: Program, like: str, path: str) -> bool:
    """Copy, or say that it cannot be: what somebody has put in there as root may be neither linked nor read."""
    try:
        run("copy the virtual environment", ["sh", "-euc", COPY, "sh", like, path], {})
    except BuildError:
        run("remove what was copied", ["rm", "-rf", "--", path], {})
        return False
    return True


def own_uv(run: Program, directory: str, python: str, fresh: bool) -> str:
    """Name the site's own uv, which pip installs where there is none that works, or a fresh one is asked for."""
    uv = os.path.join(directory, "bin", "uv")
    try:
        if not fresh and os.path.exists(uv):
            run("use uv", [uv, "--version"], {})
            return uv
    except BuildError:
        pass
    run("make a virtual environment for uv", [python, "-m", "venv", "--clear", directory], {})
    pip = [os.path.join(directory, "bin", "python"), "-m", "pip", "--disable-pip-version-check"]
    run("install uv", [*pip, "install", "--quiet", "uv"], {})
    return uv
