"""nginx from the distribution, from nginx.org and back, with visitors all the time; and whom apt must not trust."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from shared.visitor import ROOT, Visitor, ad_hoc, ansible, changed

BODY = "The reef itself.\n"
URI = "https://nginx.org/packages/debian"
SOURCE = "/etc/apt/sources.list.d/nginx.sources"
PINNED = ["signing", "second", "third"]
STABLE = ["-e", "nginx_origin=stable nginx_hold=true nginx_repository_sources=true"]
UPGRADE = ["-e", f"@{ROOT}/molecule/nginx_origin/vars/main.yml", *STABLE]


def repository(*arguments: str) -> list[str]:
    """Have nginx.org's stand-in do something; return what it prints."""
    command = ["docker", "exec", "coralnet-nginx_origin-repository", "python3", "/usr/local/bin/repository"]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout.split()


@pytest.fixture
def suite(host: Any) -> str:
    return str(host.system_info.codename)


@pytest.fixture
def reef(address: str) -> Visitor:
    return Visitor(address, "reef.test")


@pytest.fixture
def published(suite: str) -> Iterator[Callable[..., list[str]]]:
    """Sign the suite in a wrong way; afterwards it is as it should be."""
    yield lambda *options: repository("publish", suite, *options)
    repository("publish", suite)


@pytest.fixture
def module(inventory_name: str) -> Callable[..., dict[str, Any]]:
    """Call one of the modules by itself: `module("nginx_site", "--check", sites=[])`."""
    return lambda name, *arguments, **options: ad_hoc(inventory_name, f"coralnet.server.{name}", options, *arguments)


@pytest.fixture
def untouched(host: Any, reef: Visitor) -> Iterator[None]:
    """See that a test changes neither what apt trusts nor nginx, and that the site stays up."""
    look = "dpkg-query -W nginx; cat /run/nginx.pid; find /etc/apt -type f -exec sha256sum {} + | sort; ls /usr/sbin"
    before = host.check_output(look)
    yield
    assert host.check_output(look) == before
    assert reef.get("/").text == BODY


def version(host: Any) -> str:
    """Tell the package's version, without its own part."""
    return str(host.check_output("dpkg-query -W -f '${Version}' nginx")).partition("-")[0]


def running(host: Any) -> str:
    """Ask the program that runs, not the one on disk."""
    return str(host.run('"/proc/$(cat /run/nginx.pid)/exe" -v').stderr).strip().partition("nginx/")[2]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


LOAD = f"""
import http.client, json, os, time
lost, total = [], 0
while not os.path.exists("/run/enough"):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=30)
        connection.request("GET", "/", headers={{"Host": "reef.test"}})
        body = connection.getresponse().read().decode()
        if body != {BODY!r}:
            lost.append(body)
    except OSError as exc:
        lost.append(repr(exc))
    total += 1
    time.sleep(0.01)
print(json.dumps([lost, total]))
"""


@contextmanager
def visitors(host: Any, what: str) -> Iterator[None]:
    """Have the page opened all the time; each time it must be the site's own."""
    host.run("rm -f /run/enough")
    command = ["docker", "exec", host.backend.name, "python3", "-c", LOAD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        try:
            yield
        finally:
            host.run("touch /run/enough")
            lost, total = json.loads(load.communicate(timeout=60)[0])
    print(f"{host.backend.name}: {what}: {len(lost)} of {total} lost")
    assert total > 100
    assert lost == []


def test_apt_knows_nothing_of_nginx_org_by_default(host: Any, reef: Visitor) -> None:
    assert reef.get("/").text == BODY
    assert host.run("grep -r nginx.org /etc/apt").rc == 1
    assert host.package("nginx-common").is_installed


@pytest.mark.usefixtures("untouched")
def test_nothing_is_left_of_a_repository_that_is_not_trusted(
    host: Any, playbook: Callable[..., Any], published: Callable[..., list[str]]
) -> None:
    published("--key", "evil")
    result = playbook(*STABLE)
    assert result.returncode != 0
    said = " ".join(result.stdout.split())
    assert f"apt refuses {URI}" in said
    assert repository("fingerprints", "evil")[0][-16:] in said or "Missing key" in said, said[-1500:]
    assert not host.file(SOURCE).exists


def test_from_the_distribution_to_nginx_org(host: Any, playbook: Callable[..., Any], reef: Visitor) -> None:
    options = [*STABLE, "-e", "nginx_version=1.30.4"]
    with visitors(host, "to nginx.org"):
        result = playbook(*options)
    assert changed(result) > 0
    assert version(host) == running(host) == "1.30.4"
    assert not host.package("nginx-common").is_installed
    assert "nginx" in host.check_output("apt-mark showhold").split()
    assert "Sources" in host.check_output("apt-cache madison nginx")
    assert host.check_output("apt-cache policy nginx").count(" 900") > 0
    # whose package it is makes no difference to the site's files and socket
    workers = host.check_output(
        "cd /proc/$(cat /run/nginx.pid) && stat -c %U $(sed 's:[0-9][0-9]*:/proc/&:g' task/*/children)"
    )
    assert set(workers.split()) == {"www-data"}
    assert not host.file("/etc/nginx/conf.d/default.conf").exists
    wait_for(
        lambda: host.check_output("systemctl show -P MainPID nginx") == host.check_output("cat /run/nginx.pid"),
        "systemd does not know the new master",
    )
    assert host.service("nginx").is_enabled
    assert changed(playbook(*options)) == 0


def test_a_reload_and_a_restart_by_hand_are_safe(host: Any, reef: Visitor) -> None:
    """nginx.org's own unit says that a reload has worked, whatever the configuration."""
    host.run_expect([0], "echo 'nonsense;' > /etc/nginx/conf.d/broken.conf")
    assert host.run("systemctl reload nginx").rc != 0
    assert reef.get("/").text == BODY
    host.run_expect([0], "rm /etc/nginx/conf.d/broken.conf && systemctl reload nginx && systemctl restart nginx")
    assert reef.get("/").text == BODY


FAULTS = {
    "wrong key": (["evil"], PINNED, ["--key", "evil"], "not among the pinned fingerprints"),
    "a fourth key": ([*PINNED, "evil"], PINNED, [], "not among the pinned fingerprints"),
    "expired key, old signature": (["expired"], ["expired"], ["--key", "expired", "--signed", "-45"], "expired on"),
    "rotated key": (["signing"], PINNED, ["--key", "second"], "apt refuses"),
    "weak key": (["weak"], ["weak"], ["--key", "weak"], "is too weak to be trusted"),
    "unsigned": (PINNED, PINNED, ["--unsigned"], "is not signed"),
    "Valid-Until is over": (PINNED, PINNED, ["--valid-until", "-1"], r"expired"),
    "from the future": (PINNED, PINNED, ["--date", "30"], "not valid yet"),
    "signed by somebody else": (PINNED, PINNED, ["--key", "evil"], "apt refuses"),
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_trusted(
    module: Callable[..., dict[str, Any]], published: Callable[..., list[str]], suite: str, fault: str
) -> None:
    keys, pinned, options, message = FAULTS[fault]
    published(*options)
    repository("keys", f"{suite}.key", *keys)
    answer = trust(module, suite, f"https://nginx.org/keys/{suite}.key", pinned)
    assert message in answer["msg"]
    print(f"{fault}: {answer['msg']}")


def trust(module: Callable[..., dict[str, Any]], suite: str, url: str, pinned: list[str]) -> dict[str, Any]:
    return module(
        "apt_keyring", path="/etc/apt/keyrings/nginx.asc", url=url, repository=f"{URI} {suite} nginx",
        fingerprints=repository("fingerprints", *pinned),
    )  # fmt: skip


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("file", "message"), [("InRelease", "apt refuses"), ("Packages", "apt refuses")])
def test_what_was_changed_on_the_way(
    module: Callable[..., dict[str, Any]], published: Callable[..., list[str]], suite: str, file: str, message: str
) -> None:
    published()
    repository("spoil", suite, file)
    answer = trust(module, suite, "https://nginx.org/keys/nginx_signing.key", PINNED)
    assert message in answer["msg"]
    print(f"{file}: {answer['msg']}")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<!DOCTYPE html><title>Log in</title>", "it is a web page"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBE\n", "cut off"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBE\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n", "gpg cannot"),
        (None, "cannot be fetched: HTTP Error 404"),
    ],
    ids=["web page", "cut off", "damaged", "missing"],
)
def test_what_is_no_key(module: Callable[..., dict[str, Any]], content: str | None, message: str) -> None:
    where = {"content": content} if content else {"url": "https://nginx.org/keys/nothing.key"}
    path = "/etc/apt/keyrings/nginx.asc"
    assert message in module("apt_keyring", path=path, fingerprints=repository("fingerprints", *PINNED), **where)["msg"]


def test_keys_that_are_renewed_or_about_to_expire(
    host: Any, inventory_name: str, module: Callable[..., dict[str, Any]], suite: str
) -> None:
    """A copy from before a key was given more time is refused, as in 2024; the file of today is taken by itself."""
    path = "/run/lab.asc"
    pinned = repository("fingerprints", "renewed", "closing")
    stale = module("apt_keyring", path=path, url="https://nginx.org/keys/stale.key", fingerprints=pinned)
    assert "none of its keys can be used" in stale["msg"]
    repository("keys", f"{suite}.key", "renewed")
    options = {"path": path, "url": f"https://nginx.org/keys/{suite}.key", "fingerprints": pinned}
    assert module("apt_keyring", "--check", **options)["changed"]
    assert not host.file(path).exists
    assert module("apt_keyring", **options)["changed"]
    assert host.file(path).mode == 0o644
    assert not module("apt_keyring", **options)["changed"]
    repository("keys", f"{suite}.key", "closing")
    command = ["ansible", inventory_name, "--module-name", "coralnet.server.apt_keyring", "--args", json.dumps(options)]
    said = ansible(*command)  # an answer by itself has no warnings
    assert "CHANGED" in said.stdout
    warning = "days; apt takes nothing from the repository after that"
    assert warning in " ".join((said.stdout + said.stderr).split())
    host.run_expect([0], f"rm {path}")


@pytest.mark.usefixtures("untouched")
def test_a_repository_signed_anew_by_somebody_else_behind_good_lists(
    module: Callable[..., dict[str, Any]], published: Callable[..., list[str]]
) -> None:
    """apt-get update itself succeeds then, with a warning."""
    published("--key", "evil")
    for check in (["--check"], []):
        answer = module("nginx_package", *check, origin="stable", repository=URI, source=SOURCE, latest=True, hold=True)
        assert repository("fingerprints", "evil")[0][-16:] in answer["msg"] or "Missing key" in answer["msg"]


@pytest.mark.usefixtures("untouched")
def test_a_package_that_was_changed_on_the_way_is_not_installed(
    host: Any, playbook: Callable[..., Any], published: Callable[..., list[str]], suite: str
) -> None:
    host.run_expect([0], "apt-get clean")  # what an earlier run of the tests fetched is good
    published()
    repository("spoil", suite, "deb")
    result = playbook(*UPGRADE, path="playbooks/nginx_upgrade.yml")
    assert result.returncode != 0
    assert "apt-get could not install nginx 1.30.5" in " ".join(result.stdout.split())


def test_upgrade(host: Any, playbook: Callable[..., Any], module: Callable[..., dict[str, Any]], reef: Visitor) -> None:
    plan = module("nginx_package", "--check", origin="stable", repository=URI, source=SOURCE, latest=True)
    assert (plan["changed"], plan["before"][:6], plan["after"][:6]) == (True, "1.30.4", "1.30.5")
    assert version(host) == "1.30.4"
    with visitors(host, "upgrade"):
        result = playbook(*UPGRADE, path="playbooks/nginx_upgrade.yml")
    assert changed(result) > 0
    assert "nginx 1.30.4-1~" in result.stdout
    assert "-> 1.30.5-1~" in result.stdout
    assert version(host) == running(host) == "1.30.5"
    assert "nginx" in host.check_output("apt-mark showhold").split()
    assert reef.get("/").text == BODY


def test_a_run_that_dies_between_package_and_program_and_a_program_that_does_not_serve(
    host: Any, module: Callable[..., dict[str, Any]], reef: Visitor
) -> None:
    """The older version is installed, which stands for any other; then the playbook is no more."""
    module("nginx_package", origin="stable", repository=URI, source=SOURCE, version="1.30.4")
    assert (version(host), running(host)) == ("1.30.4", "1.30.5")
    sites: dict[str, Any] = {"sites": ["reef", "refuse"], "state": "only"}
    assert module("nginx_site", "--check", **sites)["exchanged"]
    probe = {"url": "http://127.0.0.1", "host": "reef.test", "timeout": 1, "body": "not on this page"}
    with visitors(host, "a new program that is refused, the old one again, then the new one"):
        answer = module("nginx_site", **sites, probe=probe)
        assert "the page does not contain" in answer["msg"]
        assert "The program that ran before goes on" in answer["msg"]
        wait_for(lambda: running(host) == "1.30.5", "the old program is not there")
        assert module("nginx_site", **sites)["exchanged"]
    assert running(host) == "1.30.4"
    assert not module("nginx_site", **sites)["changed"]
    assert reef.get("/").text == BODY


def test_back_to_the_distribution(host: Any, playbook: Callable[..., Any], reef: Visitor) -> None:
    with visitors(host, "back to the distribution"):
        result = playbook()
    assert changed(result) > 0
    assert host.package("nginx-common").is_installed
    assert version(host) == running(host)
    assert not version(host).startswith("1.30.")
    assert host.run("grep -r nginx.org /etc/apt").rc == 1
    assert not host.file("/etc/apt/keyrings/nginx.asc").exists
    assert host.check_output("apt-mark showhold") == ""
    assert changed(playbook()) == 0
    host.run_expect([0], "systemctl restart nginx")
    assert reef.get("/").text == BODY
