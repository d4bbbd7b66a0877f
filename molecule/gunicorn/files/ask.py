"""Ask an application on a unix socket: ask.py SOCKET PATH [FIELDS as JSON], printing what came back as JSON.

With fields, the page's form is opened first and then sent; its last byte when the standard input ends. Runs on the
lab's hosts, so Python alone.
"""

import http.client
import json
import re
import socket
import sys
import time
from urllib.parse import urlencode


class Connection(http.client.HTTPConnection):
    """http.client over a unix socket."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(where)


def ask(method, headers, body=b""):
    connection = Connection("reef.test")
    connection.putrequest(method, path, skip_host=True)
    for name, value in {"Host": "reef.test", "X-Forwarded-Proto": "https", **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(body[:-1])
    if body:
        sys.stdin.read()
        connection.send(body[-1:])
    answer = connection.getresponse()
    return answer, answer.read().decode("utf-8", "replace")


where, path, fields = sys.argv[1], sys.argv[2], json.loads((sys.argv[3:] or ["{}"])[0])
start = time.time()
answer, page = ask("GET", {})
if fields:
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
    form = {"Cookie": answer.getheader("Set-Cookie").split(";")[0], "Referer": f"https://reef.test{path}"}
    body = urlencode({**fields, "csrfmiddlewaretoken": token}).encode()
    form |= {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}
    answer, page = ask("POST", form, body)
headers = {name.lower(): value for name, value in answer.getheaders()}
print(json.dumps({"status": answer.status, "headers": headers, "page": page, "seconds": time.time() - start}))
