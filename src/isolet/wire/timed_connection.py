"""The timers of one connection of a client: it is cut off when it sends no head, takes nothing, or stays idle.

There is one timer for a connection and not one for a request, since each costs as much as parsing a head.
"""

from __future__ import annotations

import asyncio

from isolet.wire.sendqueue import queued_bytes

# A client that does not finish the head of a request in this time is cut off.
_HEAD_TIMEOUT_S = 30.0


class TimedConnection(asyncio.Protocol):
    """A connection whose client takes nothing of what it is sent for `write_timeout_s` is cut off."""

    write_timeout_s = 60.0

    __slots__ = ("_head_timer", "_idle_since", "_idle_timer", "_keep_alive_s", "_write_timer", "loop", "transport")

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, keep_alive_s: float) -> None:
        self.loop = loop
        self._keep_alive_s = keep_alive_s
        # When it began to be idle; 0 while it is not.
        self._idle_since = 0.0
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def _is_taken(self) -> bool:
        """Whether the connection is another's, who closes it."""
        raise NotImplementedError

    def _end_timers(self) -> None:
        self._end_head_timer()
        self._end_write_timer()
        if self._idle_timer is not None:
            self._idle_timer.cancel()

    def _begin_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(_HEAD_TIMEOUT_S, self.transport.close)

    @property
    def _head_since(self) -> float:
        """When the head began that its client sends, or is to send; 0 for none."""
        return 0.0 if self._head_timer is None else self._head_timer.when() - _HEAD_TIMEOUT_S

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
        if self._is_taken() or self._unsent_bytes() < before_bytes:
            self._watch_writing()
        else:
            self.transport.abort()

    def _unsent_bytes(self) -> int:
        """What the client has not taken yet, of ours and of what the kernel holds for it."""
        return self.transport.get_write_buffer_size() + queued_bytes(self.transport)

    def _watch_idle(self) -> None:
        """Close a connection that was idle for the keep-alive time; look again when that may be."""
        rest_s = self._keep_alive_s
        if self._idle_since:
            rest_s -= self.loop.time() - self._idle_since
            if rest_s <= 0:
                self.transport.close()
                if self._write_timer is None and self.transport.get_write_buffer_size():
                    self._watch_writing()
                return
        self._idle_timer = self.loop.call_later(rest_s, self._watch_idle)
