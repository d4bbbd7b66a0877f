"""Visit a site as its people do, about 100 times a second, until a file appears: bench/update runs it on the server.

Quick pages, some that take three seconds, and uploads of 5 MB, which the site reads and refuses (403, no form was
opened before). Usage: mixed.py HOST STOP-FILE. Prints JSON: how many visits, what failed, how many answers were made by
two versions at once, the slowest quick page in seconds.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
import threading
import time
from collections import Counter
from pathlib import Path

HOST, STOP = sys.argv[1:]
QUICK, SLOW, UPLOADS = 20, 3, 2
EVERY = 0.2  # seconds between the visits of one person
VERSION = re.compile(rb'<meta name="site-version" content="([^"]+)"')

failed: Counter[str] = Counter()
mixed: list[str] = []
quick: list[float] = []
others: list[float] = []


def ask(method: str, path: str, expected: int, body: bytes | None = None) -> float:
    start = time.monotonic()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=60)
        connection.request(method, path, body, {"Host": HOST})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status != expected:
            failed[f"{method} {path}: {answer.status}"] += 1
        version = VERSION.search(content)
        if version and version[1].decode() != answer.headers["X-Site-Version"]:
            mixed.append(version[1].decode())
    except (OSError, http.client.HTTPException) as exc:
        failed[f"{method} {path}: {type(exc).__name__}"] += 1
    return time.monotonic() - start


def again(times: list[float], method: str, path: str, expected: int, body: bytes | None = None) -> None:
    while not Path(STOP).exists():
        took = ask(method, path, expected, body)
        times.append(took)
        time.sleep(max(0.0, EVERY - took))


people = [threading.Thread(target=again, args=(quick, "GET", "/", 200)) for _person in range(QUICK)]
people += [threading.Thread(target=again, args=(others, "GET", "/slow/?seconds=3", 200)) for _person in range(SLOW)]
upload = bytes(5_000_000)
people += [
    threading.Thread(target=again, args=(others, "POST", "/accounts/login/", 403, upload)) for _person in range(UPLOADS)
]
for person in people:
    person.start()
for person in people:
    person.join()
print(json.dumps({"total": len(quick) + len(others), "failed": failed, "mixed": len(mixed), "slowest": max(quick)}))
