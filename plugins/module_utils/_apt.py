# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What apt and dpkg know of a package, a repository tried before it is trusted, a package changed under nginx."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.coralnet.server.plugins.module_utils._run import Run

ENVIRONMENT = {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
# apt forgives a repository that it cannot verify while it has older lists of it
STRICT = ["-o", "APT::Update::Error-Mode=any", "-o", "Acquire::Retries=2", "-o", "DPkg::Lock::Timeout=120"]
POLICY = "/usr/sbin/policy-rc.d"
KEPT = "/usr/sbin/policy-rc.d.kept"
LOCK = "/run/lock/coralnet-package"


class AptError(Exception):
    """Apt or dpkg refused; the message holds its words."""


@dataclass(frozen=True)
class Offer:
    """A version of a package in a repository."""

    version: str
    uri: str


def words(output: str) -> str:
    """Keep of apt's output what says why: its errors and warnings, and what it says below an address that failed."""
    found = []
    failed = False
    for line in output.splitlines():
        if line.startswith(("E: ", "W: ")):
            found.append(line[3:].strip())
        elif failed and line.startswith("  "):
            found.append(line.strip())
        failed = line.startswith(("Err:", "Ign:")) or (failed and line.startswith("  "))
    once = [each for each in dict.fromkeys(found) if not any(each in other and each != other for other in found)]
    return "; ".join(each.rstrip(".") for each in once) or output.strip()


def parse_offers(madison: str) -> list[Offer]:
    """Read the output of `apt-cache madison`, newest version first; sources are left out."""
    offers = []
    for line in madison.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == 3 and fields[2].endswith(" Packages"):
            offers.append(Offer(fields[1], fields[2].split()[0]))
    return offers


class Apt:
    """apt with its lists, by default the host's own; see `scratch`."""

    def __init__(self, run: Run, options: list[str] | None = None) -> None:
        self._run = run
        self._options = options or []

    def update(self, source: str = "") -> None:
        """Read the repositories anew, or the one of a file in sources.list.d."""
        alone = ["-o", f"Dir::Etc::sourcelist={source}", "-o", "Dir::Etc::sourceparts=-"] if source else []
        keep = ["-o", "APT::Get::List-Cleanup=0"] if source else []
        rc, out, err = self._run(["apt-get", "update", *STRICT, *alone, *keep, *self._options])
        if rc != 0:
            raise AptError(words(f"{err}\n{out}"))

    def offers(self, package: str) -> list[Offer]:
        return parse_offers(self._run(["apt-cache", *self._options, "madison", package])[1])

    def install(self, package: str, version: str) -> None:
        """Install a version, also an older one, and finish what an earlier run left half done."""
        keep = ["--force-confdef", "--force-confold"]
        for argv in (
            ["dpkg", "--configure", "--pending", *keep],
            [
                "apt-get", "install", "--yes", "--no-install-recommends", "--allow-downgrades",
                "--allow-change-held-packages", "-o", "DPkg::Lock::Timeout=120",
                *(f"-oDpkg::Options::={option}" for option in keep), f"{package}={version}",
            ],
        ):  # fmt: skip
            rc, out, err = self._run(argv)
            if rc != 0:
                raise AptError(f"{argv[0]} could not install {package} {version}: {words(f'{err}{out}')}")

    def hold(self, package: str, wanted: bool) -> None:
        argv = ["apt-mark", "hold" if wanted else "unhold", package]
        rc, out, err = self._run(argv)
        if rc != 0:
            raise AptError(f"{' '.join(argv)}: {words(f'{err}{out}')}")


@contextlib.contextmanager
def scratch(run: Run) -> Iterator[tuple[str, Apt]]:
    """Give an apt whose lists are in a directory of its own, which the account `_apt` can read."""
    directory = tempfile.mkdtemp(prefix="apt-", dir="/tmp")  # apt's own account cannot read Ansible's
    os.chmod(directory, 0o755)  # noqa: S103
    os.makedirs(f"{directory}/lists/partial")
    os.makedirs(f"{directory}/cache/archives/partial")
    options = ["-o", f"Dir::State::lists={directory}/lists", "-o", f"Dir::Cache={directory}/cache"]
    try:
        yield directory, Apt(run, options)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def trial(run: Run, key: str, repository: str) -> None:
    """Have apt read a repository with nothing but a key, before either is put where apt looks for it.

    `repository` is what stands behind `deb` in a line of sources.list: address, suite and components.
    """
    with scratch(run) as (directory, apt):
        for name, content in (("key.asc", key), ("trial.list", f"deb [signed-by={directory}/key.asc] {repository}\n")):
            with open(f"{directory}/{name}", "w", encoding="utf-8") as file:
                file.write(content)
            os.chmod(f"{directory}/{name}", 0o644)
        try:
            apt.update(f"{directory}/trial.list")
        except AptError as exc:
            raise AptError(str(exc).replace(f"{directory}/", "")) from exc


@dataclass(frozen=True)
class Installed:
    """A package as dpkg knows it."""

    version: str = ""
    held: bool = False
    complete: bool = True


def installed(run: Run, package: str) -> Installed:
    query = "${Version}|${db:Status-Want}|${db:Status-Status}"
    rc, out, _err = run(["dpkg-query", "--show", f"--showformat={query}", package])
    version, want, status = (out.strip() if rc == 0 else "||not-installed").split("|")
    if status in ("not-installed", "config-files"):
        return Installed()
    return Installed(version, want == "hold", status == "installed")


def newer(run: Run, one: str, other: str) -> bool:
    return run(["dpkg", "--compare-versions", one, "gt", other])[0] == 0


POLICY_TEXT = f"""#!/bin/sh
# A run of coralnet.server exchanges nginx's package while nginx goes on; see deb-systemd-invoke(1p).
# Without that run, which holds the lock, this file means nothing and may be removed.
case $1 in
    nginx | nginx.service) flock --nonblock {LOCK} true || exit 101 ;;
esac
[ ! -x {KEPT} ] || exec {KEPT} "$@"
exit 0
"""


@contextlib.contextmanager
def left_running(policy: str = POLICY, kept: str = KEPT, lock: str = LOCK) -> Iterator[None]:
    """Keep packages from starting, stopping and restarting nginx.

    The policy is in force for as long as this process lives: one that is killed leaves a file that allows
    everything, which the next run takes away. A policy that was there before is asked as well, and put back.
    """
    with open(lock, "w", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if os.path.exists(policy) and not _ours(policy):
            os.replace(policy, kept)
        with open(f"{policy}.new", "w", encoding="utf-8") as file:
            file.write(POLICY_TEXT.replace(LOCK, lock).replace(KEPT, kept))
        os.chmod(f"{policy}.new", 0o755)  # noqa: S103  # it is a command
        os.replace(f"{policy}.new", policy)
        try:
            yield
        finally:
            remove_policy(policy, kept)


def remove_policy(policy: str = POLICY, kept: str = KEPT) -> bool:
    """Take our policy away, also one that a killed run left; say whether there was one."""
    if os.path.exists(kept):
        os.replace(kept, policy)
        return True
    if os.path.exists(policy) and _ours(policy):
        os.unlink(policy)
        return True
    return False


def _ours(policy: str) -> bool:
    with open(policy, encoding="utf-8", errors="replace") as file:
        return "# A run of coralnet.server" in file.read()


def matches(version: str, wanted: str) -> bool:
    """Whether a package's version is a wanted one, which may be given without the package's own part: 1.30.4."""
    return version == wanted or bool(re.match(re.escape(wanted) + r"[-+~]", re.sub(r"^\d+:", "", version)))
