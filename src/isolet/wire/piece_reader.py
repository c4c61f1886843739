"""The bytes that come on a connection, given to the parser in pieces: as many as there is room for what they begin."""

from __future__ import annotations

import asyncio
from collections import deque

import httptools

from isolet.wire.crowd import Crowd
from isolet.wire.exchange import Exchange, Flow
from isolet.wire.message_reader import MessageReader
from isolet.wire.upgrade import Upgrade

# So many requests may wait for the replies to those before them; what comes then is parsed later. It is parsed in
# pieces of so many bytes, so that of thousands of requests that come at once few more are read.
PIPELINED_MAX = 16
_HEADS_BYTES = 4096
_BODY_BYTES = 16_384
NOTHING = memoryview(b"")


class PieceReader(MessageReader):
    """Holds back what comes behind too many requests, and what comes in a `crowd` of connections until its turn."""

    __slots__ = (
        "_crowd",
        "_ends_in_line",
        "_flow",
        "_held",
        "_is_in_line",
        "_parser",
        "_refuses",
        "_upgrade",
        "_waiting",
    )

    _flow: Flow

    def __init__(self, loop: asyncio.AbstractEventLoop, keep_alive_s: float, crowd: Crowd) -> None:
        super().__init__(loop, keep_alive_s)
        self._crowd = crowd
        self._parser = httptools.HttpRequestParser(self)
        # What a client pipelines behind a request that closes waits like any other, and is dropped then.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        # Requests behind the one that is answered.
        self._waiting: deque[Exchange] = deque()
        # What came behind them and is not parsed yet.
        self._held = NOTHING
        self._is_in_line = self._ends_in_line = False
        # Whether nothing is read any more, since what came was no request that can be served.
        self._refuses = False
        # What takes all that comes from now on.
        self._upgrade: Upgrade | None = None

    def data_received(self, data: bytes) -> None:
        if self._upgrade is not None:
            self._upgrade.data_received(data)
            return
        if self._refuses:
            return
        self._idle_since = 0.0
        if self._held:
            together = memoryview(bytes(self._held) + data)
            if self._is_in_line and len(together) <= _BODY_BYTES:
                self._held = together
            else:
                self._parse_pieces(together)
        elif not self._crowd.at_once():
            self._held, self._is_in_line = memoryview(data), True
            self._crowd.later(self._parse_in_line)
        elif len(data) > _HEADS_BYTES or len(self._waiting) >= PIPELINED_MAX:
            self._parse_pieces(memoryview(data))
        elif (taken := self._parse(data)) < len(data):
            self._parse_pieces(memoryview(data)[taken:])

    def _parse_pieces(self, data: memoryview) -> None:
        """As long as not too many requests wait; the rest is parsed when fewer do."""
        self._held = NOTHING
        while data and not self._refuses and not self.transport.is_closing():
            if self._upgrade is not None:
                self._upgrade.data_received(bytes(data))
                return
            if len(self._waiting) >= PIPELINED_MAX:
                self._held = data
                self._flow.hold_reading()
                return
            size = _BODY_BYTES if self._in_message and not self._in_head else _HEADS_BYTES
            data = data[self._parse(data[:size]) :]

    def _parse_in_line(self) -> None:
        """What came in a crowd has its turn."""
        self._is_in_line = False
        self._parse_held()
        if self._ends_in_line:
            self._ends_in_line = False
            if not self.eof_received():
                self.transport.close()

    def _parse_held(self) -> None:
        if self._held:
            self._flow.let_reading_go()
            self._idle_since = 0.0
            self._parse_pieces(self._held)

    def _parse(self, data: bytes | memoryview) -> int:
        """How many bytes the parser took: all of them, unless what follows is of another protocol for it."""
        taken = self._piece_bytes = len(data)
        self._brought_on = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._go_on()
            return int(exc.args[0])
        except httptools.HttpParserError:
            self._refuse_message()
            return taken
        if self._in_message and not self._refuses and not self.transport.is_closing() and self._goes_on(taken):
            self._refuse_message()
        return taken

    def _go_on(self) -> None:
        """For the parser the request is over, and what follows is of another protocol."""
        raise NotImplementedError

    def _refuse_message(self) -> None:
        """What came is no request that can be served."""
        raise NotImplementedError
