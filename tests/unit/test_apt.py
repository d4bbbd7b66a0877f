"""What apt says, which nginx is chosen of it, and the policy that keeps packages from touching the service."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._apt import (
    AptError,
    Installed,
    Offer,
    installed,
    left_running,
    matches,
    parse_offers,
    remove_policy,
    words,
)
from ansible_collections.coralnet.server.plugins.modules.nginx_package import addresses, choose, origin_of

NGINX_ORG, DEBIAN = "https://nginx.org/packages/debian", "http://deb.debian.org/debian"
MADISON = f"""     nginx | 1.30.5-1~trixie | {NGINX_ORG} trixie/nginx amd64 Packages
     nginx | 1.30.4-1~trixie | {NGINX_ORG} trixie/nginx amd64 Packages
     nginx | 1.26.3-3+deb13u11 | {DEBIAN} trixie/main amd64 Packages
     nginx | 1.30.5-1~trixie | {NGINX_ORG} trixie/nginx Sources
"""
OFFERS = [
    Offer("1.30.5-1~trixie", NGINX_ORG),
    Offer("1.30.4-1~trixie", NGINX_ORG),
    Offer("1.26.3-3+deb13u11", DEBIAN),
]


def test_offers() -> None:
    assert parse_offers(MADISON) == OFFERS
    assert parse_offers("N: Unable to locate package nginx\n") == []


@pytest.mark.parametrize(
    ("repository", "version", "chosen"),
    [
        (NGINX_ORG, "", "1.30.5-1~trixie"),
        (NGINX_ORG + "/", "", "1.30.5-1~trixie"),
        (NGINX_ORG, "1.30.4", "1.30.4-1~trixie"),
        (NGINX_ORG, "1.30.4-1~trixie", "1.30.4-1~trixie"),
        ("", "1.26.3", "1.26.3-3+deb13u11"),
    ],
)
def test_choose(repository: str, version: str, chosen: str) -> None:
    assert choose(OFFERS, repository, version) == chosen


@pytest.mark.parametrize(
    ("repository", "version", "complaint"),
    [
        (NGINX_ORG, "1.30", f"no nginx 1.30 from {NGINX_ORG}, which has 1.30.5-1~trixie, 1.30.4-1~trixie"),
        (NGINX_ORG, "1.26.3", "no nginx 1.26.3 from"),
        ("https://other.example/debian", "", "no nginx at all from https://other.example/debian"),
    ],
)
def test_nothing_to_choose(repository: str, version: str, complaint: str) -> None:
    with pytest.raises(AptError, match=complaint):
        choose(OFFERS, repository, version)


@pytest.mark.parametrize(
    ("version", "wanted", "result"),
    [
        ("1.30.4-1~trixie", "1.30.4", True),
        ("1:1.30.4-1", "1.30.4", True),
        ("1.30.4-1~trixie", "1.30.4-1~trixie", True),
        ("1.30.40-1", "1.30.4", False),
        ("1.30.4-1", "1.30", False),
        ("1.30.4-1", "1.30.4-2", False),
        ("1.3004-1", "1.30", False),
    ],
)
def test_matches(version: str, wanted: str, result: bool) -> None:
    assert matches(version, wanted) is result


@pytest.mark.parametrize(
    ("version", "distribution", "origin"),
    [
        ("", False, ""),
        ("1.26.3-3+deb13u11", True, "distribution"),
        ("1.25.3-1", True, "distribution"),
        ("1.30.4-1~trixie", False, "stable"),
        ("1.31.3-1~trixie", False, "mainline"),
    ],
)
def test_origin_of(version: str, distribution: bool, origin: str) -> None:
    assert origin_of(version, distribution) == origin


def test_addresses_of_a_source(tmp_path: Path) -> None:
    source = tmp_path / "nginx.sources"
    assert addresses(str(source)) == []
    source.write_text(f"X-Repolib-Name: nginx\nTypes: deb\nURIs: {NGINX_ORG}/ https://mirror.example\nSuites: trixie\n")
    assert addresses(str(source)) == [NGINX_ORG, "https://mirror.example"]


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ((1, "", "dpkg-query: no packages found matching nginx\n"), Installed()),
        ((0, "1.26.3-3|deinstall|config-files", ""), Installed()),
        ((0, "1.26.3-3|install|installed", ""), Installed("1.26.3-3")),
        ((0, "1.26.3-3|hold|installed", ""), Installed("1.26.3-3", held=True)),
        ((0, "1.26.3-3|install|half-configured", ""), Installed("1.26.3-3", complete=False)),
    ],
)
def test_installed(answer: tuple[int, str, str], state: Installed) -> None:
    assert installed(lambda _argv: answer, "nginx") == state


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("Reading package lists...\nE: Unable to locate package nginx\n", "Unable to locate package nginx"),
        (
            "W: GPG error: https://x InRelease: NO_PUBKEY 1\nE: The repository 'https://x' is not signed.\n",
            "GPG error: https://x InRelease: NO_PUBKEY 1; The repository 'https://x' is not signed",
        ),
        (
            "Hit:1 https://y InRelease\nErr:2 https://x InRelease\n  Connection refused [IP: 1 443]\nFetched 0 B\n"
            "E: Failed to fetch\nE: Failed to fetch\n",
            "Connection refused [IP: 1 443]; Failed to fetch",
        ),
        ("dpkg was killed\n", "dpkg was killed"),
    ],
)
def test_words(output: str, said: str) -> None:
    assert words(output) == said


@pytest.fixture
def paths(tmp_path: Path) -> tuple[str, str, str]:
    return str(tmp_path / "policy-rc.d"), str(tmp_path / "kept"), str(tmp_path / "lock")


def asked(policy: str, service: str) -> int:
    return subprocess.run([policy, service, "restart"], check=False).returncode


def test_only_nginx_is_left_alone(paths: tuple[str, str, str]) -> None:
    with left_running(*paths):
        assert asked(paths[0], "nginx") == asked(paths[0], "nginx.service") == 101
        assert asked(paths[0], "postgresql") == 0
    assert not Path(paths[0]).exists()


def test_a_policy_without_its_run_means_nothing_and_is_removed(paths: tuple[str, str, str]) -> None:
    with left_running(*paths):
        text = Path(paths[0]).read_text()
    Path(paths[0]).write_text(text)
    Path(paths[0]).chmod(0o755)
    assert asked(paths[0], "nginx") == 0
    assert remove_policy(*paths[:2])
    assert not Path(paths[0]).exists()
    assert not remove_policy(*paths[:2])


def test_another_policy_is_asked_and_put_back(paths: tuple[str, str, str]) -> None:
    Path(paths[0]).write_text("#!/bin/sh\nexit 104\n")
    Path(paths[0]).chmod(0o755)
    assert not remove_policy(*paths[:2])

    def fail() -> None:
        with left_running(*paths):
            assert asked(paths[0], "nginx") == 101
            assert asked(paths[0], "postgresql") == 104
            raise AptError

    with pytest.raises(AptError):
        fail()
    assert asked(paths[0], "nginx") == 104
