"""Bytes on a socket, for requests that no HTTP client would send."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct


class RawReply(Struct, frozen=True, kw_only=True):
    """`raw` is all the server sent until it closed; `statuses` are those of every reply in it."""

    raw: bytes
    accepted_bytes: int

    @property
    def status(self) -> int | None:
        """The first reply's; None when the connection was closed without a word."""
        return int(self.raw.split(b" ", 2)[1]) if self.raw else None

    @property
    def replies(self) -> int:
        return self.raw.count(b"HTTP/1.1 ")

    @property
    def body(self) -> Any:
        """The first reply's JSON."""
        return json.loads(self.raw.partition(b"\r\n\r\n")[2])


def send_raw(url: str, parts: bytes | Iterable[bytes], *, patience_s: float = 0.4, limit_s: float = 10.0) -> RawReply:
    """Send, and read until the server closes.

    The sending side stays open until the server has been silent for `patience_s`. Fails when the server then does not
    close within `limit_s`.
    """
    address = urlsplit(url)
    assert address.hostname is not None
    received = b""
    sent = 0
    with socket.create_connection((address.hostname, address.port or 80), timeout=limit_s) as connection:
        try:
            for part in [parts] if isinstance(parts, bytes) else parts:
                connection.sendall(part)
                sent += len(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        connection.settimeout(patience_s)
        try:
            while True:
                try:
                    chunk = connection.recv(65_536)
                except TimeoutError:
                    connection.settimeout(limit_s)
                    connection.shutdown(socket.SHUT_WR)
                    continue
                if not chunk:
                    break
                received += chunk
        except OSError as exc:
            if isinstance(exc, TimeoutError):
                raise
    return RawReply(raw=received, accepted_bytes=sent)
