"""A receiver of callbacks on 127.0.0.1 that keeps what it was sent and answers as the test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from msgspec import Struct, field

from tests.support.waiting import wait_until
from tests.support.world import serving


class Delivery(Struct, frozen=True, kw_only=True):
    """One request. Header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Answer(Struct, frozen=True, kw_only=True):
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Receiver:
    """`answer` gives the reply to a delivery; it may wait, to be a slow receiver."""

    def __init__(self, answer: Callable[[Delivery], Answer] = lambda _: Answer()) -> None:
        self.answer = answer
        self.deliveries: list[Delivery] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                delivery = Delivery(method=self.command, path=self.path, headers=headers, body=body)
                receiver.deliveries.append(delivery)
                told = receiver.answer(delivery)
                self.send_response(told.status)
                for name, value in told.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(told.body)))
                self.end_headers()
                self.wfile.write(told.body)

            do_POST = do_GET = do_PUT = do_DELETE = handle_any

            def log_message(self, format: str, *arguments: object) -> None:
                return

        class Quiet(ThreadingHTTPServer):
            request_queue_size = 512

            def handle_error(self, request: object, client_address: object) -> None:
                # A deliverer that died, or cut us off.
                return

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/callback"
        self._serving = serving(self._server)

    def wait(self, count: int = 1, *, timeout_s: float = 60.0) -> list[Delivery]:
        """The deliveries, once there are so many."""
        wait_until(lambda: len(self.deliveries) >= count, timeout_s=timeout_s, what=f"{count} callbacks")
        return list(self.deliveries)

    def __enter__(self) -> Self:
        self._serving.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._serving.__exit__(kind, error, trace)
