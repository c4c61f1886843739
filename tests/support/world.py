"""A server in the world outside, for functions that call out: HTTP that streams both ways, and raw TCP."""

from __future__ import annotations

import http.server
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_TIMEOUT_S = 60.0


class World(http.server.ThreadingHTTPServer):
    """`paths` are the requests it saw. `/slow` and `/half` hold until `/go` is called."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = self.server_address[1]
        self.paths: list[str] = []
        self.first_part = threading.Event()
        self.go = threading.Event()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: World

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        if self.path.startswith("/redirect?to="):
            self._answer(302, b"", location=self.path.partition("=")[2])
        elif self.path == "/slow":
            self.send_response(200)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self._send_chunk(b"first,")
            assert self.server.go.wait(_TIMEOUT_S)
            self._send_chunk(b"second")
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/go":
            self.server.go.set()
            self._answer(200, b"gone")
        elif self.path == "/first-part":
            assert self.server.first_part.wait(_TIMEOUT_S)
            self._answer(200, b"seen")
        else:
            self._answer(200, b"hello from outside")

    def do_POST(self) -> None:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
            self.server.first_part.set()
        self.rfile.readline()
        self._answer(200, b"|".join(parts))

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(b"echo " + line)


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """The server runs in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(_TIMEOUT_S)
        server.server_close()


def echo_server() -> socketserver.ThreadingTCPServer:
    """TCP: every line comes back with `echo ` before it."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo)
    server.daemon_threads = True
    return server
