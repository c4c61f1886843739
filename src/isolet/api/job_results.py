"""Shows the state of an asynchronous call with its result, which may be large: it is read and written in parts."""

from __future__ import annotations

import asyncio
import base64
import codecs
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from fastapi import Response
from fastapi.responses import StreamingResponse

from isolet.api.asgi import dumps
from isolet.api.reply import large
from isolet.domain.http_jobs import ReplyHead
from isolet.ids import JobId
from isolet.jobs.queue import RESULT_PART_BYTES, Jobs, Status

_PLACE = "result"


async def status_reply(
    jobs: Jobs,
    status: Status,
    shown: Mapping[str, Any],
    *,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """`shown` with `result`: `{status, headers, body, encoding}` of a call that has one, else null.

    `body` is text where it is UTF-8; else it is in base64, and `encoding` says so.
    """
    call = status.call
    head = ReplyHead.of(call)
    if not call.state.ended or head is None:
        reply = await large(lambda: {**shown, _PLACE: None}, status_code)
        reply.headers.update(headers or {})
        return reply
    result = {"status": head.status, "headers": [list(header) for header in head.headers]}
    first = await jobs.result_part(call.id, 0)
    if len(first) < RESULT_PART_BYTES:
        reply = await large(lambda: {**shown, _PLACE: {**result, **_body(first)}}, status_code)
        reply.headers.update(headers or {})
        return reply
    encoding, encoded = ("utf-8", _text) if await _is_text(jobs, call.id) else ("base64", _base64)
    beginning = await asyncio.to_thread(lambda: dumps({**shown, _PLACE: {**result, "encoding": encoding, "body": ""}}))
    parts = _parts(jobs, call.id, beginning, encoded())
    return StreamingResponse(parts, status_code=status_code, headers=headers, media_type="application/json")


def _body(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode(), "encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(body).decode(), "encoding": "base64"}


async def _parts(
    jobs: Jobs, job_id: JobId, beginning: bytes, encoded: Callable[[bytes, bool], bytes]
) -> AsyncIterator[bytes]:
    """`beginning` ends with the empty text that the parts go into, and two braces."""
    yield beginning[:-3]
    async for part in _raw(jobs, job_id):
        yield await asyncio.to_thread(encoded, part, False)
    yield encoded(b"", True) + beginning[-3:]


async def _raw(jobs: Jobs, job_id: JobId) -> AsyncIterator[bytes]:
    start = 0
    while part := await jobs.result_part(job_id, start):
        yield part
        start += len(part)


async def _is_text(jobs: Jobs, job_id: JobId) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        async for part in _raw(jobs, job_id):
            await asyncio.to_thread(decoder.decode, part)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _text() -> Callable[[bytes, bool], bytes]:
    """Writes bytes as they go into a text of JSON, characters that end in the next part with that one."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    return lambda part, final: json.dumps(decoder.decode(part, final))[1:-1].encode()


def _base64() -> Callable[[bytes, bool], bytes]:
    """Three bytes are four letters, so what is left over waits for the next part."""
    rest = b""

    def encoded(part: bytes, final: bool) -> bytes:
        nonlocal rest
        held = rest + part
        whole = len(held) if final else len(held) // 3 * 3
        rest = held[whole:]
        return base64.b64encode(held[:whole])

    return encoded
