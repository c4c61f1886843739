"""Sends the body of a request that is not in memory: from its file, or as it comes from its caller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from isolet.errors import IsoletError
from isolet.invoke.spool import Spooled
from isolet.wire.channel import Connection, Headers
from isolet.wire.headers import get


class Sending(Protocol):
    """A call, as the sender of its body knows it."""

    connection: Connection | None

    def keep_request(self, chunk: bytes) -> None:
        """Hold the beginning of the body for the record."""

    async def watch_sender(self) -> None:
        """Wait until the caller is gone, and end the call then."""


async def send_spooled(call: Sending, connection: Connection, body: Spooled) -> None:
    """Send a body from disk; its caller is watched like that of a small one."""
    try:
        async for part in body.parts():
            if connection is not call.connection:
                # The call is made again, on another.
                return
            call.keep_request(part)
            await connection.write(part)
        connection.end()
    except OSError:
        # The reply decides, as it does for others.
        return
    except IsoletError as exc:
        connection.abort(exc)


async def send_parts(call: Sending, connection: Connection, body: AsyncIterator[bytes], headers: Headers) -> None:
    """Send the caller's body as it comes."""
    chunked = get(headers, b"content-length") is None
    try:
        async for chunk in body:
            if chunk:
                call.keep_request(chunk)
                await connection.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
        if chunked:
            await connection.write(b"0\r\n\r\n")
        connection.end()
        await call.watch_sender()
    except OSError:
        # The function may answer without reading its whole request: its reply decides, and who calls may send on.
        await _discard(call, connection, body)
    except IsoletError as exc:
        connection.abort(exc)


async def _discard(call: Sending, connection: Connection, body: AsyncIterator[bytes]) -> None:
    try:
        async for _ in body:
            pass
        await call.watch_sender()
    except IsoletError as exc:
        connection.abort(exc)
