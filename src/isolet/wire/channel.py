"""HTTP/1.1 to one instance over its unix socket: keep-alive connections, one exchange at a time on each.

Bodies stream both ways with back-pressure. This is on the path of every call: no tasks, no copies, one future.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import cast

import httptools

from isolet.errors import FunctionCrashed
from isolet.wire.crowd import Crowd
from isolet.wire.outbox import Outbox
from isolet.wire.sendqueue import descriptor_of, has_arrived, queued_bytes

# workerd closes a connection that was idle for five seconds.
_IDLE_MAX_S = 4.0
_HIGH_WATER = 262_144
# workerd reads a request's head in one piece up to this size: one that is queued whole was not looked at.
_UNREAD_MAX_BYTES = 4096
_HEAD_MAX_BYTES = 1024 * 1024
# A head of a megabyte would have room for a hundred thousand, each of which is looked at and held.
HEADERS_MAX = 1_000
_TRAILERS_MAX = 200
_TRAILERS_MAX_BYTES = 65_536
_SWITCHED = 101

Headers = list[tuple[bytes, bytes]]


class Unread(ConnectionResetError):
    """The other side went before it read the request."""


class Connection(asyncio.Protocol):
    """One connection, and the exchange that runs on it. Header names are lower case."""

    __slots__ = (
        "_buffered",
        "_crowd",
        "_descriptor",
        "_expects",
        "_is_interim",
        "_is_sent",
        "_keeps_alive",
        "_loop",
        "_outbox",
        "_parser",
        "_paused",
        "_rest",
        "_sent",
        "_trailer_bytes",
        "_trailers",
        "_transport",
        "_unread_max_bytes",
        "_unused_bytes",
        "_waiter",
        "chunks",
        "complete",
        "error",
        "headers",
        "idle_since",
        "lost",
        "reason",
        "started",
        "status",
        "uses",
        "without_body",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, crowd: Crowd) -> None:
        self._loop = loop
        self._crowd = crowd
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._outbox: Outbox | None = None
        self._descriptor = -1
        self._expects = False
        self.error: BaseException | None = None
        self.lost = False
        self.uses = 0
        self._sent = 0
        self._unread_max_bytes = _UNREAD_MAX_BYTES
        self.idle_since = 0.0
        self._reset(without_body=False)

    def _reset(self, *, without_body: bool) -> None:
        self.status = 0
        self.reason = b""
        self.headers: Headers = []
        self.chunks: deque[bytes] = deque()
        self.complete = False
        self.started = False
        self._keeps_alive = False
        self._is_sent = False
        self._is_interim = False
        self._trailers = self._trailer_bytes = self._unused_bytes = 0
        self.without_body = without_body
        self._buffered = 0
        self._paused = False
        self._rest = b""

    # What the owner of the exchange calls.

    def begin(self, data: bytes, *, without_body: bool = False, more: bool = False, head_only: bool = False) -> None:
        """Start an exchange by writing its head, and its body when that is whole. HEAD is `without_body`.

        With `more` the body follows by `write`, until `end`. `head_only`: none follows, so that of a request which
        was not read to its end no more than a part of its head was.
        """
        self._reset(without_body=without_body)
        self._unread_max_bytes = len(data) if head_only else _UNREAD_MAX_BYTES
        self.uses += 1
        self._sent = len(data)
        self._expects = True
        self._is_sent = not more
        outbox = self._open_outbox()
        before_bytes = outbox.sent_bytes
        if not outbox.send(data) and outbox.sent_bytes == before_bytes:
            # The other side was gone before: not a byte of this was sent.
            self.abort(Unread())

    async def write(self, data: bytes) -> None:
        """Write a part of the request's body, waiting while the instance does not keep up.

        Raises ConnectionResetError when it takes no more; its reply may still come.
        """
        self._sent += len(data)
        await self._open_outbox().write(data)

    def end(self) -> None:
        """The request's body is written whole."""
        self._is_sent = True

    async def head(self) -> None:
        """Wait until `status` and `headers` are there. Raises what ended the exchange instead."""
        while not self.started:
            await self._news()

    async def chunk(self) -> bytes:
        """The next part of the reply's body, empty at its end."""
        while not self.chunks and not self.complete:
            await self._news()
        return self.take()

    def take(self) -> bytes:
        """The parts of the reply's body that have come and were not taken."""
        data = self.chunks.popleft() if len(self.chunks) == 1 else self._take_all()
        self._buffered = 0
        if self._paused:
            self._paused = False
            if not self.lost and self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    def abort(self, error: BaseException) -> None:
        """End the exchange with `error`; the instance sees the client leave."""
        if self.error is None:
            self.error = error
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def hand_over(self, taker: asyncio.Protocol) -> bytes:
        """After a 101 the stream is the taker's, who resumes it. What came behind the head is returned.

        Raises what ended the exchange.
        """
        transport = self._live()
        if transport.is_closing():
            raise ConnectionResetError("the instance closed the connection")
        transport.set_protocol(taker)
        taker.connection_made(transport)
        return self._rest

    @property
    def unread(self) -> bool:
        """Whether the instance has not read the request yet; only told of small ones, and of heads, else False."""
        if self._transport is None or self._transport.is_closing() or self.started:
            return False
        if self._sent > self._unread_max_bytes:
            return False
        return queued_bytes(self._transport) > 0

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow: nothing of this one is left to come, or held back."""
        if not self._keeps_alive or self.lost or self.without_body or self._paused:
            return False
        # What is left of a request would be read as a part of the next.
        return self._is_sent and self._outbox is not None and self._outbox.is_empty

    @property
    def is_quiet(self) -> bool:
        """Whether an idle connection is as its last exchange left it. What came since belongs to no request."""
        transport = self._transport
        if self.lost or transport is None or transport.is_closing():
            return False
        return not has_arrived(self._descriptor)

    def forget(self) -> None:
        """Drop what ended the exchange, once that was told: from where it was raised it leads back here."""
        given_up = ConnectionAbortedError("the exchange was given up")
        self.error = given_up
        if self._outbox is not None:
            self._outbox.forget(given_up)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _take_all(self) -> bytes:
        data = b"".join(self.chunks)
        self.chunks.clear()
        return data

    def _news(self) -> asyncio.Future[None]:
        """Resolves when something has come. Raises what ended the exchange."""
        if self.error is not None:
            raise self.error
        self._waiter = self._loop.create_future()
        return self._waiter

    def _live(self) -> asyncio.Transport:
        if self.error is not None or self._transport is None:
            raise self.error or ConnectionResetError("the connection is closed")
        return self._transport

    def _open_outbox(self) -> Outbox:
        transport = self._live()
        if self._outbox is None:
            self._outbox = Outbox(self._loop, transport, self._descriptor)
        return self._outbox

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            if self._crowd.at_once():
                self._waiter.set_result(None)
            else:
                self._crowd.later(self._wake_now)

    def _wake_now(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._descriptor = descriptor_of(transport)

    def data_received(self, data: bytes) -> None:
        if not self._expects:
            self._drop()
            return
        self._unused_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            if self.complete:
                # The reply stands; what is behind it belongs to no request.
                self._drop()
            else:
                why = str(exc) if len(self.headers) < HEADERS_MAX else f"it has more than {HEADERS_MAX} headers"
                self.abort(FunctionCrashed(f"the instance sent a reply that cannot be read: {why}"))
            return
        except httptools.HttpParserUpgrade as exc:
            self._switch(data[exc.args[0] :])
        if self._unused_bytes > _HEAD_MAX_BYTES and not self.complete:
            self.abort(FunctionCrashed("the instance sent a head or trailers without end"))
        self._wake()

    def eof_received(self) -> None:
        # Told before the connection is lost: nothing may be sent on it in between.
        if not self._expects:
            self.lost = True

    def _drop(self) -> None:
        """Bytes that nobody asked for: this connection serves no other exchange."""
        self._keeps_alive = False
        self.lost = True
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        # It refers back to this object.
        del self._parser
        if self.error is None and not self.complete:
            # The kernel reports a reset, not an end, when the other side went with bytes that it had not read.
            answered = self.started or self._unused_bytes > 0
            unread = exc is not None and not answered and self._sent <= self._unread_max_bytes
            self.error = Unread() if unread else ConnectionResetError("the instance closed the connection")
        if self._outbox is not None:
            self._outbox.close(self.error or ConnectionResetError("the instance closed the connection"))
        self._wake()

    def _switch(self, rest: bytes) -> None:
        """The instance answered 101: what follows is no HTTP, and this connection serves no other exchange."""
        self._rest = rest
        self._keeps_alive = False
        self._live().pause_reading()

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("a second reply")

    def on_status(self, reason: bytes) -> None:
        self.reason = reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.started:
            if len(self.headers) >= HEADERS_MAX:
                raise ValueError("too many headers")
            self.headers.append((name.lower(), value))
            return
        # Trailers are no headers (RFC 9110, 6.5.1), and nobody is told of them.
        self._trailers += 1
        self._trailer_bytes += len(name) + len(value)
        if self._trailers > _TRAILERS_MAX or self._trailer_bytes > _TRAILERS_MAX_BYTES:
            raise ValueError("trailers too large")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200 and self.status != _SWITCHED:
            self._is_interim = True
            return
        self._unused_bytes = 0
        self.started = True
        if self.without_body:
            self._finish()

    def on_body(self, body: bytes) -> None:
        self._unused_bytes = 0
        self.chunks.append(body)
        self._buffered += len(body)
        if self._buffered > _HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._is_interim:
            # The reply itself is still to come.
            self._is_interim = False
            self.headers, self.status = [], 0
            return
        self._finish()
        # Once this callback has returned the parser no longer knows.
        self._keeps_alive = self._parser.should_keep_alive()

    def _finish(self) -> None:
        self.complete = True
        self._expects = False


class Channel:
    """The connections to one instance: takes an idle one, newest first, or opens another."""

    def __init__(self, path: str, crowd: Crowd | None = None) -> None:
        """`crowd` is that of all channels whose replies may come at once."""
        self._path = path
        self._crowd = crowd or Crowd()
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        self._closed = False

    async def connect(self, *, fresh: bool = False) -> Connection:
        """Raises FunctionCrashed when the instance does not take connections."""
        if not fresh and (kept := self._idle_one()):
            return kept
        try:
            make = partial(Connection, self._loop, self._crowd)
            _, connection = await self._loop.create_unix_connection(make, self._path)
        except OSError as exc:
            raise FunctionCrashed("the instance does not take connections") from exc
        return connection

    def _idle_one(self) -> Connection | None:
        """One that is open already, when there is one."""
        oldest = self._loop.time() - _IDLE_MAX_S
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since > oldest and connection.is_quiet:
                return connection
            connection.close()
        return None

    def release(self, connection: Connection) -> None:
        """Give a connection back after its exchange; one that is not complete is cut."""
        if connection.reusable and not self._closed:
            connection.idle_since = self._loop.time()
            self._idle.append(connection)
            return
        if connection.complete:
            connection.close()
        else:
            connection.abort(ConnectionAbortedError("the exchange was given up"))
        connection.forget()

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()
