"""Goes on with a request whose parser stopped behind its head, because the client offered another protocol."""

from __future__ import annotations

from typing import Protocol

import httptools

from isolet.wire import heads
from isolet.wire.heads import Headers

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class Reader(Protocol):
    """What a parser tells what it read."""

    def on_message_begin(self) -> None: ...
    def on_url(self, url: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_body(self, body: bytes) -> None: ...
    def on_message_complete(self) -> None: ...


class _BehindHead:
    """Tells a protocol what a parser reads behind the head that it was made with."""

    def __init__(self, protocol: Reader) -> None:
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete
        self._protocol = protocol
        self._is_behind = False

    def on_message_begin(self) -> None:
        if self._is_behind:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._is_behind:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_behind:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_behind:
            self._protocol.on_headers_complete()
        self._is_behind = True


def parser_of_body(protocol: Reader, headers: Headers) -> httptools.HttpRequestParser:
    """A parser for the body of a request with these headers, and for the requests that follow."""
    parser = httptools.HttpRequestParser(_BehindHead(protocol))
    parser.feed_data(heads.request(b"POST", b"/", heads.lines(h for h in headers if h[0] in _FRAMING)))
    return parser
