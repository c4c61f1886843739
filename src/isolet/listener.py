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
_HEAD_MAX_BYTES = 65_536
# What a caller may still send of a body that nobody reads, before it is cut off.
_UNREAD_MAX_BYTES = 16 * 1024 * 1024
_KEEP_ALIVE_S = 75
# A client that does not finish the head of a request in this time is cut off.
_HEAD_TIMEOUT_S = 30.0
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

    _head_bytes = 0
    _in_head = False
    _piece_bytes = 0
    _unread_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, _Gathering(transport)))
        self._head_timer = self.loop.call_later(_HEAD_TIMEOUT_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head_timer()
        super().connection_lost(exc)

    def _end_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def data_received(self, data: bytes) -> None:
        self._piece_bytes = len(data)
        super().data_received(data)
        # Most heads come whole in one piece; one without end is counted here.
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_MAX_BYTES:
                self.send_400_response("")
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(_HEAD_TIMEOUT_S, self.transport.close)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._unread_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._end_head_timer()
        if self._head_bytes + self._piece_bytes > _HEAD_MAX_BYTES:
            self._head_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if self._is_head_too_large:
            raise ValueError("headers too large")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
            self._unread_bytes += len(body)
            if self._unread_bytes > _UNREAD_MAX_BYTES:
                self.transport.close()
        super().on_body(body)

    @property
    def _is_head_too_large(self) -> bool:
        return self._head_bytes > _HEAD_MAX_BYTES or len(self.headers) > _HEADERS_MAX

    def send_400_response(self, msg: str) -> None:
        too_large = self._is_head_too_large
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
