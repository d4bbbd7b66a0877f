"""Small web servers on a port or a unix socket, for what asks them."""

from __future__ import annotations

import http.server
import socket
import socketserver
import threading

LARGE = 4 * 1024 * 1024


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers `/<status>/<words>` with that status and those words; a few paths misbehave."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        _slash, first, *rest = self.path.split("/")
        special = getattr(self, f"answer_{first}", None)
        if special:
            special()
            return
        body = " ".join(rest).encode()
        self.send_response(int(first or 200))
        self.send_header("X-Release", "20261124T101500Z-0123456789")
        self.send_header("Location", "https://elsewhere.coralnet.test/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_nothing(self) -> None:
        """Hang up without a word."""
        self.close_connection = True

    def answer_later(self) -> None:
        """Keep the connection and say nothing, until the test is over."""
        self.server.over.wait(30)  # type: ignore[attr-defined]
        self.close_connection = True

    def answer_drip(self) -> None:
        """Never come to an end, one byte at a time."""
        self.send_response(200)
        self.end_headers()
        while not self.server.over.wait(0.05):  # type: ignore[attr-defined]
            self.wfile.write(b".")

    def answer_half(self) -> None:
        """Die in the middle of the page."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"half a page")
        self.close_connection = True

    def answer_large(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(LARGE))
        self.end_headers()
        self.wfile.write(b"x" * LARGE)

    def answer_latin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"\xe9t\xe9")

    def answer_gibberish(self) -> None:
        self.wfile.write(b"this is not HTTP\r\n\r\n")
        self.close_connection = True

    def log_message(self, *_args: object) -> None:
        pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: object, handler: type[Handler] = Handler) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()
        super().__init__(address, handler)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


class UnixServer(Server):
    address_family = socket.AF_UNIX

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        request, _address = self.socket.accept()
        return request, ("unix", 0)
