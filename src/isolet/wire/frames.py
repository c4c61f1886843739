"""Frames of a WebSocket (RFC 6455, section 5): where they end, and which one closes; nothing of their content."""

from __future__ import annotations

_CLOSE = 0x8
_OPCODE = 0x0F
_MASKED = 0x80
_LENGTH = 0x7F
_LENGTH_BYTES = {126: 2, 127: 8}
_HEAD_MAX_BYTES = 14

GOING_AWAY = 1001
FAILED = 1011
RESTARTING = 1012


class Frames:
    """Follows one direction of a stream. `closed`: it said that it closes."""

    __slots__ = ("_head", "_left", "closed")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self.closed = False

    @property
    def at_boundary(self) -> bool:
        """Whether another frame may begin here."""
        return not self._left and not self._head

    def follow(self, data: bytes, *, to_boundary: bool = False) -> int:
        """Go on with `data`; with `to_boundary` to the next end of a frame only. How far that was, in bytes."""
        position, size = 0, len(data)
        while position < size:
            if self._left:
                step = min(self._left, size - position)
                self._left -= step
                position += step
            elif not self._head and not to_boundary and position < size - _HEAD_MAX_BYTES:
                position = self._pass_short(data, position)
            else:
                position += self._read_head(data[position : position + _HEAD_MAX_BYTES])
            if to_boundary and self.at_boundary:
                break
        return position

    def _pass_short(self, data: bytes, position: int) -> int:
        """The same over frames that begin there, while they are short: a piece may hold a hundred thousand of them."""
        last = len(data) - _HEAD_MAX_BYTES
        while position < last:
            second = data[position + 1]
            length = second & _LENGTH
            if length in _LENGTH_BYTES:
                return position + self._read_head(data[position : position + _HEAD_MAX_BYTES])
            if data[position] & _OPCODE == _CLOSE:
                self.closed = True
            position += length + (6 if second & _MASKED else 2)
        self._left = max(position - len(data), 0)
        return min(position, len(data))

    def _read_head(self, data: bytes) -> int:
        known = len(self._head)
        head = self._head + data
        size = _head_bytes(head)
        if len(head) < size:
            self._head = head
            return len(data)
        length = head[1] & _LENGTH
        extended = _LENGTH_BYTES.get(length, 0)
        self._left = int.from_bytes(head[2 : 2 + extended], "big") if extended else length
        self._head = b""
        self.closed = self.closed or head[0] & _OPCODE == _CLOSE
        return size - known


def _head_bytes(head: bytes) -> int:
    """How long a head is that begins like this."""
    if len(head) < 2:
        return 2
    mask = 4 if head[1] & _MASKED else 0
    return 2 + _LENGTH_BYTES.get(head[1] & _LENGTH, 0) + mask


def close_frame(code: int, reason: str, *, masked: bool) -> bytes:
    """Frames to a server are `masked`. The reason has 123 bytes at most."""
    payload = code.to_bytes(2, "big") + reason.encode()
    if masked:
        # A mask of zeros leaves the payload as it is.
        return bytes((0x80 | _CLOSE, _MASKED | len(payload))) + bytes(4) + payload
    return bytes((0x80 | _CLOSE, len(payload))) + payload
