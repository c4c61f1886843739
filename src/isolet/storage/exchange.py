"""One request to a project's storage process, from the host."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from isolet.errors import FunctionCrashed, TooLarge, Unavailable
from isolet.runtime.channel import Channel, Headers
from isolet.wire import heads

_TIMEOUT_S = 20.0
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
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
    told = {"host": "storage", "content-length": str(len(body)), **(headers or {})}
    lines = [heads.line(name.encode("latin-1"), value.encode("latin-1")) for name, value in told.items()]
    head = heads.request(method.encode("ascii"), target.encode("latin-1"), lines)
    try:
        async with asyncio.timeout(timeout_s):
            connection = await channel.connect()
            try:
                connection.begin(head + body)
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
