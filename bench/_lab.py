"""What the measurements share: a lab host of their own, and visitors who come all the time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv" / "bin"
STOP = "/run/bench-enough"
# As many as there are by default; the lab has fewer
WORKERS = len(os.sched_getaffinity(0)) * 2 + 1
# Where a machine forbids Python to keep what it has compiled, every ansible-playbook would compile Ansible anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


class Lab:
    """A host of the lab, debian-13 or the one that the command line names, in a container of its own."""

    def __init__(self, scenario: str) -> None:
        self.scenario = scenario
        self.host = (sys.argv[1:] or ["debian-13"])[0]
        self.container = f"coralnet-{scenario}-{self.host}"

    def run(self, *command: str) -> str:
        environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "MOLECULE_SCENARIO_NAME": self.scenario,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        }
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
        return done.stdout

    def shell(self, script: str) -> str:
        return self.run("docker", "exec", self.container, "bash", "-euc", script)

    def playbook(self, path: str, *arguments: str) -> str:
        words = ["-i", "inventories/lab", "-l", self.host, "-e", f"gunicorn_workers={WORKERS}", path, *arguments]
        return self.run("ansible-playbook", *words)

    @contextmanager
    def visitors(
        self, what: str, site: str, text: str, people: int = 4, pause: float = 0.02
    ) -> Iterator[dict[str, Any]]:
        """Count what visitors lose meanwhile; what load.py saw is in the answer afterwards."""
        self.shell(f"rm -f {STOP}")
        arguments = [site, "/", text, STOP, str(people), str(pause)]
        command = ["docker", "exec", "-i", self.container, "python3", "-", *arguments]
        seen: dict[str, Any] = {}
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
            assert load.stdin
            assert load.stdout
            load.stdin.write((ROOT / "bench" / "load.py").read_text())
            load.stdin.close()
            try:
                yield seen
            finally:
                self.shell(f"touch {STOP}")  # or a failure would wait for visitors who never leave
            seen |= json.loads(load.stdout.read())
        print(
            f"{what:<50} {sum(seen['lost'].values())} of {seen['total']} lost {seen['lost'] or ''}"
            f" {seen['without']:.1f} s without, slowest {seen['slowest']:.2f} s",
            flush=True,
        )
