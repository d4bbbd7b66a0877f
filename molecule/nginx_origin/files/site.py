"""The site of this scenario: a page of its own, from a unix socket."""

from __future__ import annotations

import socketserver
from http.server import BaseHTTPRequestHandler
from pathlib import Path

SOCKET = Path("/run/reef.sock")


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"The reef itself.\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "nginx"

    def log_message(self, *_words: object) -> None:
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    request_queue_size = 128


SOCKET.unlink(missing_ok=True)
with Server(str(SOCKET), Page) as server:
    SOCKET.chmod(0o660)
    server.serve_forever()
