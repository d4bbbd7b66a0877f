"""A WSGI application that tells what it was asked, after ?wait=SECONDS."""

import json
import time
from urllib.parse import parse_qs


def application(environ, start_response):
    """Answer with the request's headers and the length of its body."""
    wait = parse_qs(environ.get("QUERY_STRING", "")).get("wait", ["0"])[0]
    time.sleep(float(wait))
    asked = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    asked["length"] = len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(asked).encode()]
