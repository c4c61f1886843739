"""The one writer of heads: every head of a request or a reply that leaves the server, in any direction, is made here.

A head that would not be read as it was meant is refused, wherever its parts came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus

from isolet.errors import InvalidHead

Headers = list[tuple[bytes, bytes]]

_END = b"\r\n"
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_STATUS_LINES = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES.get(status, "").encode()) for status in range(100, 1000)
}


def line(name: bytes, value: bytes) -> bytes:
    """One header as it is written; it is checked with the head that it becomes a part of."""
    return b"%b: %b\r\n" % (name, value)


def lines(headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    return [b"%b: %b\r\n" % header for header in headers]


def request(method: bytes, target: bytes, header_lines: Sequence[bytes]) -> bytes:
    """The head of a request. Raises InvalidHead."""
    start = b"%b %b HTTP/1.1\r\n" % (method, target)
    if not method or not target or start.count(b" ") != 2:
        raise InvalidHead("cannot send a request: its method or its target holds a space, or is empty")
    return _head(start, header_lines)


def reply(status: int, header_lines: Sequence[bytes]) -> bytes:
    """The head of a reply. Raises InvalidHead, also for a status that is no number of three digits."""
    start = _STATUS_LINES.get(status)
    if start is None:
        raise InvalidHead(f"cannot send a reply: {status} is no status")
    return _head(start, header_lines)


def _head(start: bytes, header_lines: Sequence[bytes]) -> bytes:
    head = start + b"".join(header_lines)
    count = len(header_lines) + 1
    # Each line has its own end and no other one: names and values cannot begin a line, or a message, of their own.
    if head.count(b"\n") != count or head.count(b"\r") != count or b"\0" in head:
        raise InvalidHead("cannot send a message: its target, or a name or value of its headers, holds CR, LF or NUL")
    return head + _END
