"""Requests that the host itself makes for a project: they leave through the project's egress process.

That process resolves names and refuses addresses. No redirect is followed; replies are read no further than is asked.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from msgspec import Struct

from isolet.errors import FunctionCrashed, InvalidHead, NotFound, Unanswered
from isolet.ids import ProjectId
from isolet.runtime.egress import Egresses
from isolet.wire import heads
from isolet.wire.channel import Channel, Connection
from isolet.wire.headers import get

_EGRESS_HEADER = b"x-isolet-egress"
_REASON_MAX_BYTES = 512
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Headers = Sequence[tuple[str, str]]


class Outgoing(Struct, frozen=True, kw_only=True):
    """`url` is an absolute http or https address in ASCII; `headers` are all but `host` and `content-length`."""

    method: str
    url: str
    headers: Headers = ()
    body: bytes = b""


class Whole(Struct, frozen=True, kw_only=True):
    """A reply, read to its end. Header names are lower case."""

    status: int
    headers: heads.Headers
    body: bytes

    def header(self, name: str) -> str:
        """Empty when there is none."""
        return (get(self.headers, name.encode()) or b"").decode("latin-1")


class Incoming:
    """A reply whose body is still to come."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.status = connection.status
        self.headers = connection.headers
        self.size_bytes = 0

    def header(self, name: str) -> str:
        """Empty when there is none."""
        return (get(self.headers, name.encode()) or b"").decode("latin-1")

    async def chunk(self) -> bytes:
        """The next part, empty at the end. Raises Unanswered when the reply breaks off."""
        try:
            data = await self._connection.chunk()
        except (OSError, FunctionCrashed) as exc:
            raise Unanswered(f"the reply broke off: {exc or 'the connection was lost'}") from exc
        self.size_bytes += len(data)
        return data

    async def read(self, limit: int) -> bytes:
        """All of it. Raises Unanswered when it is larger than `limit` bytes."""
        parts = []
        while data := await self.chunk():
            parts.append(data)
            if self.size_bytes > limit:
                raise Unanswered(f"the reply is larger than {limit} bytes")
        return b"".join(parts)


class Requests:
    def __init__(self, egresses: Egresses) -> None:
        self._egresses = egresses

    @asynccontextmanager
    async def open(self, project_id: ProjectId, request: Outgoing) -> AsyncIterator[Incoming]:
        """The reply to a request, as far as its head; leaving gives the rest up. The caller has the deadline.

        Raises Unanswered when nobody answers, or the address is refused.
        """
        try:
            async with self._egresses.use(project_id) as egress:
                channel = egress.channel
                connection = await _begun(channel, _written(request))
                try:
                    await _check_answered(connection)
                    yield Incoming(connection)
                finally:
                    channel.release(connection)
        except (OSError, FunctionCrashed, InvalidHead, NotFound) as exc:
            raise Unanswered(f"cannot reach {urlsplit(request.url).netloc}: {exc}") from exc

    async def send(self, project_id: ProjectId, request: Outgoing, *, timeout_s: float, max_bytes: int) -> Whole:
        """The whole reply. Raises Unanswered, also after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s), self.open(project_id, request) as reply:
                body = await reply.read(max_bytes)
                return Whole(status=reply.status, headers=reply.headers, body=body)
        except TimeoutError:
            raise Unanswered(f"no complete answer within {timeout_s:g} s") from None


async def _begun(channel: Channel, data: bytes) -> Connection:
    """A connection whose reply has begun. One that was idle may just have been closed: then another is opened."""
    fresh = False
    while True:
        connection = await channel.connect(fresh=fresh)
        try:
            connection.begin(data)
            await connection.head()
        except ConnectionResetError:
            channel.release(connection)
            if fresh or connection.uses < 2:
                raise
            fresh = True
        except BaseException:
            channel.release(connection)
            raise
        else:
            return connection


async def _check_answered(connection: Connection) -> None:
    """Raises Unanswered when it is the egress process that answers."""
    if get(connection.headers, _EGRESS_HEADER) is None:
        return
    text = b""
    while len(text) < _REASON_MAX_BYTES and (data := await connection.chunk()):
        text += data
    raise Unanswered(text[:_REASON_MAX_BYTES].decode(errors="replace").strip())


def _written(request: Outgoing) -> bytes:
    """The request in the form for a proxy. Raises InvalidHead."""
    for name, _ in request.headers:
        # A workflow's author may choose it. With a colon or a space in it, it would be read as another one.
        if _NAME.fullmatch(name) is None:
            raise InvalidHead(f"cannot send a request: {name[:80]!r} is no name of a header")
    try:
        headers = [("host", urlsplit(request.url).netloc), *request.headers, ("content-length", str(len(request.body)))]
        lines = [heads.line(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        head = heads.request(request.method.encode("ascii"), request.url.encode("ascii"), lines)
    except UnicodeEncodeError as exc:
        raise InvalidHead("cannot send a request: its address or a header holds characters that no header has") from exc
    return head + request.body
