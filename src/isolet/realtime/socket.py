"""A WebSocket on a connection that the listener handed over: whole texts in, texts and closes out.

The protocol is that of `websockets`, without I/O and without compression; this moves its bytes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

# Who does not take its close in this time is cut off.
LINGER_S = 2.0
# What may wait for a client that takes nothing; the kernel holds some more.
UNSENT_MAX_BYTES = 1024 * 1024
_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
_REASON_MAX_BYTES = 123
# What came is read in pieces of so many bytes, of which a frame has six at least.
_PIECE_BYTES = 2048
# Bytes and texts that are taken as they come, for those of many clients may come in one turn of the loop; and in each
# turn that this client gets.
_AT_ONCE = (2 * _PIECE_BYTES, 2)
_IN_A_TURN = (16 * _PIECE_BYTES, 8)


class Unwanted(Exception):
    """What the client sent ends the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def text_frame(text: str) -> bytes:
    """A text in ASCII as it is sent to every client."""
    return Frame(Opcode.TEXT, text.encode("ascii")).serialize(mask=False)


def _nothing() -> None:
    return


def _nothing_of(_: str) -> None:
    return


def _no_turn() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


class Socket(asyncio.Protocol):
    """A `Taker` of the listener's. `on_bytes` hears that something came, `on_frame` counts a frame and may raise
    Unwanted, `on_text` gets each text, `on_lost` hears of the end, once.

    What a client sends at once is taken in several turns of the loop, and read no further meanwhile; each `turn` is
    done when there is one for this client.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        on_bytes: Callable[[], None],
        on_frame: Callable[[], None],
        on_text: Callable[[str], None],
        on_lost: Callable[[], None],
        on_shutdown: Callable[[], None],
        turn: Callable[[], asyncio.Future[None]],
    ) -> None:
        self._turn = turn
        self._protocol = ServerProtocol(state=State.OPEN, max_size=max_bytes)
        self._on_bytes = on_bytes
        self._on_frame = on_frame
        self._on_text = on_text
        self._on_lost = on_lost
        self._on_shutdown = on_shutdown
        self._parts: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._early: list[bytes] | None = []
        self._unread = memoryview(b"")
        self._frames: deque[Frame] = deque()
        self._is_later = self._is_held = False
        self.lost = False

    @property
    def is_open(self) -> bool:
        return not self.lost and self._transport is not None and self._protocol.state is State.OPEN

    def begin(self) -> None:
        """The client was greeted: take what it sent meanwhile, and what comes."""
        early, self._early = self._early or [], None
        for data in early:
            self.data_received(data)

    def send(self, frame: bytes) -> None:
        """A frame of `text_frame`. A client that takes none for long is closed with 1013."""
        if not self.is_open or self._transport is None:
            return
        if self._transport.get_write_buffer_size() > UNSENT_MAX_BYTES:
            self.close(1013, "Too slow")
            return
        self._transport.write(frame)

    def ping(self) -> None:
        if self.is_open:
            self._protocol.send_ping(b"")
            self._flush()

    def close(self, code: int, reason: str) -> None:
        if not self.is_open:
            return
        self._protocol.send_close(code, reason[:_REASON_MAX_BYTES])
        self._flush()

    # What the listener tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._early is not None:
            self._early.append(data)
            return
        self._on_bytes()
        self._unread = memoryview(bytes(self._unread) + data if self._unread else data)
        if not (self._is_later or self._is_held):
            self._go_on(*_AT_ONCE)

    def hold(self) -> None:
        """Take no further frame until `let_go`."""
        self._is_held = True
        self._pause_reading()

    def let_go(self) -> None:
        self._is_held = False
        if not (self._is_later or self.lost):
            self._go_on(*_AT_ONCE)

    def _go_on(self, size: int, texts: int) -> None:
        """Take frames: so many bytes and texts of them."""
        while not (self.lost or self._is_held):
            if texts <= 0 or size <= 0:
                self._is_later = True
                self._pause_reading()
                self._turn().add_done_callback(self._has_turn)
                return
            if self._frames:
                frame = self._frames.popleft()
                texts -= frame.opcode in _DATA
                self._take_or_end(frame)
            elif self._unread:
                size -= self._read_piece()
            else:
                self._resume_reading()
                return

    def _has_turn(self, _: asyncio.Future[None]) -> None:
        self._is_later = False
        self._go_on(*_IN_A_TURN)

    def _read_piece(self) -> int:
        piece, self._unread = bytes(self._unread[:_PIECE_BYTES]), self._unread[_PIECE_BYTES:]
        self._protocol.receive_data(piece)
        # Frames before a broken one count.
        self._frames.extend(cast("list[Frame]", self._protocol.events_received()))
        self._flush()
        return len(piece)

    def _take_or_end(self, frame: Frame) -> None:
        try:
            self._take(frame)
        except Unwanted as exc:
            self._frames.clear()
            self._fail(exc.code, exc.reason)

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.lost:
            return
        self.lost = True
        if self._linger is not None:
            self._linger.cancel()
        self._parts.clear()
        self._frames.clear()
        self._unread = memoryview(b"")
        on_lost = self._on_lost
        self._let_go()
        on_lost()

    def _let_go(self) -> None:
        """Drop what refers back to this: thousands may go at once, and the garbage collector would stop the loop."""
        self._on_bytes = self._on_frame = self._on_lost = self._on_shutdown = _nothing
        self._on_text = _nothing_of
        self._turn = _no_turn
        self._transport = self._linger = None
        # It is a generator of the protocol's own method.
        self._protocol.parser.close()

    def shutdown(self) -> None:
        self._on_shutdown()

    def _take(self, frame: Frame) -> None:
        self._on_frame()
        if frame.opcode is Opcode.BINARY:
            raise Unwanted(1003, "Only text is understood")
        if frame.opcode not in _DATA:
            return
        self._parts.append(bytes(frame.data))
        if not frame.fin:
            return
        whole, self._parts = b"".join(self._parts), []
        try:
            text = whole.decode()
        except UnicodeDecodeError:
            raise Unwanted(1007, "Text is not UTF-8") from None
        if self.is_open:
            self._on_text(text)

    def _fail(self, code: int, reason: str) -> None:
        try:
            self._protocol.fail(code, reason)
        except InvalidState:
            return
        self._flush()

    def _flush(self) -> None:
        transport = self._transport
        if transport is None or self.lost:
            return
        ends = False
        for data in self._protocol.data_to_send():
            if data:
                transport.write(data)
            else:
                ends = True
        if ends and self._protocol.close_rcvd is not None:
            transport.close()
        elif ends and transport.can_write_eof() and not transport.is_closing():
            # What the client still sends is read: a reset would take the close from it.
            transport.write_eof()
        if self._protocol.close_expected() and self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(LINGER_S, transport.abort)
