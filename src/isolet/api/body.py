"""A request's body: bounded, counted against its project, small ones in memory and large ones on disk."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import AsyncIterator
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from isolet.api.asgi import INVALID_JSON, Message, Receive, Scope, is_plain_json
from isolet.domain.json_text import PIECE_BYTES, Verdict, judge
from isolet.errors import ClientDisconnected, RequestError, TooLarge
from isolet.ids import ProjectId
from isolet.invoke import spool
from isolet.invoke.bodies import Bodies, Hold
from isolet.invoke.spool import PART_BYTES, Spooled

# Up to here a body is read into memory.
SMALL_BYTES = 262_144
# And up to here it is not counted: a request's head may be larger.
FREE_BYTES = 16_384


class Form(spool.Reader, Protocol):
    """What a body must be. `whole` is for small ones; others may be `growth` times as large on disk.

    `whole` and `check` raise RequestError for what they refuse.
    """

    growth: int

    async def whole(self, body: bytes) -> bytes: ...
    async def check(self, body: Spooled) -> None: ...


class Body:
    """At most `limit` bytes. What it holds is given back when it is closed, with all that was made of it."""

    __slots__ = (
        "_bodies",
        "_ended",
        "_hold",
        "_is_chunked",
        "_limit",
        "_project_id",
        "_read",
        "_receive",
        "_spooled",
        "_text",
        "_told",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        *,
        limit: int,
        bodies: Bodies,
        project_id: ProjectId,
        too_large: str | None = None,
    ) -> None:
        """`too_large` is what the error says instead of its usual text. Raises TooLarge when the request says it is."""
        self._text = too_large or f"Request body is larger than {limit // (1024 * 1024)} MB"
        self._receive = receive
        self._limit = limit
        self._bodies = bodies
        self._project_id = project_id
        self._read = 0
        self._ended = False
        self._hold: Hold | None = None
        self._spooled: Spooled | None = None
        # Neither is there twice.
        headers = dict(scope["headers"])
        length = headers.get(b"content-length")
        self._told = None if length is None else int(length)
        self._is_chunked = b"transfer-encoding" in headers
        if self._told is not None and self._told > limit:
            raise self._too_large()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._spooled is not None:
            self._spooled.close()
        if self._hold is not None:
            self._hold.close()

    async def small_or_parts(self) -> bytes | Spooled | AsyncIterator[bytes]:
        """A small body is read before the call, which can be made again then where an instance has just ended."""
        if self._is_chunked or (self._told is not None and self._told > SMALL_BYTES):
            return self.parts()
        return await self.read()

    async def read(self, form: Form | None = None) -> bytes | Spooled:
        """All of it, in `form`. Raises TooLarge, ClientDisconnected, TooManyRequests, Unavailable, RequestError."""
        first = self._take(await self._receive())
        if self._ended and len(first) <= SMALL_BYTES:
            if len(first) > FREE_BYTES:
                await self._held().memory(len(first))
            return first if form is None else await form.whole(first)
        parts = [first]
        if await self._gather(parts):
            body = b"".join(parts)
            return body if form is None else await form.whole(body)
        return await self._spool(parts, form)

    async def whole(self, form: Form | None = None) -> bytes:
        """The same, in memory whatever its size."""
        body = await self.read(form)
        return body if isinstance(body, bytes) else await body.read()

    async def parts(self) -> AsyncIterator[bytes]:
        """As it comes."""
        if self._told is None or self._told > FREE_BYTES:
            await self._held().memory(spool.READING_BYTES)
        while not self._ended:
            yield await self._next()

    async def gone(self) -> None:
        """Returns when the caller has left; to be called after the body's end."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _gather(self, parts: list[bytes]) -> bool:
        """Whether it has ended, as a small one."""
        if self._told is None:
            await self._receive_up_to(FREE_BYTES, parts)
            if self._ended and self._read <= FREE_BYTES:
                return True
        expected = SMALL_BYTES if self._told is None else self._told
        if expected <= SMALL_BYTES:
            if expected > FREE_BYTES:
                await self._held().memory(expected)
            await self._receive_up_to(SMALL_BYTES, parts)
        return self._ended and self._read <= SMALL_BYTES

    async def _receive_up_to(self, size: int, parts: list[bytes]) -> None:
        while not self._ended and self._read <= size:
            parts.append(await self._next())

    async def _next(self) -> bytes:
        """What comes next; who has brought much takes turns with others."""
        if self._read > FREE_BYTES:
            await self._bodies.rounds.wait(self._project_id)
        return self._take(await self._receive())

    async def _spool(self, parts: list[bytes], form: Form | None) -> Spooled:
        hold = self._held()
        await hold.memory(spool.READING_BYTES)
        # Nobody waits for more when it holds a part already.
        growth = 1 if form is None else form.growth
        await hold.disk(growth * (self._limit if self._told is None else self._told))
        self._spooled = spooled = await self._bodies.run(lambda: Spooled(self._bodies, hold))
        while parts:
            await spooled.write(b"".join(parts), form)
            parts.clear()
            await self._receive_up_to(self._read + PART_BYTES, parts)
        await spooled.end(form)
        if form is not None:
            await form.check(spooled)
        return spooled

    def _held(self) -> Hold:
        if self._hold is None:
            self._hold = Hold(self._bodies, self._project_id)
        return self._hold

    def _take(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            raise ClientDisconnected("the caller left before its request was complete")
        self._ended = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        self._read += len(chunk)
        if self._read > self._limit:
            raise self._too_large()
        return chunk

    def _too_large(self) -> TooLarge:
        return TooLarge(self._text)


class JsonForm:
    """JSON, which is passed on as it came; at most `values_max` values, where that is bounded."""

    growth = 1

    def __init__(self, values_max: int | None = None) -> None:
        self._values_max = values_max
        self.has_too_many = False

    async def whole(self, body: bytes) -> bytes:
        if body and not is_plain_json(body):
            await self._look_closely(body)
        return body

    async def check(self, body: Spooled) -> None:
        self._hear(await body.judge_json(self._values_max))

    def feed(self, data: bytes) -> bytes:
        return data

    def close(self) -> bytes:
        return b""

    async def _look_closely(self, body: bytes) -> None:
        """Raises RequestError. For each character it takes ten times as long as the quick look does."""
        look = partial(judge, [body], self._values_max)
        self._hear(look() if len(body) <= PIECE_BYTES else await asyncio.to_thread(look))

    def _hear(self, verdict: Verdict) -> None:
        if verdict is Verdict.TOO_MANY_VALUES:
            self.has_too_many = True
            raise RequestError(f"The request's JSON has more than {self._values_max} values")
        if verdict is Verdict.NO_JSON:
            raise RequestError(INVALID_JSON)


class TextAsJsonForm:
    """Text, which becomes a JSON string; what is no UTF-8 in it is replaced."""

    growth = 6

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = b'"'

    async def whole(self, body: bytes) -> bytes:
        return json.dumps(body.decode(errors="replace")).encode() if body else b""

    async def check(self, body: Spooled) -> None:
        """Any text is one."""

    def feed(self, data: bytes) -> bytes:
        begun, self._begun = self._begun, b""
        return begun + json.dumps(self._decoder.decode(data)).encode()[1:-1]

    def close(self) -> bytes:
        begun, self._begun = self._begun, b""
        return begun + json.dumps(self._decoder.decode(b"", final=True)).encode()[1:]
