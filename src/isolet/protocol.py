"""HTTP/1.1 on one connection: uvicorn's protocol with bounds on what a client may send, and a short way for replies.

Beside ASGI's own messages an application may send `isolet.response`, a whole reply in one message: `status`, `headers`
and `body`. It leaves in one write.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import urllib.parse
from typing import Any, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from isolet.sendqueue import queued_bytes
from isolet.upgrade import EXTENSION, Upgrade

_HEADERS_MAX = 200
_HEAD_MAX_BYTES = 65_536
# What a caller may still send of a body that nobody reads, before it is cut off.
_UNREAD_MAX_BYTES = 16 * 1024 * 1024
# A client that does not finish the head of a request in this time is cut off.
_HEAD_TIMEOUT_S = 30.0
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_WITHOUT_BODY = frozenset({204, 304})
_HOST = re.compile(rb"[!-~]+")
WHOLE = "isolet.response"


class _Cycle(RequestResponseCycle):
    """One request and its reply."""

    is_read = False
    body_timeout_s = 0.0

    async def receive(self) -> Any:
        if self.more_body or self.is_read or self.waiting_for_100_continue or self.disconnected:
            if self.more_body and not self.response_started:
                return await self._receive_in_time()
            return await super().receive()
        # The usual request is there whole by the time that it is asked for.
        self.is_read = True
        self.message_event.clear()
        self.flow.resume_reading()
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": False}

    async def _receive_in_time(self) -> Any:
        try:
            async with asyncio.timeout(self.body_timeout_s):
                return await super().receive()
        except TimeoutError:
            if self.response_started:
                return await super().receive()
            self.disconnected = True
            _refuse(self.transport, b"408 Request Timeout", "The request's body did not come in time")
            return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] != WHOLE:
            await super().send(message)
            return
        if self.response_started:
            raise RuntimeError("the reply has begun")
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        data = self._whole(message["status"], message["headers"], message["body"])
        self.response_started = self.response_complete = True
        self.transport.write(data)
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        """The bytes of a reply. Raises RuntimeError for headers that would not be read as they were meant."""
        lines = [b"%b: %b\r\n" % header for header in (*self.default_headers, *headers)]
        names = [name for name, _ in headers]
        if status not in _WITHOUT_BODY and b"content-length" not in names:
            lines.append(b"content-length: %d\r\n" % len(body))
        lines.insert(0, STATUS_LINE[status])
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
            raise RuntimeError("a header of the reply holds a line break or NUL")
        return (
            head + b"\r\n" if self.scope["method"] == "HEAD" or status in _WITHOUT_BODY else b"%b\r\n%b" % (head, body)
        )


class Protocol(HttpToolsProtocol):
    """Refuses endless headers, and says in JSON what it refuses. Cuts a body that goes on after its reply.

    A client that lets `body_timeout_s` pass between two pieces of a body is refused, and one that takes nothing of what
    it is sent for `write_timeout_s` is cut off.

    A request that asks for a WebSocket has an `Upgrade` among the extensions of its scope. Any other upgrade that a
    client offers, such as `h2c`, is passed over, as HTTP has it.
    """

    body_timeout_s = 60.0
    write_timeout_s = 60.0
    _head_bytes = 0
    _in_head = False
    _piece_bytes = 0
    _unread_bytes = 0
    _idle_since = 0.0
    _head_timer: asyncio.TimerHandle | None = None
    _idle_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _asked: Upgrade | None = None
    _upgrade: Upgrade | None = None
    _upgrade_at = 0
    _passed_over = False
    _running: _Cycle | None = None
    _rest_at = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            _refuse(transport, b"503 Service Unavailable", "Too many connections; try again later")
        else:
            self._head_timer = self.loop.call_later(_HEAD_TIMEOUT_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head_timer()
        self._end_write_timer()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)
        # That knows of the latest request only; one that was pipelined before it may be running.
        if (running := self._running) is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        if self._upgrade is not None:
            self._upgrade.connection_lost(exc)

    # Timers. One for a connection, not one for a request: each costs as much as parsing a head.

    def _end_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _watch_writing(self) -> None:
        """Cut the connection off when its client takes nothing in a time, whoever waits for that."""
        self._write_timer = self.loop.call_later(self.write_timeout_s, self._check_writing, self._unsent_bytes())

    def _check_writing(self, before_bytes: int) -> None:
        # An accepted upgrade is its taker's until that closes it.
        is_taken = self._upgrade is not None and self._upgrade.accepted and not self.transport.is_closing()
        if is_taken or self._unsent_bytes() < before_bytes:
            self._watch_writing()
        else:
            self.transport.abort()

    def _unsent_bytes(self) -> int:
        """What the client has not taken yet, of ours and of what the kernel holds for it."""
        return self.transport.get_write_buffer_size() + queued_bytes(self.transport)

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = 0.0

    def _watch_idle(self) -> None:
        """Close a connection that was idle for the keep-alive time; look again when that may be."""
        rest_s = float(self.timeout_keep_alive)
        if self._idle_since:
            rest_s -= self.loop.time() - self._idle_since
            if rest_s <= 0:
                self.transport.close()
                if self._write_timer is None and self.transport.get_write_buffer_size():
                    self._watch_writing()
                return
        self._idle_timer = self.loop.call_later(rest_s, self._watch_idle)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._running = cast(_Cycle, cycle)
            self._start_asgi_task(cycle, app)
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._watch_idle()

    # Requests.

    def data_received(self, data: bytes) -> None:
        if self._upgrade is not None:
            self._upgrade.data_received(data)
            return
        self._piece_bytes = len(data)
        super().data_received(data)
        if self._upgrade_at:
            self.data_received(data[self._upgrade_at :])
            return
        if self._rest_at:
            rest, self._rest_at = data[self._rest_at :], 0
            self.data_received(rest)
            return
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
        self._check_head()
        parser, scope = self.parser, self.scope
        scope["method"] = parser.get_method().decode("ascii")
        scope["http_version"] = http_version = parser.get_http_version()
        scope["raw_path"], scope["query_string"] = _split(self.url)
        path = scope["raw_path"].decode("ascii")
        scope["path"] = urllib.parse.unquote(path) if "%" in path else path
        before = self.cycle
        self.cycle = _Cycle(
            scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            self.access_log,
            self.server_state.default_headers,
            asyncio.Event(),
            self.expect_100_continue,
            http_version != "1.0" and parser.should_keep_alive(),
            self.on_response_complete,
        )
        self.cycle.body_timeout_s = self.body_timeout_s
        if parser.should_upgrade():
            if self._get_upgrade() == b"websocket":
                self._ask_upgrade(self.cycle)
            else:
                self._passed_over = True
        if before is None or before.response_complete:
            self._running = self.cycle
            self._start_asgi_task(self.cycle, self.app)
        else:
            # Pipelined requests wait for their turn.
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _check_head(self) -> None:
        """Raises ValueError for a head that is too large, or does not name one host."""
        self._in_head = False
        if self._head_timer is not None:
            self._end_head_timer()
        if self._head_bytes + self._piece_bytes > _HEAD_MAX_BYTES:
            self._head_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if self._is_head_too_large:
            raise ValueError("headers too large")
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) == 1 and _HOST.fullmatch(hosts[0]):
            return
        if any(hosts) or (not hosts and self.parser.get_http_version() != "1.0"):
            raise ValueError("not one host")
        # Old clients name none, and some an empty one: functions see the address that was called.
        self.headers[:] = [header for header in self.headers if header[0] != b"host"]
        host, port = self.server or ("localhost", 80)
        self.headers.append((b"host", (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()))

    def shutdown(self) -> None:
        if self._upgrade is not None:
            self._upgrade.shutdown()
        if self._upgrade is None or not self._upgrade.accepted:
            super().shutdown()

    # Upgrades.

    def _ask_upgrade(self, cycle: RequestResponseCycle) -> None:
        """Whatever the answer is, no other request follows on this connection."""
        cycle.keep_alive = False

        def switched() -> None:
            cycle.response_started = cycle.response_complete = True

        self._asked = Upgrade(self.transport, self.server_state.default_headers, on_accept=switched)
        cast(dict[str, Any], self.scope)["extensions"] = {EXTENSION: self._asked}

    def _unsupported_upgrade_warning(self) -> None:
        """Called where the parser stopped: for it the request is over, and what follows is of another protocol."""
        stopped = sys.exception()
        if stopped is None:
            return
        if self._asked is not None:
            self._upgrade, self._upgrade_at = self._asked, stopped.args[0]
        else:
            self._rest_at = stopped.args[0]
            self.parser = _parser_of_body(self, self.headers)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._watch_writing()
        if self._upgrade is not None:
            self._upgrade.pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._end_write_timer()
        if self._upgrade is not None:
            self._upgrade.resume_writing()

    # Bodies.

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.response_complete:
            self._idle_since = self.loop.time()
            self._unread_bytes += len(body)
            if self._unread_bytes > _UNREAD_MAX_BYTES:
                self.transport.close()
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._passed_over:
            # The parser took no body; the next one does.
            self._passed_over = False
            return
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    @property
    def _is_head_too_large(self) -> bool:
        return self._head_bytes > _HEAD_MAX_BYTES or len(self.headers) > _HEADERS_MAX

    def send_400_response(self, msg: str) -> None:
        too_large = self._is_head_too_large
        status = b"431 Request Header Fields Too Large" if too_large else b"400 Bad Request"
        text = "Request headers are too large" if too_large else "The request is not valid HTTP"
        _refuse(self.transport, status, text)


def _refuse(transport: asyncio.Transport, status: bytes, text: str) -> None:
    """Say what is wrong with a request, as the last thing on its connection."""
    body = json.dumps({"error": text}).encode()
    transport.write(
        b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
        % (status, len(body), body)
    )
    transport.close()


class _BehindHead:
    """Tells a protocol what a parser reads behind the head that it was made with."""

    def __init__(self, protocol: Protocol) -> None:
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete
        self._protocol = protocol
        self._is_behind = False

    def on_message_begin(self) -> None:
        if self._is_behind:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._is_behind:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_behind:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_behind:
            self._protocol.on_headers_complete()
        self._is_behind = True


def _parser_of_body(protocol: Protocol, headers: list[tuple[bytes, bytes]]) -> httptools.HttpRequestParser:
    """A parser for the body of a request with these headers, and for the requests that follow."""
    parser = httptools.HttpRequestParser(_BehindHead(protocol))
    framing = [b"%b: %b\r\n" % header for header in headers if header[0] in _FRAMING]
    parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(framing))
    return parser


def _split(url: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request's target."""
    if url.startswith(b"/") and b"#" not in url:
        path, _, query = url.partition(b"?")
        return path, query
    parsed = httptools.parse_url(url)
    return parsed.path, parsed.query or b""
