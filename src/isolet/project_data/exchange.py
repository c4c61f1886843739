"""One request to a project's storage process, from the host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from msgspec import Struct

from isolet.errors import FunctionCrashed, TooLarge, Unavailable
from isolet.wire import heads
from isolet.wire.channel import Channel, Connection, Headers

_TIMEOUT_S = 20.0
_MB = 1024 * 1024


class Answer(Struct, frozen=True, kw_only=True):
    status: int
    reason: str
    headers: Headers
    body: bytes

    def header(self, wanted: bytes) -> str | None:
        """A header's value; `wanted` is lower case."""
        for name, value in self.headers:
            if name == wanted:
                return value.decode("latin-1")
        return None


async def ask(
    channel: Channel,
    method: str,
    target: str,
    *,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    timeout_s: float = _TIMEOUT_S,
    max_bytes: int | None = None,
) -> Answer:
    """Raises Unavailable when the process ends, or does not answer in time, TooLarge for a body over `max_bytes`."""
    request = _request(method, target, headers or {}, body)
    try:
        async with asyncio.timeout(timeout_s):
            connection = await channel.connect()
            try:
                connection.begin(request)
                await connection.head()
                parts, size = [], 0
                while part := await connection.chunk():
                    parts.append(part)
                    size += len(part)
                    if max_bytes is not None and size > max_bytes:
                        raise TooLarge(f"the answer is larger than {max_bytes // _MB} MB")
                return Answer(
                    status=connection.status,
                    reason=connection.reason.decode("latin-1"),
                    headers=connection.headers,
                    body=b"".join(parts),
                )
            finally:
                channel.release(connection)
    except TimeoutError:
        raise Unavailable(f"the project's storage did not answer within {timeout_s:g} s") from None
    except (OSError, FunctionCrashed) as exc:
        raise Unavailable("the project's storage ended while it worked on this; try again") from exc


async def parts_of(
    channel: Channel,
    method: str,
    target: str,
    *,
    headers: dict[str, str],
    body: bytes,
    timeout_s: float = _TIMEOUT_S,
) -> AsyncGenerator[bytes, None]:
    """The body of the answer as it comes. Raises Unavailable when the process ends, or gives nothing for so long."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            connection = await channel.connect()
        try:
            connection.begin(_request(method, target, headers, body))
            async with asyncio.timeout(timeout_s):
                await connection.head()
            while part := await _next(connection, timeout_s):
                yield part
        finally:
            channel.release(connection)
    except TimeoutError:
        raise Unavailable(f"the project's storage did not answer within {timeout_s:g} s") from None
    except (OSError, FunctionCrashed) as exc:
        raise Unavailable("the project's storage ended while it worked on this; try again") from exc


async def _next(connection: Connection, timeout_s: float) -> bytes:
    async with asyncio.timeout(timeout_s):
        return await connection.chunk()


def _request(method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
    told = {"host": "storage", "content-length": str(len(body)), **headers}
    lines = [heads.line(name.encode("latin-1"), value.encode("latin-1")) for name, value in told.items()]
    return heads.request(method.encode("ascii"), target.encode("latin-1"), lines) + body
