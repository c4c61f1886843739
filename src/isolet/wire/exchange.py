"""One request and its reply on a connection, as an ASGI application sees them.

Beside ASGI's own messages an application may send `isolet.response`, a whole reply in one message: `status`, `headers`
and `body`. It leaves in one write.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from isolet.wire import heads
from isolet.wire.body_rate import BodyRate
from isolet.wire.heads import Headers

WHOLE = "isolet.response"
# Of a scope: what is called once the request has ended.
ON_END = "isolet.on_end"
HIGH_WATER_BYTES = 65_536

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]

_log = logging.getLogger("uvicorn.error")
_WITHOUT_BODY = frozenset({204, 304})
_OF_CONNECTION = frozenset({b"connection", b"transfer-encoding", b"keep-alive"})
# Every reply begins with this, so its bytes can be sent before the reply is known.
_KNOWN_START = b"HTTP/1.1"
# Readers take a size of sixteen digits.
_ZEROS_MAX = 8
_JSON, _TEXT = b"application/json", b"text/plain; charset=utf-8"
_STOPPING = b'{"error": "The server is stopping; try again"}'


def _nothing() -> None:
    return


def _end_with_reset(transport: asyncio.Transport) -> None:
    """A body without chunks or a length ends with its connection: only a reset says that this is not its end."""
    told = transport.get_extra_info("socket")
    if told is not None and told.family != socket.AF_UNIX:
        told.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class BrokenReply(Exception):
    """The reply had begun when the call broke off, so no error can be told any more."""


class Flow:
    """Back-pressure on both sides of one connection."""

    __slots__ = (
        "_fixed",
        "_fixed_lines",
        "_held",
        "_paused",
        "_transport",
        "_writable",
        "write_paused",
    )

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._paused = self._held = False
        self._writable = asyncio.Event()
        self._writable.set()
        self.write_paused = False
        self._fixed: Headers = []
        self._fixed_lines: list[bytes] = []

    def fixed_lines(self, fixed: Headers) -> list[bytes]:
        """As lines what stands in every reply: the same list means the same headers, so they are written once."""
        if fixed is not self._fixed:
            self._fixed, self._fixed_lines = fixed, heads.lines(fixed)
        return self._fixed_lines

    def pause_reading(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and not self._held:
            self._paused = False
            self._transport.resume_reading()

    def hold_reading(self) -> None:
        """Read nothing, whoever asks for more, until `let_reading_go`."""
        self._held = True
        self.pause_reading()

    def let_reading_go(self) -> None:
        self._held = False
        self.resume_reading()

    def pause_writing(self) -> None:
        self.write_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        self.write_paused = False
        self._writable.set()

    async def drain(self) -> None:
        await self._writable.wait()


class Exchange:
    """`on_complete` hears that the reply is out, `on_late` that the body did not come in time, or too slowly."""

    __slots__ = (
        "_body_timeout_s",
        "_early_bytes",
        "_early_zeros",
        "_expects_continue",
        "_fixed",
        "_flow",
        "_has_news",
        "_is_chunked",
        "_is_read",
        "_make_rate",
        "_news",
        "_on_complete",
        "_on_late",
        "_rate",
        "_rest_bytes",
        "_transport",
        "body",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
    )

    def __init__(
        self,
        scope: dict[str, Any],
        transport: asyncio.Transport,
        flow: Flow,
        *,
        fixed: Headers,
        expects_continue: bool,
        keep_alive: bool,
        body_timeout_s: float,
        rate: Callable[[], BodyRate],
        on_complete: Callable[[], None],
        on_late: Callable[[], None],
    ) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.body = bytearray()
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self.disconnected = False
        self._transport = transport
        self._flow = flow
        self._fixed = fixed
        self._expects_continue = expects_continue
        self._body_timeout_s = body_timeout_s
        # Only bodies that do not come at once have one.
        self._make_rate = rate
        self._rate: BodyRate | None = None
        self._on_complete = on_complete
        self._on_late = on_late
        self._has_news = False
        self._news: asyncio.Event | None = None
        self._is_read = False
        self._is_chunked = False
        self._rest_bytes: int | None = None
        # What was sent early of the reply's head, and of the next chunk's size.
        self._early_bytes = 0
        self._early_zeros = 0

    async def run(self, app: App) -> None:
        try:
            await app(self.scope, self.receive, self.send)
            if not self.response_complete and not self.disconnected:
                raise RuntimeError("the application returned before its reply was complete")
        except asyncio.CancelledError:
            # The server stops, and waits no longer.
            self._fail(503, _JSON, _STOPPING)
            raise
        except BaseException as exc:
            _log.error("Exception in ASGI application\n", exc_info=exc)
            self._fail(500, _TEXT, b"Internal Server Error")
            if not isinstance(exc, Exception):
                raise
        finally:
            for ended in self.scope[ON_END]:
                ended()
            # They refer back to the connection, which refers to this.
            self._on_complete = self._on_late = _nothing

    # What the connection tells.

    def add_body(self, data: bytes) -> None:
        self.body += data
        if len(self.body) > HIGH_WATER_BYTES:
            self._flow.pause_reading()
        self._tell()

    def end_body(self) -> None:
        self.more_body = False
        self._tell()

    def disconnect(self) -> None:
        """The client is gone, or will never send the rest of its request."""
        self.disconnected = True
        self._tell()

    def _tell(self) -> None:
        self._has_news = True
        if self._news is not None:
            self._news.set()

    async def _wait_for_news(self) -> None:
        """Most requests never wait, so that most have no event."""
        if not self._has_news:
            if self._news is None:
                self._news = asyncio.Event()
            await self._news.wait()
        self._forget_news()

    def _forget_news(self) -> None:
        self._has_news = False
        if self._news is not None:
            self._news.clear()

    def probe(self) -> bytes:
        """The next byte of the reply that can be sent before the reply goes on; empty for none."""
        if self.response_complete or self.disconnected:
            return b""
        if not self.response_started:
            early, self._early_bytes = self._early_bytes, min(self._early_bytes + 1, len(_KNOWN_START))
            return _KNOWN_START[early : early + 1]
        if self._is_chunked and self._early_zeros < _ZEROS_MAX:
            # The size of a chunk may begin with zeros.
            self._early_zeros += 1
            return b"0"
        return b""

    # ASGI.

    async def receive(self) -> Message:
        if self.more_body or self._is_read or self._expects_continue or self.disconnected:
            if self.more_body and not self.response_started:
                return await self._receive_in_time()
            return await self._receive()
        # The usual request is there whole by the time that it is asked for.
        self._is_read = True
        self._forget_news()
        self._flow.resume_reading()
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": False}

    async def _receive_in_time(self) -> Message:
        """Until the body is silent for too long, or has come too slowly; once the reply began it may."""
        loop = asyncio.get_running_loop()
        if self._rate is None:
            self._rate = self._make_rate()
        silent_s = 0.0
        while not self.response_started:
            began = loop.time()
            message = await self._receive_within(min(self._body_timeout_s - silent_s, self._rate.rest_s))
            waited_s = loop.time() - began
            silent_s += waited_s
            too_slow = self._rate.is_too_slow(waited_s, len(message.get("body", b"")) if message else 0)
            is_late = too_slow and (message is None or message.get("more_body", False))
            if not is_late and message is not None:
                return message
            if (is_late or silent_s >= self._body_timeout_s) and not self.response_started:
                self.disconnected = True
                self._on_late()
                return {"type": "http.disconnect"}
        return await self._receive()

    async def _receive_within(self, timeout_s: float) -> Message | None:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._receive()
        except TimeoutError:
            return None

    async def _receive(self) -> Message:
        if self._expects_continue and not self._transport.is_closing():
            self._expects_continue = False
            # Who has sent all of it waits for nothing, and may have been sent the first bytes of its reply.
            if self.more_body:
                self._transport.write(heads.reply(100, []))
        if not self.disconnected and not self.response_complete:
            self._flow.resume_reading()
            await self._wait_for_news()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == WHOLE:
            self._send_whole(message["status"], message["headers"], message["body"])
        elif kind == "http.response.start":
            self._send_head(message["status"], list(message.get("headers", [])))
        elif kind == "http.response.body":
            self._send_part(message.get("body", b""), is_last=not message.get("more_body", False))
        else:
            raise RuntimeError(f"{kind!r} is no message of a reply")

    def switch(self) -> None:
        """The connection goes on in another protocol: the reply was the last of this one."""
        self.response_started = self.response_complete = True

    def _send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        lines = [*self._flow.fixed_lines(self._fixed), *heads.lines(headers)]
        is_empty = status in _WITHOUT_BODY or self.scope["method"] == "HEAD"
        # To HEAD the length would be that of a GET's reply, which nobody knows here (RFC 9110, 8.6).
        if not is_empty and b"content-length" not in dict(headers):
            lines.append(heads.line(b"content-length", b"%d" % len(body)))
        head = self._begin(status, lines)
        self._transport.write(head if is_empty else head + body)
        self._complete()

    def _send_head(self, status: int, headers: Headers) -> None:
        length = None
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive = False
        own = heads.lines(header for header in headers if header[0] not in _OF_CONNECTION)
        lines = [*self._flow.fixed_lines(self._fixed), *own]
        is_empty = self.scope["method"] == "HEAD" or status in _WITHOUT_BODY
        if is_empty:
            length = 0
        elif length is None and self.scope["http_version"] != "1.0":
            self._is_chunked = True
            lines.append(heads.line(b"transfer-encoding", b"chunked"))
        self._rest_bytes = length
        self._transport.write(self._begin(status, lines))

    def _begin(self, status: int, lines: list[bytes]) -> bytes:
        """The head, less what of it was sent early."""
        if self.response_started:
            raise RuntimeError("the reply has begun")
        if self._expects_continue and self.more_body:
            # It was not told to send its body, and may send another request in its place.
            self.keep_alive = False
        if not self.keep_alive:
            lines.append(heads.line(b"connection", b"close"))
        head = heads.reply(status, lines)
        self.response_started = True
        self._expects_continue = False
        return head[self._early_bytes :] if self._early_bytes else head

    def _send_part(self, data: bytes, *, is_last: bool) -> None:
        if not self.response_started or self.response_complete:
            raise RuntimeError("a part of a body has no place here")
        if self._is_chunked:
            chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            self._transport.write(chunk + b"0\r\n\r\n" if is_last else chunk)
            if chunk:
                self._early_zeros = 0
        elif self.scope["method"] != "HEAD":
            if self._rest_bytes is not None:
                self._rest_bytes -= len(data)
                if self._rest_bytes < 0:
                    raise RuntimeError("the reply's body is longer than its Content-Length")
            self._transport.write(data)
        if is_last:
            if self._rest_bytes:
                raise RuntimeError("the reply's body is shorter than its Content-Length")
            self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        self._tell()
        if not self.keep_alive:
            self._transport.close()
        self._on_complete()

    def _fail(self, status: int, content_type: bytes, body: bytes) -> None:
        """The application broke off: its client must not take a part for the whole."""
        if self.response_started:
            if not self.response_complete:
                if not self._is_chunked and self._rest_bytes is None:
                    _end_with_reset(self._transport)
                self._transport.close()
        elif not self.disconnected:
            self.keep_alive = False
            self._send_whole(status, [(b"content-type", content_type)], body)
