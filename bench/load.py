"""Visit a site all the time, each visit over a connection of its own and over kept ones; stop when a file appears.

A server may close a kept connection that idles, and a client sees that before it sends: another is opened then, as
every browser does (RFC 9112, 9.3.1). What the server closes once a request is on its way counts as lost.

Usage: load.py HOST PATH TEXT STOP-FILE. TEXT must be in every answer. Prints JSON: total, lost (a reason for each) and
the slowest in seconds. It runs on the server itself, so it needs nothing but Python.
"""

from __future__ import annotations

import http.client
import json
import select
import sys
import threading
import time
from collections import Counter
from pathlib import Path

HOST, PATH, TEXT, STOP = sys.argv[1:]
VISITORS = 4
PAUSE = 0.02  # seconds, so that a small machine has time for what is measured

lost: Counter[str] = Counter()
times: list[float] = []


def closed(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has hung up: there is nothing else that it could have to say now."""
    return bool(select.select([connection.sock], [], [], 0)[0])


def visit(kept: bool) -> None:
    connection = None
    while not Path(STOP).exists():
        start = time.monotonic()
        if connection and closed(connection):
            connection.close()
            connection = None
        try:
            connection = connection or http.client.HTTPConnection("127.0.0.1", 80, timeout=60)
            connection.request("GET", PATH, headers={"Host": HOST})
            answer = connection.getresponse()
            body = answer.read().decode()
            if answer.status != 200 or TEXT not in body:
                lost[f"status {answer.status}"] += 1
            if not kept or answer.will_close:
                connection.close()
                connection = None
        except (OSError, http.client.HTTPException) as exc:
            lost[type(exc).__name__] += 1
            connection = None
        times.append(time.monotonic() - start)
        time.sleep(PAUSE)


people = [threading.Thread(target=visit, args=(number % 2 == 0,)) for number in range(VISITORS)]
for person in people:
    person.start()
for person in people:
    person.join()
print(json.dumps({"total": len(times), "lost": lost, "slowest": max(times)}))
