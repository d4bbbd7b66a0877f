"""Keep a development server running, and start it again when files come or go.

    serve.py DIRECTORY SOURCE SITE DIGEST COMMAND [ARGUMENT ...]

Django's own reloader sees files that change. It does not see new ones, nor those that are gone, and ends with code that
cannot be imported at its start. What runs is told in DIRECTORY/serve.json, and
DIRECTORY/serve.lock is held as long as anything of it lives. SIGTERM ends it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

LOOK = 0.5
PATIENCE = 10
# What an editor puts beside a file while it writes it
PASSING = ("~", ".swp", ".swx", ".tmp", ".pyc")
# Where no git can say which files are the site's, and which its data
CODE = (".css", ".html", ".js", ".mo", ".po", ".py", ".txt")


def main() -> None:
    """Start the command, and again whenever there is a reason to."""
    if len(sys.argv) < 6:
        sys.exit(__doc__)
    directory, source, site, digest, *command = sys.argv[1:]
    # The first is the keeper's alone, the other goes to all that it starts
    _keeper, lock = take(directory, "keeper.lock"), take(directory, "serve.lock")
    signal.signal(signal.SIGTERM, leave)
    news = ""
    while True:
        files = look(source)
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=[lock]) as server:
            try:
                known: dict[str, int | str] = {"pid": os.getpid(), "group": server.pid, "site": site, "digest": digest}
                note(directory, known)
                if news:
                    say(f"started again: {news}")
                news = wait(server, source, files, partial(note, directory, known))
            finally:
                end(server)


def take(directory: str, name: str) -> int:
    """Hold a lock until this process ends; there can be one server of a directory."""
    lock = os.open(Path(directory, name), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"a development server of {directory} runs already")
    return lock


def leave(_signal: int, _frame: FrameType | None) -> None:
    """End by way of `finally`."""
    raise SystemExit


def say(text: str) -> None:
    """Print a line as runserver prints its own."""
    print(f"[{time.strftime('%d/%b/%Y %H:%M:%S')}] {text}", flush=True)


def note(directory: str, known: dict[str, int | str], ended: int | None = None) -> None:
    """Write down what runs, for whoever is to stop it."""
    told = {**known, "ended": ended}
    fresh = Path(directory, "serve.json.new")
    fresh.write_text(json.dumps(told), encoding="utf-8")
    fresh.replace(Path(directory, "serve.json"))


def wait(server: subprocess.Popen[bytes], source: str, files: dict[str, float], tell: Callable[[int], None]) -> str:
    """Return when it is to be started again, with the reason."""
    before, ended = files, False
    while True:
        time.sleep(LOOK)
        if server.poll() is not None and not ended:
            ended = True
            say(f"it has ended with status {server.returncode}, and is started again when a file changes")
            tell(server.returncode)
        now = look(source)
        # Twice the same, so that nothing is started in the midst of a checkout
        if now == before:
            if names := sorted(now.keys() ^ files.keys()):
                return f"{names[0]} is {'new' if names[0] in now else 'gone'}" + ", and others" * (len(names) > 1)
            if ended and now != files:
                return "a file has changed"
        before = now


def look(source: str) -> dict[str, float]:
    """List the site's files, with the times of their last change."""
    found = {}
    for name in names(source):
        base = os.path.basename(name)  # noqa: PTH119  # thousands of names, twice a second
        if not base.startswith(".") and not base.endswith(PASSING) and not base.isdigit():
            with contextlib.suppress(OSError):
                found[name] = os.stat(f"{source}/{name}").st_mtime  # noqa: PTH116  # as above
    return found


def names(source: str) -> list[str]:
    """Name what git knows or would take; it ignores uploads and databases."""
    listing = ["git", "-C", source, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    with contextlib.suppress(OSError):
        done = subprocess.run(listing, capture_output=True, check=False)
        if done.returncode == 0:
            return os.fsdecode(done.stdout).split("\0")[:-1]
    found = []
    for folder, folders, files in os.walk(source):
        folders[:] = [
            name for name in folders if not name.startswith(".") and name not in ("__pycache__", "node_modules")
        ]
        found += [os.path.relpath(f"{folder}/{name}", source) for name in files if name.endswith(CODE)]
    return found


def end(server: subprocess.Popen[bytes]) -> None:
    """End it with all that it has started."""
    deadline = time.monotonic() + PATIENCE
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(max(0.0, deadline - time.monotonic()))
        # A reloader that has gone may have left the server itself
        while time.monotonic() < deadline:
            os.killpg(server.pid, 0)
            time.sleep(0.05)
        os.killpg(server.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
