"""Visit a site as its people do, about 100 times a second, until a file appears: bench/update runs it on the server.

Quick pages, some that take three seconds, and uploads of 5 MB in a form that the site reads whole and shows again,
since it is not filled in. Usage: mixed.py HOST STOP-FILE. Prints JSON: how many visits, what failed, how many answers
were made by two versions at once, the slowest quick page in seconds.
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
FORM = "/accounts/login/"
VERSION = re.compile(rb'<meta name="site-version" content="([^"]+)"')

failed: Counter[str] = Counter()
mixed: list[str] = []
quick: list[float] = []
others: list[float] = []


def ask(method: str, path: str, body: bytes = b"", **headers: str) -> float:
    start = time.monotonic()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=60)
        connection.request(method, path, body, {"Host": HOST, **headers})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status != 200:
            failed[f"{method} {path}: {answer.status}"] += 1
        version = VERSION.search(content)
        if version and version[1].decode() != answer.headers["X-Site-Version"]:
            mixed.append(version[1].decode())
    except (OSError, http.client.HTTPException) as exc:
        failed[f"{method} {path}: {type(exc).__name__}"] += 1
    return time.monotonic() - start


def form() -> tuple[bytes, dict[str, str]]:
    """Open a form as a browser does; give what to send, with a file, and the headers for it."""
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=60)
    connection.request("GET", FORM, headers={"Host": HOST})
    answer = connection.getresponse()
    token = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', answer.read())
    assert token
    boundary = "--------------------------bench"
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'
    body = (part % ("csrfmiddlewaretoken", "")).encode() + token[1] + b"\r\n"
    body += (part % ("file", '; filename="file"')).encode() + bytes(5_000_000) + f"\r\n--{boundary}--\r\n".encode()
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    return body, {"Cookie": cookie, "Content-Type": f"multipart/form-data; boundary={boundary}"}


def again(times: list[float], method: str, path: str, body: bytes = b"", **headers: str) -> None:
    while not Path(STOP).exists():
        took = ask(method, path, body, **headers)
        times.append(took)
        time.sleep(max(0.0, EVERY - took))


people = [threading.Thread(target=again, args=(quick, "GET", "/")) for _person in range(QUICK)]
people += [threading.Thread(target=again, args=(others, "GET", "/slow/?seconds=3")) for _person in range(SLOW)]
upload, headers = form()
people += [
    threading.Thread(target=again, args=(others, "POST", FORM, upload), kwargs=headers) for _person in range(UPLOADS)
]
for person in people:
    person.start()
for person in people:
    person.join()
print(json.dumps({"total": len(quick) + len(others), "failed": failed, "mixed": len(mixed), "slowest": max(quick)}))
