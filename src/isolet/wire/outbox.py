"""Writes to a connection beside its transport, so that what is in the way stays readable when a write fails.

A transport closes itself when it cannot write, and what the other side had answered before is lost with it.
"""

from __future__ import annotations

import asyncio
import os

_NOTHING = memoryview(b"")


class Outbox:
    """Sends at once what the kernel takes, and the rest as it takes more. `sent_bytes` were taken in all."""

    __slots__ = ("_copy", "_descriptor", "_error", "_loop", "_pending", "_transport", "_waiter", "sent_bytes")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, descriptor: int) -> None:
        """`descriptor` is the transport's own."""
        self._loop = loop
        self._transport = transport
        self._descriptor = descriptor
        # Of the descriptor, while there is something to wait for.
        self._copy: int | None = None
        self._pending = _NOTHING
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self.sent_bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether everything was taken."""
        return not self._pending and self._error is None

    def send(self, data: bytes) -> bool:
        """Whether the other side takes anything; what it does not take at once follows."""
        if self._error is None and self._transport.is_closing():
            self._fail(ConnectionResetError("the connection is closed"))
        if self._error is not None:
            return False
        if self._pending:
            self._pending = memoryview(b"".join((self._pending, data)))
            return True
        try:
            count = os.write(self._descriptor, data)
        except OSError as exc:
            count = self._refused(exc)
        self.sent_bytes += count
        if count < len(data) and self._error is None:
            self._pending = memoryview(data)[count:]
            self._wait_writable()
        return self._error is None

    async def write(self, data: bytes) -> None:
        """Send, and wait until it was taken. Raises what ended the sending."""
        self.send(data)
        while self._pending and self._error is None:
            self._waiter = self._loop.create_future()
            await self._waiter
        if self._error is not None:
            raise self._error

    def close(self, error: BaseException) -> None:
        """Nothing more is sent; who waits is told why."""
        self._fail(error)

    def forget(self, error: BaseException) -> None:
        """The same, with this in the place of what ended the sending before."""
        self._fail(error)
        self._error = error

    def _refused(self, exc: OSError) -> int:
        """How much was taken: nothing, for the moment or for good."""
        if not isinstance(exc, BlockingIOError):
            self._fail(ConnectionResetError(f"the other side takes no more: {exc.strerror}"))
        return 0

    def _wait_writable(self) -> None:
        # The loop watches the transport's own descriptor, and lets nobody else do so.
        self._copy = os.dup(self._descriptor)
        self._loop.add_writer(self._copy, self._go_on)

    def _go_on(self) -> None:
        if self._copy is not None:
            try:
                count = os.write(self._copy, self._pending)
            except OSError as exc:
                count = self._refused(exc)
            self.sent_bytes += count
            self._pending = self._pending[count:]
        if not self._pending:
            self._stop()
            self._wake()

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self._pending = _NOTHING
        self._stop()
        self._wake()

    def _stop(self) -> None:
        if self._copy is not None:
            self._loop.remove_writer(self._copy)
            os.close(self._copy)
            self._copy = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
