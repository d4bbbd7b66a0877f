"""Visit a site all the time, each visit over a connection of its own and over kept ones; stop when a file appears.

A server may close a kept connection that idles, and a client sees that before it sends: another is opened then, as
every browser does (RFC 9112, 9.3.1). What the server closes once a request is on its way counts as lost.

Usage: load.py HOST PATH TEXT STOP-FILE PEOPLE PAUSE. TEXT must be in every answer. Each of the PEOPLE waits PAUSE
seconds between visits, so that a small machine has time for what is measured. Prints JSON: total, lost (a reason for
each), the slowest in seconds, and the seconds without, from each lost visit to the next one. It runs on the server
itself, so it needs nothing but Python.
"""

from __future__ import annotations

import http.client
import json
import select
import sys
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

HOST, PATH, TEXT, STOP, PEOPLE, PAUSE = sys.argv[1:]

lost: Counter[str] = Counter()
visits: list[tuple[float, float, bool]] = []


def closed(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has hung up: there is nothing else that it could have to say now."""
    return bool(select.select([connection.sock], [], [], 0)[0])


def visit(kept: bool) -> None:
    connection = None
    while not Path(STOP).exists():
        start, good = time.monotonic(), False
        if connection and closed(connection):
            connection.close()
            connection = None
        try:
            connection = connection or http.client.HTTPConnection("127.0.0.1", 80, timeout=60)
            connection.request("GET", PATH, headers={"Host": HOST})
            answer = connection.getresponse()
            body = answer.read().decode()
            good = answer.status == 200 and TEXT in body
            if not good:
                lost[f"status {answer.status}"] += 1
            if not kept or answer.will_close:
                connection.close()
                connection = None
        except (OSError, http.client.HTTPException) as exc:
            lost[type(exc).__name__] += 1
            connection = None
        visits.append((start, time.monotonic() - start, good))
        time.sleep(float(PAUSE))


people = [threading.Thread(target=visit, args=(number % 2 == 0,)) for number in range(int(PEOPLE))]
for person in people:
    person.start()
for person in people:
    person.join()
slowest = max(seconds for _start, seconds, _good in visits)
without = sum(after[0] - before[0] for before, after in pairwise(sorted(visits)) if not before[2])
print(json.dumps({"total": len(visits), "lost": lost, "slowest": slowest, "without": without}))
