"""A request to go on in another protocol, between the listener that read its head and the door that answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from isolet.wire import heads

# Under this name an ASGI scope holds the `Upgrade` that its request asks for.
EXTENSION = "isolet.upgrade"
# A caller waits for the answer before it goes on; one that does not is cut off.
_EARLY_MAX_BYTES = 65_536
Headers = list[tuple[bytes, bytes]]


def _nothing() -> None:
    return


class Taker(Protocol):
    """Who takes a connection over: an `asyncio.Protocol` that is told, too, when the server stops."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def shutdown(self) -> None: ...


class Upgrade:
    """Keeps what the caller sends early. Once it is accepted, every byte and event of the connection is its taker's.

    Unless it is accepted, the request is answered as any other and the connection closes.
    """

    def __init__(self, transport: asyncio.Transport, fixed: Headers, *, on_accept: Callable[[], None]) -> None:
        self._transport = transport
        self._fixed = fixed
        self._on_accept = on_accept
        self._early = b""
        self._taker: Taker | None = None
        self._lost = False
        self._stopping = False
        self.accepted = False

    def accept(self, headers: Headers, taker: Taker) -> None:
        """Answer `101 Switching Protocols` with `headers`, and hand the connection over. Raises InvalidHead."""
        head = heads.reply(101, heads.lines([*self._fixed, *headers]))
        self.accepted = True
        self._on_accept()
        self._on_accept = _nothing
        self._taker = taker
        taker.connection_made(self._transport)
        if self._lost:
            taker.connection_lost(None)
            return
        self._transport.write(head)
        if self._early:
            taker.data_received(self._early)
        if self._stopping:
            taker.shutdown()

    # What the listener passes on.

    def data_received(self, data: bytes) -> None:
        if self._taker is not None:
            self._taker.data_received(data)
            return
        self._early += data
        if len(self._early) > _EARLY_MAX_BYTES:
            self._transport.abort()

    def pause_writing(self) -> None:
        if self._taker is not None:
            self._taker.pause_writing()

    def resume_writing(self) -> None:
        if self._taker is not None:
            self._taker.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        # They refer back to this.
        taker, self._taker, self._on_accept = self._taker, None, _nothing
        if taker is not None:
            taker.connection_lost(exc)

    def shutdown(self) -> None:
        self._stopping = True
        if self._taker is not None:
            self._taker.shutdown()
