"""The message that comes on a connection: the parts of its head, and the bounds on what a client may send of it.

What the parser calls of a head is here; `Protocol` makes a request of it.
"""

from __future__ import annotations

import asyncio

from isolet.wire.callers import CLAIMS
from isolet.wire.heads import Headers
from isolet.wire.hosts import is_host
from isolet.wire.timed_connection import TimedConnection

HEADERS_MAX = 200
HEAD_MAX_BYTES = 65_536
# What may come in a body without bringing a byte of it on: the lines between its chunks, and trailers.
_FRAMING_MAX_BYTES = 2 * HEAD_MAX_BYTES
_CODING = b"transfer-encoding"
_WATCHED = CLAIMS | {b"host", b"expect", _CODING}


class MessageReader(TimedConnection):
    """Counts heads, trailers and framing, so that none is endless."""

    __slots__ = (
        "_brought_on",
        "_claims",
        "_expects_continue",
        "_framing_bytes",
        "_good_hosts",
        "_head_bytes",
        "_headers",
        "_hosts",
        "_in_head",
        "_in_message",
        "_piece_bytes",
        "_server",
        "_trailer_bytes",
        "_trailers",
        "_unread_bytes",
        "_url",
    )

    _server: tuple[str, int] | None
    _piece_bytes: int

    def __init__(self, loop: asyncio.AbstractEventLoop, keep_alive_s: float) -> None:
        super().__init__(loop, keep_alive_s)
        self._init_message()
        self._in_message = self._in_head = False
        # Those of the last request that named one host, as clients go on with the same; None before the first.
        self._good_hosts: list[bytes] | None = None

    def _init_message(self) -> None:
        self._url = b""
        self._headers: Headers = []
        self._hosts: list[bytes] = []
        self._claims: Headers = []
        self._expects_continue = False
        self._in_message = self._in_head = True
        self._head_bytes = self._unread_bytes = 0
        self._trailer_bytes = self._trailers = self._framing_bytes = 0
        self._brought_on = False

    def on_message_begin(self) -> None:
        self._init_message()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            self._count_trailer(len(name) + len(value))
            return
        name = name.lower()
        if name in _WATCHED:
            if name in CLAIMS:
                self._claims.append((name, value))
                return
            if name == b"host":
                self._hosts.append(value)
            elif name == _CODING:
                self._check_coding(value)
            elif value.lower() == b"100-continue":
                self._expects_continue = True
        self._headers.append((name, value))

    def _check_size(self) -> None:
        """Raises ValueError."""
        if self._head_bytes + self._piece_bytes > HEAD_MAX_BYTES:
            fields = (*self._headers, *self._claims)
            self._head_bytes = len(self._url) + sum(len(name) + len(value) for name, value in fields)
        if self._is_too_large:
            raise ValueError("headers too large")

    def _check_coding(self, value: bytes) -> None:
        """Nothing here decodes another one, and a body that stays encoded would be taken for what it is not.

        Raises ValueError.
        """
        if value.lower() != b"chunked" or any(name == _CODING for name, _ in self._headers):
            raise ValueError("not one coding that is known")

    def _check_coding_of_old(self) -> None:
        """HTTP/1.0 has no codings: who passed one on saw another body (RFC 9112, 6.1). Raises ValueError."""
        if any(name == _CODING for name, _ in self._headers):
            raise ValueError("a coding in HTTP/1.0")

    def _check_host(self, version: str) -> None:
        """Raises ValueError for a head that does not name one host."""
        hosts = self._hosts
        if len(hosts) == 1 and is_host(hosts[0]):
            self._good_hosts = hosts
            return
        if any(hosts) or (not hosts and version != "1.0"):
            raise ValueError("not one host")
        # Old clients name none, and some an empty one: functions see the address that was called.
        host, port = self._server or ("localhost", 80)
        self._set_host((f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode())

    def _set_host(self, host: bytes) -> None:
        self._headers = [header for header in self._headers if header[0] != b"host"]
        self._headers.append((b"host", host))

    def _count_trailer(self, size_bytes: int) -> None:
        """Trailers belong to no header (RFC 9110, 6.5.1) and are not passed on. Raises ValueError for too many."""
        self._trailers += 1
        self._trailer_bytes += size_bytes
        if self._is_too_large:
            raise ValueError("trailers too large")

    def _goes_on(self, size_bytes: int) -> bool:
        """Count a piece of a message that is not complete; whether it goes on without end.

        Most heads come whole in one piece, and most pieces bring a body on.
        """
        if self._in_head:
            self._head_bytes += size_bytes
            if self._head_bytes > HEAD_MAX_BYTES:
                return True
            if self._head_timer is None:
                self._begin_head_timer()
        elif not self._brought_on:
            self._framing_bytes += size_bytes
            return self._framing_bytes > _FRAMING_MAX_BYTES
        return False

    @property
    def _is_too_large(self) -> bool:
        largest = max(self._head_bytes, self._trailer_bytes, self._framing_bytes - HEAD_MAX_BYTES)
        return largest > HEAD_MAX_BYTES or max(len(self._headers) + len(self._claims), self._trailers) > HEADERS_MAX
