"""A WebSocket between a caller and an instance: two byte streams, joined with back-pressure.

Frames pass as they are. They are counted, so that one of ours, which closes, can be put between two of theirs.
"""

from __future__ import annotations

import asyncio
from typing import cast

from isolet.wire.frames import FAILED, GOING_AWAY, RESTARTING, Frames, close_frame

# A side that was told to close has this long to answer and to take what is on its way.
_LINGER_S = 2.0


class End(asyncio.Protocol):
    """One side. `frames` are those that came from it; `lost` once its connection is gone."""

    __slots__ = ("_goodbye", "_told", "_tunnel", "frames", "lost", "masked", "other", "transport")

    other: End
    transport: asyncio.Transport

    def __init__(self, tunnel: Tunnel, *, masked: bool) -> None:
        self._tunnel = tunnel
        self._goodbye: bytes | None = None
        self._told = False
        self.masked = masked
        self.frames = Frames()
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._tunnel.moved()
        other = self.other
        if other._goodbye is None and not other.lost:
            self.frames.follow(data)
            other.write(data)
            return
        if not other._told:
            end = self.frames.follow(data, to_boundary=True)
            other.write(data[:end])
            other.say_goodbye()
            data = data[end:]
        # Nothing may follow a close: what comes now is only looked through for the answer to it.
        self.frames.follow(data)
        if self.frames.closed and self._told:
            self.close()

    def write(self, data: bytes) -> None:
        if not self.lost and not self.transport.is_closing():
            self.transport.write(data)

    def bid_goodbye(self, frame: bytes) -> None:
        """Close with a frame of ours as soon as the one that is being written ends."""
        self._goodbye = frame
        self.say_goodbye()

    def say_goodbye(self) -> None:
        if self._told or self._goodbye is None or not self.other.frames.at_boundary:
            return
        self._told = True
        if not self.other.frames.closed:
            self.write(self._goodbye)
        if self.frames.closed:
            self.close()
        else:
            # Its answer is waited for, and closing before it has sent everything would reset the connection.
            self._resume()

    def close(self) -> None:
        """Close once everything is written."""
        if not self.lost:
            self.transport.close()

    def abort(self) -> None:
        if not self.lost:
            self.transport.abort()

    def pause_writing(self) -> None:
        other = self.other
        if not (other._told or other.lost or other.transport.is_closing()):
            other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other._resume()

    def _resume(self) -> None:
        if not self.lost and not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._tunnel.lost(self)

    def shutdown(self) -> None:
        self._tunnel.retire()


class Tunnel:
    """`broken_by` is the side that went without a word; None after a close, whoever began it."""

    def __init__(self, *, idle_timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle_timeout_s = idle_timeout_s
        self._moved_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._closing = False
        self.caller = End(self, masked=False)
        self.function = End(self, masked=True)
        self.caller.other, self.function.other = self.function, self.caller
        self.broken_by: End | None = None

    def begin(self, sent: bytes) -> None:
        """Both sides are joined; `sent` is what came from the function with its answer."""
        self._timer = self._loop.call_later(self._idle_timeout_s, self._look)
        if sent:
            self.function.data_received(sent)
        # Whatever the caller takes, the function may write.
        self.caller.resume_writing()

    async def run(self) -> None:
        """Wait until both sides are gone; cancelled, it cuts them."""
        try:
            await self._closed
        finally:
            self._cut()
            self._set_timer(None)

    def retire(self) -> None:
        """The instance or the server stops: the caller should connect again."""
        self._close(RESTARTING, "restarting")

    # What the ends tell.

    def moved(self) -> None:
        self._moved_at = self._loop.time()

    def lost(self, end: End) -> None:
        if end.other.lost:
            if not self._closed.done():
                self._closed.set_result(None)
            return
        broken = not (self._closing or end.frames.closed or end.other.frames.closed)
        self._cut_later()
        if broken:
            self.broken_by = end
        if broken and end is self.function and end.frames.at_boundary:
            end.other.bid_goodbye(close_frame(FAILED, "the function broke off", masked=False))
        else:
            end.other.close()

    def _look(self) -> None:
        rest_s = self._moved_at + self._idle_timeout_s - self._loop.time()
        if rest_s > 0:
            self._timer = self._loop.call_later(rest_s, self._look)
        else:
            self._close(GOING_AWAY, "idle")

    def _close(self, code: int, reason: str) -> None:
        if self._closing or self._closed.done():
            return
        self._cut_later()
        for end in (self.caller, self.function):
            end.bid_goodbye(close_frame(code, reason, masked=end.masked))

    def _cut_later(self) -> None:
        if not self._closing:
            self._closing = True
            self._set_timer(self._loop.call_later(_LINGER_S, self._cut))

    def _set_timer(self, timer: asyncio.TimerHandle | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer

    def _cut(self) -> None:
        self.caller.abort()
        self.function.abort()
