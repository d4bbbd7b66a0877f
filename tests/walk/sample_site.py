"""The sample site on this machine, and those who walk through it."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "roles" / "smoke"
# Without Ansible: what the module does knows nothing of it
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.coralnet.server.plugins.module_utils._outing import Outing  # noqa: E402

HOST = "reef.test"
VARIABLES = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
REGISTRATION, STEPS, ADMINISTRATION = (
    VARIABLES[f"__smoke_sample_{name}"] for name in ("registration", "steps", "administration")
)
DEFAULTS = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
SUPERUSER = {"superuser": True, "fields": DEFAULTS["smoke_superuser"]}
ACCOUNT = {"superuser": False, "fields": DEFAULTS["smoke_account"]}
SHELL = ["shell", "--verbosity", "0", "--command", (ROLE / "files" / "throwaway.py").read_text()]

# What nginx and gunicorn are to the real site
TLS = """
import socketserver, ssl, sys, wsgiref.simple_server
from config.wsgi import application

class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True

server = wsgiref.simple_server.make_server("127.0.0.1", int(sys.argv[1]), application, Server)
server.base_environ["HTTPS"] = "on"
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
"""


class Site:
    """A copy of the sample site, which can be broken, with a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mail = folder / "mail"
        self.mail.mkdir(exist_ok=True)
        self.slip = folder / "slip"
        self.front = ""
        self._server: subprocess.Popen[bytes] | None = None
        secrets = {"EMAIL_FILE_PATH": str(self.mail), "ALLOWED_HOSTS": [HOST]}
        (folder / "secrets.json").write_text(json.dumps(secrets))
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings.local",
            "SECRETS_FILE": str(folder / "secrets.json"),
        }

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / "project" / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} has {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new))

    def manage(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=self.folder / "project",
            env=self._environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, certificate: Path | None = None) -> None:
        """Serve the site, with TLS where there is a certificate."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.front = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        words = ["manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
        if certificate:
            words = ["-c", TLS, str(port), str(certificate)]
        log = (self.folder / "log").open("wb")
        self._server = subprocess.Popen(
            [sys.executable, *words], cwd=self.folder / "project", env=self._environment, stdout=log, stderr=log
        )
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            assert self._server.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        if self._server:
            self._server.kill()
            self._server.wait()

    def things(self) -> dict[str, int]:
        """Count the rows of every table, the uploads and the mail."""
        with sqlite3.connect(self.folder / "local" / "db.sqlite3") as database:
            names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            counts = {
                name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
                for name in names
                if name != "sqlite_sequence"
            }
        for name, folder in (("uploads", self.folder / "local" / "media"), ("mail", self.mail)):
            counts[name] = sum(path.is_file() for path in folder.rglob("*"))
        return counts

    def outing(self, **changes: Any) -> Outing:
        params: dict[str, Any] = {
            "host": HOST,
            "front": self.front,
            "app": "",
            "headers": {},
            "timeout": 30,
            "validate_certs": True,
            "address": "{run}@smoke.invalid",
            "values": {},
            "secrets": {},
            "checks": [],
            "steps": [*REGISTRATION, *STEPS, *ADMINISTRATION],
            "cleanup": [],
            "command": ["manage", *SHELL],
            "accounts": [SUPERUSER],
            "objects": [],
            "mail": {"kind": "directory", "path": str(self.mail), "seconds": 1},
            "slip": str(self.slip),
        }

        def program(argv: list[str], given: str) -> tuple[int, str, str]:
            done = self.manage(*argv[1:], given=given)
            return done.returncode, done.stdout, done.stderr

        def run(argv: list[str]) -> tuple[int, str, str]:
            raise AssertionError(f"no program is needed, and {argv} is called")

        return Outing({**params, **changes}, run, program)
