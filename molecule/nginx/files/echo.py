"""A WSGI application that tells what it was asked, after ?wait=SECONDS, with ?status=NUMBER, framed by ?frame=VALUE."""

import json
import time
from urllib.parse import parse_qs


def application(environ, start_response):
    """Answer with the request's headers and the length of its body."""
    query = parse_qs(environ.get("QUERY_STRING", ""))
    time.sleep(float(query.get("wait", ["0"])[0]))
    asked = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    asked["length"] = len(environ["wsgi.input"].read())
    frame = [("X-Frame-Options", value) for value in query.get("frame", [])]
    status = query.get("status", ["200"])[0]
    start_response(f"{status} As asked", [("Content-Type", "application/json"), ("X-Release", "echo-1"), *frame])
    return [json.dumps(asked).encode()]
