"""JSON replies of the management routes. What a tenant chose the size of is written in a thread, a part at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from fastapi import Response
from fastapi.responses import JSONResponse, StreamingResponse

from isolet.api.asgi import dumps
from isolet.domain.json_writing import write_json

T = TypeVar("T")
_JSON = "application/json"


class Json(JSONResponse):
    """Escapes all but ASCII, because what callers sent as `"\\ud800"` has no UTF-8."""

    def render(self, content: Any) -> bytes:
        return dumps(content)


async def large(shape: Callable[[], Any], status_code: int = 200) -> Response:
    """`shape` makes the value; it runs in a thread, as does the writing."""
    body = await asyncio.to_thread(lambda: write_json(shape()).encode())
    return Response(body, status_code=status_code, media_type=_JSON)


async def page_reply(shape: Callable[[T], Any], items: Sequence[T], next_cursor: str | None) -> Response:
    """`{"data": […], "next_cursor": …}` of what `shape` makes of each item."""
    data = await asyncio.to_thread(joined, shape, items)
    body = b'{"data":[' + data + b'],"next_cursor":' + dumps(next_cursor) + b"}"
    return Response(body, media_type=_JSON)


def streamed(
    member: str,
    shape: Callable[[T], Any],
    batches: AsyncIterator[Sequence[T]],
    others: Mapping[str, Any] | None = None,
) -> Response:
    """`{"<member>": […], …}`, written as the batches come and no faster than the caller reads. `others` follow."""

    async def parts() -> AsyncIterator[bytes]:
        before = b'{"' + member.encode() + b'":['
        async for batch in batches:
            if batch:
                yield before + await asyncio.to_thread(joined, shape, batch)
                before = b","
        after = b"," + dumps(dict(others))[1:] if others else b"}"
        yield (b"" if before == b"," else before) + b"]" + after

    return StreamingResponse(parts(), media_type=_JSON)


def joined(shape: Callable[[T], Any], items: Iterable[T]) -> bytes:
    """What is between the brackets of a list. One item at a time, since nothing else runs while JSON is written."""
    return b",".join(dumps(shape(item)) for item in items)
