"""uvicorn, with bounds on what a client may send before a door sees it, and no signal handling of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from isolet.errors import SettingsError

_HEADERS_MAX = 200
_HEADER_BYTES_MAX = 65_536
# What a caller may still send of a body that nobody reads, before it is cut off.
_UNREAD_BYTES_MAX = 16 * 1024 * 1024
_KEEP_ALIVE_S = 75
_BACKLOG = 2048
_GATHERED_MAX_BYTES = 16_384


class _Gathering:
    """A transport that keeps what is written in one turn of the loop, so that a head and its body leave together."""

    __slots__ = ("_kept", "_loop", "_transport", "get_extra_info", "is_closing")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._kept: list[bytes] = []
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if len(data) > _GATHERED_MAX_BYTES:
            self.flush()
            self._transport.write(data)
            return
        if not self._kept:
            self._loop.call_soon(self.flush)
        self._kept.append(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        if self._kept:
            data = b"".join(self._kept)
            self._kept.clear()
            self._transport.write(data)


class _Protocol(HttpToolsProtocol):
    """Refuses endless headers, and says in JSON what it refuses. Cuts a body that goes on after its reply."""

    _in_head = False
    _header_bytes = 0
    _unread_bytes = 0

    def data_received(self, data: bytes) -> None:
        in_head = self._in_head
        super().data_received(data)
        # The parser tells a header when it is complete, so one without end is counted here.
        if in_head and self._in_head and not self.transport.is_closing():
            self._pending_bytes += len(data)
            if self._pending_bytes > _HEADER_BYTES_MAX:
                self._header_bytes = self._pending_bytes
                self.send_400_response("")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, _Gathering(transport)))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._header_bytes = self._pending_bytes = self._unread_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
            self._unread_bytes += len(body)
            if self._unread_bytes > _UNREAD_BYTES_MAX:
                self.transport.close()
        super().on_body(body)

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > _HEADER_BYTES_MAX or len(self.headers) >= _HEADERS_MAX:
            raise ValueError("headers too large")

    def send_400_response(self, msg: str) -> None:
        too_large = self._header_bytes > _HEADER_BYTES_MAX or len(self.headers) >= _HEADERS_MAX
        status = b"431 Request Header Fields Too Large" if too_large else b"400 Bad Request"
        text = "Request headers are too large" if too_large else "The request is not valid HTTP"
        body = json.dumps({"error": text}).encode()
        self.transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (status, len(body), body)
        )
        self.transport.close()


class Listener(uvicorn.Server):
    """Serves `app` on a socket that was bound before, so that a taken port is told before anything starts."""

    def __init__(self, app: Any, bound: socket.socket, *, drain_timeout_s: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(drain_timeout_s)),
                proxy_headers=False,
            )
        )
        self._bound = bound
        self.on_started: Callable[[], None] = lambda: None
        logging.getLogger("uvicorn.error").addFilter(_is_news)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_started()

    async def run_until_stopped(self) -> None:
        await self.serve(sockets=[self._bound])

    def stop(self) -> None:
        """Refuse new connections and drain; the second time, cut what is left."""
        self.force_exit = self.should_exit
        self.should_exit = True


def bind(host: str, port: int) -> socket.socket:
    """Raises SettingsError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as exc:
        bound.close()
        raise SettingsError(f"cannot listen on {host}:{port}: {exc.strerror}") from exc
    bound.setblocking(False)
    return bound


def _is_news(record: logging.LogRecord) -> bool:
    """Replies that break off and requests that are no HTTP are everyday; they are counted, not told."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__ != "BrokenReply" and "Invalid HTTP request" not in record.getMessage()
