"""HTTP/1.1 to one instance over its unix socket: keep-alive connections, one exchange at a time on each.

Bodies stream both ways with back-pressure. This is on the path of every call: no tasks, no copies, one future.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import httptools

from isolet.errors import FunctionCrashed
from isolet.sendqueue import queued_bytes

# workerd closes a connection that was idle for five seconds.
_IDLE_MAX_S = 4.0
_HIGH_WATER = 262_144
# workerd reads a request's head in one piece up to this size: one that is queued whole was not looked at.
_UNREAD_MAX_BYTES = 4096

Headers = list[tuple[bytes, bytes]]


class Unread(ConnectionResetError):
    """The other side went before it read the request."""


class Connection(asyncio.Protocol):
    """One connection, and the exchange that runs on it. Header names are lower case."""

    __slots__ = (
        "_buffered",
        "_can_write",
        "_keeps_alive",
        "_loop",
        "_parser",
        "_paused",
        "_rest",
        "_sent",
        "_transport",
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

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._can_write: asyncio.Future[None] | None = None
        self.error: BaseException | None = None
        self.lost = False
        self.uses = 0
        self._sent = 0
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
        self.without_body = without_body
        self._buffered = 0
        self._paused = False
        self._rest = b""

    # What the owner of the exchange calls.

    def begin(self, data: bytes, *, without_body: bool = False) -> None:
        """Start an exchange by writing its head, and its body when that is whole. HEAD is `without_body`."""
        self._reset(without_body=without_body)
        self.uses += 1
        self._sent = len(data)
        self._live().write(data)

    async def write(self, data: bytes) -> None:
        """Write a part of the request's body, waiting while the instance does not keep up."""
        self._sent += len(data)
        self._live().write(data)
        if self._can_write is not None:
            await self._can_write

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
            self._live().resume_reading()
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
        """Whether the instance has not read a byte of the request yet; only told of small ones, else False."""
        if self._transport is None or self._transport.is_closing() or self.started or self._sent > _UNREAD_MAX_BYTES:
            return False
        return queued_bytes(self._transport) > 0

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow: nothing of this one is left to come, or held back."""
        return self._keeps_alive and not self.lost and not self.without_body and not self._paused

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

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self.abort(FunctionCrashed(f"the instance sent a reply that cannot be read: {exc}"))
            return
        except httptools.HttpParserUpgrade as exc:
            self._switch(data[exc.args[0] :])
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self.error is None and not self.complete:
            # The kernel reports a reset, not an end, when the other side went with bytes that it had not read.
            unread = exc is not None and not self.started and self._sent <= _UNREAD_MAX_BYTES
            self.error = Unread() if unread else ConnectionResetError("the instance closed the connection")
        self.resume_writing()
        self._wake()

    def pause_writing(self) -> None:
        if self._can_write is None:
            self._can_write = self._loop.create_future()

    def resume_writing(self) -> None:
        waiting, self._can_write = self._can_write, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def _switch(self, rest: bytes) -> None:
        """The instance answered 101: what follows is no HTTP, and this connection serves no other exchange."""
        self._rest = rest
        self._keeps_alive = False
        self._live().pause_reading()

    # What the parser calls.

    def on_status(self, reason: bytes) -> None:
        self.reason = reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.started = True
        if self.without_body:
            self.complete = True

    def on_body(self, body: bytes) -> None:
        self.chunks.append(body)
        self._buffered += len(body)
        if self._buffered > _HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self.complete = True
        # Once this callback has returned the parser no longer knows.
        self._keeps_alive = self._parser.should_keep_alive()


class Channel:
    """The connections to one instance: takes an idle one, newest first, or opens another."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        self._closed = False

    async def connect(self, *, fresh: bool = False) -> Connection:
        """Raises FunctionCrashed when the instance does not take connections."""
        if not fresh and (kept := self._idle_one()):
            return kept
        try:
            _, connection = await self._loop.create_unix_connection(lambda: Connection(self._loop), self._path)
        except OSError as exc:
            raise FunctionCrashed("the instance does not take connections") from exc
        return connection

    def _idle_one(self) -> Connection | None:
        """One that is open already, when there is one."""
        oldest = self._loop.time() - _IDLE_MAX_S
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost and connection.idle_since > oldest:
                return connection
            connection.close()
        return None

    def release(self, connection: Connection) -> None:
        """Give a connection back after its exchange; one that is not complete is cut."""
        if connection.reusable and not self._closed:
            connection.idle_since = self._loop.time()
            self._idle.append(connection)
        elif connection.complete:
            connection.close()
        else:
            connection.abort(ConnectionAbortedError("the exchange was given up"))

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()
