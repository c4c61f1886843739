"""Plain ASGI on the path of calls: JSON in, a reply out with back-pressure."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pydantic_core import from_json

from isolet.domain.origins import Origin
from isolet.domain.strict_json import read_json
from isolet.errors import ExecutionError, RequestError
from isolet.invoke.invoker import Reply
from isolet.wire.callers import TOLD
from isolet.wire.exchange import BrokenReply
from isolet.wire.protocol import WHOLE

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
INVALID_JSON = "Invalid JSON in request"


def told_to_function(scope: Scope) -> Headers:
    """The headers that tell a function who calls it."""
    told: Headers = scope.get(TOLD, [])
    return told


def origin_of(scope: Scope, *, user_id: str | None = None) -> Origin:
    """For whom a call is made, as the functions that it calls are told."""
    return Origin(user_id=user_id, told=told_to_function(scope), scheme=scope["scheme"])


def with_query(path: bytes, query: bytes) -> bytes:
    """The target of a request line."""
    return path + b"?" + query if query else path


def is_plain_json(body: bytes) -> bool:
    """Whether it is JSON in UTF-8, by a quick look. For small bodies: it builds the value.

    What it refuses may be JSON all the same: halves of surrogate pairs, as JavaScript writes of a text that was cut,
    numbers of thousands of digits and deep nesting.
    """
    try:
        from_json(body, allow_inf_nan=False, cache_strings="none")
    except ValueError:
        return False
    return True


def parse_json(body: bytes) -> Any:
    """The value. Raises RequestError for anything but JSON in UTF-8, numbers beyond a double included."""
    try:
        return read_json(body.decode())
    except (ValueError, RecursionError) as exc:
        raise RequestError(INVALID_JSON) from exc


def dumps(content: Any) -> bytes:
    """JSON as every reply has it. It escapes all but ASCII, because what callers sent as `"\\ud800"` has no UTF-8."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


async def send_json(send: Send, status: int, body: Any, headers: Headers | None = None) -> None:
    content_type = (b"content-type", b"application/json")
    await send_bytes(send, status, dumps(body), [content_type, *(headers or [])])


async def send_bytes(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """A whole reply; its length is added."""
    await send({"type": WHOLE, "status": status, "headers": headers, "body": body})


async def send_reply(send: Send, reply: Reply) -> None:
    """Pass a function's reply on as it comes, with back-pressure.

    Raises ExecutionError while nothing was sent yet, and BrokenReply after: then the server cuts the connection, so
    that the caller cannot take the part for the whole.
    """
    if (body := reply.take_whole()) is not None:
        await send({"type": WHOLE, "status": reply.status, "headers": reply.headers, "body": body})
        return
    chunk = b""
    try:
        if reply.has_chunk:
            chunk = await reply.chunk()
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        while not reply.finish_if_read():
            if chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = await _next(reply)
        await send({"type": "http.response.body", "body": chunk})
    finally:
        reply.close()


async def _next(reply: Reply) -> bytes:
    try:
        return await reply.chunk()
    except ExecutionError as exc:
        raise BrokenReply from exc
