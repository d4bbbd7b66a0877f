"""What the scenarios' tests do to a site: visit it as people do, and run playbooks on it."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import requests

ROOT = Path(__file__).parents[2]
# Of those who open the front page again and again; an answer that was cut off
PEOPLE = 3
CUT = -1


class Visitor(requests.Session):
    """A browser that is sent to the container's address whatever name it asks for."""

    def __init__(self, address: str, name: str = "coralnet.test") -> None:
        super().__init__()
        self._address = address
        self.headers.update({"Host": name, "Connection": "close"})

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]  # a path instead of a URL
        options.setdefault("timeout", 30)
        options["allow_redirects"] = False  # a redirect is an answer to look at
        return super().request(method, f"http://{self._address}{url}", **options)

    def submit(self, path: str, fields: dict[str, Any], **options: Any) -> requests.Response:
        """Open a page with a form and send the form; the answer must be a redirect, as after a success."""
        form = self.get(path)
        assert form.status_code == 200, f"{path}: {form.status_code}"
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)
        assert token, f"{path} has no form"
        answer = self.post(path, data={**fields, "csrfmiddlewaretoken": token[1]}, **options)
        assert answer.status_code == 302, f"{path}: {answer.status_code} {errors(answer.text)}"
        return answer

    def log_in(self, username: str, password: str) -> None:
        self.submit("/accounts/login/", {"username": username, "password": password})


def errors(page: str) -> str:
    return " ".join(re.findall(r'<ul class="errorlist[^"]*"[^>]*>(.*?)</ul>', page, re.DOTALL)) or page[:300]


def png(side: int) -> bytes:
    """Make a square picture that does not compress, about three bytes a pixel."""
    noise = Random(side)
    lines = b"".join(b"\0" + noise.randbytes(3 * side) for _line in range(side))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def ansible(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's commands on the lab, as an operator would, and return what it printed."""
    return ansible_on(("inventories/lab",), *command, **settings)


def ansible_on(inventories: tuple[str, ...], *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run it with other inventories."""
    return subprocess.run(**_call(command, settings, inventories), capture_output=True, check=False, timeout=600)


def start_ansible(*command: str, **settings: str) -> subprocess.Popen[str]:
    """Start it in a process group of its own, to be looked at while it runs, and killed."""
    return subprocess.Popen(
        **_call(command, settings), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


def _call(
    command: tuple[str, ...], settings: dict[str, str], inventories: tuple[str, ...] = ("inventories/lab",)
) -> dict[str, Any]:
    own = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    # Operators are elsewhere, and their machines' clocks too
    environment = {**os.environ, **own, "TZ": "America/Los_Angeles", **settings}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    words = [command[0], *(f"--inventory={ROOT / inventory}" for inventory in inventories), *command[1:]]
    return {"args": words, "cwd": ROOT, "env": environment, "text": True}


def run_playbook(host: str, playbook: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return ansible("ansible-playbook", "--limit", host, str(playbook), *arguments)


def ad_hoc(host: str, module: str, options: dict[str, Any], *arguments: str) -> dict[str, Any]:
    """Call a module by itself and return its answer; empty where it was killed before it could give one."""
    command = ["ansible", host, "--module-name", module, "--args", json.dumps(options), *arguments]
    result = ansible(*command, ANSIBLE_CALLBACK_RESULT_FORMAT="json")
    answer = re.search(r" => (\{.*^\})", result.stdout, re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = json.loads(answer[1]) if answer else {}
    return found


def changed(result: subprocess.CompletedProcess[str]) -> int:
    """Count the changes of a run on one host, which must have succeeded."""
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
    return int(re.findall(r"changed=(\d+)", result.stdout)[-1])


@contextmanager
def visits(address: str) -> Iterator[list[tuple[int, float]]]:
    """Open the front page again and again meanwhile; status (0 for no answer, CUT for half) and seconds of each."""
    seen: list[tuple[int, float]] = []
    end = threading.Event()

    def visit() -> None:
        while not end.is_set():
            start = time.monotonic()
            try:
                status = Visitor(address).get("/").status_code
            except requests.exceptions.ChunkedEncodingError:
                status = CUT
            except OSError:
                status = 0
            seen.append((status, time.monotonic() - start))
            time.sleep(0.02)

    people = [threading.Thread(target=visit) for _person in range(PEOPLE)]
    for person in people:
        person.start()
    try:
        yield seen
    finally:
        end.set()
        for person in people:
            person.join()


def report(host: Any, what: str, seen: list[tuple[int, float]]) -> None:
    lost = [status for status, _seconds in seen if status != 200]
    print(
        f"{host.backend.name}: {what}: {len(lost)} of {len(seen)} lost, slowest {max(s for _status, s in seen):.2f} s"
    )
    assert len(seen) > 20
    assert not lost, f"{what}: answers {sorted(set(lost))}"
