"""Unit tests run straight from a checkout: its own collections/ resolves `coralnet.server`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Before Ansible is imported: what the person at the keyboard has set for Ansible or git decides nothing here.
for name in [name for name in os.environ if name.startswith(("ANSIBLE_", "GIT_"))]:
    del os.environ[name]
ANSIBLE_HOME = tempfile.mkdtemp(prefix="coralnet-unit-")
os.environ |= {
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    "ANSIBLE_HOME": ANSIBLE_HOME,
    "ANSIBLE_NOCOLOR": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "HYPOTHESIS_STORAGE_DIRECTORY": f"{ANSIBLE_HOME}/hypothesis",
    "LC_ALL": "C.UTF-8",
}
for name in ("author", "committer"):
    os.environ |= {f"GIT_{name.upper()}_NAME": name, f"GIT_{name.upper()}_EMAIL": f"{name}@coralnet.test"}

# Shared helpers (fakes.py, rendering.py) are found here, the collection through Ansible's own loader
sys.path.insert(0, str(Path(__file__).parent))

from ansible.plugins.loader import init_plugin_loader  # noqa: E402  # it reads the environment
from servers import Server  # noqa: E402

init_plugin_loader()


def pytest_unconfigure() -> None:
    shutil.rmtree(ANSIBLE_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the checkout."""
    return ROOT


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Make a directory whose path leaves room for a unix socket's name (108 bytes in all)."""
    with tempfile.TemporaryDirectory(prefix="cn-") as path:
        yield Path(path)


@pytest.fixture
def serve() -> Iterator[Callable[[Server], Server]]:
    """Run servers until the test is over."""
    running: list[Server] = []

    def start(server: Server) -> Server:
        running.append(server)
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        return server

    yield start
    for server in running:
        server.over.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def ansible() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run one of Ansible's commands in the checkout: `ansible("playbook", "playbooks/site.yml")`."""

    def run(command: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ansible", command, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
