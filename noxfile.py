"""Every gate of the project: `nox -l` lists them, `bin/test` runs them in order.

The molecule session uses the virtual environment that nox itself runs from (made by bin/setup);
the others have one each under .nox/.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import nox

ROOT = Path(__file__).parent
# The oldest and the newest, and the one at hand
PYTHONS = sorted({"3.11", "3.13", "{}.{}".format(*sys.version_info[:2])})
LAB_BIN = Path(sys.executable).parent
# What belongs at the top of the built collection
ARTIFACT = {
    "CHANGELOG.rst", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "changelogs", "docs", "meta",
    "playbooks", "plugins", "requirements.yml", "roles",
}  # fmt: skip
GET_PIP = ROOT / "tests" / "support" / "get_pip_offline.py"

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "uv|venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "docs", "unit"]
# A missing interpreter is skipped, on CI too, and never downloaded
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"

# Caches stay in the checkout. uv trusts the system's CA certificates only when told to.
os.environ.setdefault("UV_CACHE_DIR", str(ROOT / ".lab" / "cache" / "uv"))
os.environ.setdefault("UV_SYSTEM_CERTS", "1")
os.environ.setdefault("ANSIBLE_HOME", str(ROOT / ".lab" / "ansible"))


def find_pythons(folder: Path) -> dict[str, str]:
    """Link every wanted Python that really runs into a folder, and name those that nox shall skip as missing.

    A shim of pyenv may be on PATH and not run, while the interpreter lies in pyenv's own folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    names = {}
    for version in PYTHONS:
        name = f"python{version}"
        names[version] = f"{version}-not-installed"
        places = [Path(entry) / name for entry in os.environ["PATH"].split(os.pathsep)]
        for path in [*places, *sorted(pyenv.glob(f"versions/{version}.*/bin/{name}"))]:
            if path.is_file() and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
                # In one step, since another nox may be using it
                fresh = folder / f"{name}.{os.getpid()}"
                fresh.symlink_to(path)
                fresh.replace(folder / name)
                names[version] = version
                break
    os.environ["PATH"] = os.pathsep.join([str(folder), os.environ["PATH"]])
    return names


FOUND = find_pythons(ROOT / ".lab" / "pythons")


def collection_copy(parent: Path) -> Path:
    """Copy tracked and untracked files to where ansible-test insists a collection lives.

    The parent must lie outside this repository: below an ignored folder such as .nox,
    ansible-test asks git for the files, gets none, and passes with "All targets skipped".
    Left out: bin/, which ansible-test takes for Python, and bench/ and the sample sites, whose rules are their own.
    """
    target = parent / "ansible_collections" / "coralnet" / "server"
    target.mkdir(parents=True)
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in filter(None, subprocess.check_output(listing, cwd=ROOT, text=True).split("\0")):
        source = ROOT / name
        if (
            source.is_symlink()
            or not source.is_file()
            or name.startswith(("bench/", "bin/", "tests/site/", "tests/sites/"))
        ):
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target / name)
    return target


@nox.session
def lint(session: nox.Session) -> None:
    """Style and static checks."""
    session.install("-r", "requirements/lint.txt")
    commands = [
        ["yamllint", "--strict", "."],
        ["ruff", "format", "--check", "."],
        ["ruff", "check", "."],
        ["mypy"],
        [
            "shellcheck",
            "--external-sources",
            "bin/demo",
            "bin/runserver",
            "bin/setup",
            "bin/test",
            ".ci/run",
            "molecule/shared/images/build",
        ],
        ["ansible-lint", "--offline", "--profile", "production", "--strict"],
        ["codespell"],
    ]
    failed = []
    for command in commands:  # all of them, so that one run shows everything that is to be mended
        try:
            session.run(*command)
        except nox.command.CommandFailed:
            failed.append(command[0])
    if failed:
        session.error(f"not clean: {', '.join(failed)}")


@nox.session
def docs(session: nox.Session) -> None:
    """Documentation markup and changelog fragments."""
    session.install("-r", "requirements/lint.txt")
    session.run("antsibull-changelog", "lint")
    session.run(
        "antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck",
        "--validate-collection-refs=dependent", ".",
    )  # fmt: skip


@nox.session(python=[FOUND[version] for version in PYTHONS])
def unit(session: nox.Session) -> None:
    """Unit tests straight from the checkout."""
    session.install("-r", "requirements/unit.txt")
    session.run("pytest", "--numprocesses", "auto", *session.posargs)


@nox.session
def site(session: nox.Session) -> None:
    """Run the sample site's own tests, in its first and its second version, and walk through it."""
    history = ROOT / "tests" / "site" / "build_history.py"
    with tempfile.TemporaryDirectory() as parent:
        repository = Path(parent) / "site.git"
        session.run("python", str(history), str(repository))
        for version in ("v1", "v2"):
            checkout = Path(parent) / version
            clone = ["git", "-c", "advice.detachedHead=false", "clone", "--quiet", "--branch", version]
            session.run(*clone, str(repository), str(checkout), external=True)
            session.install("-r", str(checkout / "requirements" / "local.txt"))
            with session.chdir(checkout / "project"):
                session.run("python", "manage.py", "test", "--parallel", "2")
        session.install("-r", "requirements/walk.txt")
        for version in ("v1", "v2"):
            env = {"SAMPLE_SITE": str(Path(parent) / version)}
            # Mistakes are met in the newer one alone, which has the same forms
            chosen = ["-k", "passes"] if version == "v1" else []
            session.run("pytest", "--numprocesses", "2", "tests/walk", *chosen, *session.posargs, env=env)


@nox.session
def sanity(session: nox.Session) -> None:
    """Run ansible-test sanity, without an ignore file, on a copy with the layout that it requires."""
    session.install("-r", "requirements/ansible.txt")
    home = ROOT / ".lab" / "sanity"  # keeps ansible-test's own virtual environments between runs
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in bundled_pip_versions(session):
        shutil.copy(GET_PIP, cache / f"get_pip_{version.replace('.', '_')}.py")
    python = "{}.{}".format(*sys.version_info[:2])
    command = ["ansible-test", "sanity", "--local", "--color", "no", "--python", python, *session.posargs]
    with tempfile.TemporaryDirectory() as parent, session.chdir(collection_copy(Path(parent))):
        output = run_and_show(session, command, {"HOME": str(home)})
    if "All targets skipped" in output:
        session.error("ansible-test found nothing to test")


def bundled_pip_versions(session: nox.Session) -> set[str]:
    """Ask ansible-test's source which pip it bootstraps, for the name of its cached get-pip script."""
    code = "import ansible_test, pathlib; print(pathlib.Path(ansible_test.__path__[0]))"
    package = Path(str(session.run("python", "-c", code, silent=True, log=False)).strip())
    source = (package / "_internal" / "python_requirements.py").read_text()
    return set(re.findall(r"\bpip='([\d.]+)'", source))


def run_and_show(session: nox.Session, command: list[str], env: dict[str, str] | None = None) -> str:
    """Run a command, show its output as it comes, and return it."""
    session.log(" ".join(command))
    path = os.pathsep.join([*session.bin_paths, os.environ["PATH"]]) if session.bin_paths else os.environ["PATH"]
    lines = []
    with subprocess.Popen(
        [shutil.which(command[0], path=path) or command[0], *command[1:]],
        env={**os.environ, "PATH": path, **(env or {})},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        session.error(f"{command[0]} failed with exit code {process.returncode}")
    return "".join(lines)


@nox.session
def build(session: nox.Session) -> None:
    """Build the artifact, let galaxy-importer judge it, install it elsewhere and use it from there."""
    session.install("-r", "requirements/importer.txt")
    with tempfile.TemporaryDirectory() as parent:
        session.run("ansible-galaxy", "collection", "build", "--force", "--output-path", parent)
        artifact = next(Path(parent).glob("*.tar.gz"))
        with tarfile.open(artifact) as tar:
            names = {name for name in tar.getnames() if not name.endswith("/")}
        session.log(f"{len(names)} files")
        unexpected = {name.split("/")[0] for name in names} - ARTIFACT
        if unexpected:
            session.error(f"the artifact has what is not for it, see build_ignore: {sorted(unexpected)}")
        with session.chdir(parent):  # it leaves its report where it runs
            report = run_and_show(session, ["python", "-m", "galaxy_importer.main", str(artifact)])
        if "WARNING" in report:
            session.error("galaxy-importer has a warning")

        # Installed elsewhere, with none of the checkout in reach; the lab's environment has the collections
        # that ours needs
        (Path(parent) / "ansible.cfg").touch()
        env = {"ANSIBLE_COLLECTIONS_PATH": parent, "ANSIBLE_CONFIG": str(Path(parent) / "ansible.cfg")}
        inventory = ["--inventory", str(ROOT / "inventories" / "lab"), "--limit", "debian-13"]
        with session.chdir(parent):
            for command in (
                ["ansible-galaxy", "collection", "install", "--no-deps", "--collections-path", parent, str(artifact)],
                ["ansible-galaxy", "collection", "verify", "--offline", "coralnet.server"],
                ["ansible-playbook", *inventory, "--syntax-check", "coralnet.server.site", "coralnet.server.update"],
                ["ansible-doc", "--type", "role", "--list", "coralnet.server"],
                ["ansible-doc", "--type", "module", "--list", "coralnet.server"],
            ):
                session.run(str(LAB_BIN / command[0]), *command[1:], env=env, external=True)


@nox.session(venv_backend="none")
def molecule(session: nox.Session) -> None:
    """Run scenarios in containers: `nox -s molecule -- SCENARIO…`, all of them without a name."""
    env = {
        "PATH": os.pathsep.join([str(LAB_BIN), os.environ["PATH"]]),
        "MOLECULE_GLOB": "molecule/*/molecule.yml",  # where ours are; molecule would suggest another folder
        "MOLECULE_COMMAND_BORDERS": "0",
    }
    if not sys.stdout.isatty():
        env |= {"NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1", "PY_COLORS": "0"}
    for scenario in session.posargs or sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")):
        if not list(ROOT.glob(f"molecule/{scenario}/tests/test_*.py")):
            session.error(f"molecule/{scenario}/tests has no test, which molecule would pass over as a success")
        # By its path: nox looks for programs in its own PATH, not in the one given here
        session.run(str(LAB_BIN / "molecule"), "test", "--scenario-name", scenario, env=env, external=True)
