"""The legacy shape of replies: a JSON result under `data`, and anything else as a JSON string there.

What a function answers is whole before it is known to be JSON. It is kept as request bodies are: small in memory, large
on disk, counted against the budgets of the project and the server, and checked beside the loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from isolet.api.asgi import Message, Send, send_bytes
from isolet.api.body import Body, JsonForm, TextAsJsonForm
from isolet.domain.json_text import Verdict
from isolet.errors import HandlerFailed, TooLarge
from isolet.ids import ProjectId
from isolet.invoke.bodies import Bodies
from isolet.invoke.invoker import Reply
from isolet.invoke.spool import Spooled
from isolet.wire.headers import get

_BEFORE, _AFTER = b'{"data":', b"}"


class _ResultForm(JsonForm):
    """`is_json` tells whether it is: what is none is taken all the same."""

    def __init__(self, *, is_json: bool) -> None:
        super().__init__()
        self.is_json = is_json

    async def whole(self, body: bytes) -> bytes:
        return await super().whole(body) if self.is_json else body

    async def check(self, body: Spooled) -> None:
        if self.is_json:
            await super().check(body)

    def _hear(self, verdict: Verdict) -> None:
        self.is_json = verdict is Verdict.JSON


async def send_wrapped(send: Send, reply: Reply, bodies: Bodies, project_id: ProjectId, *, limit: int) -> None:
    """Raises HandlerFailed for a reply of more than `limit` bytes, ExecutionError, TooManyRequests, Unavailable."""

    async def receive() -> Message:
        data = await reply.chunk()
        return {"type": "http.request", "body": data, "more_body": bool(data)}

    told = {"headers": [header for header in reply.headers if header[0].lower() == b"content-length"]}
    form = _ResultForm(is_json=(get(reply.headers, b"content-type") or b"").lower().startswith(b"application/json"))
    try:
        with Body(told, receive, limit=limit, bodies=bodies, project_id=project_id) as opened:
            body = await opened.read(form)
            headers = [(b"content-type", b"application/json"), (b"x-invocation-id", reply.invocation_id.encode())]
            headers += [header for header in reply.headers if _rules_pages(header[0])]
            if isinstance(body, bytes):
                await send_bytes(send, reply.status, await _wrapped(body, is_json=form.is_json), headers)
                return
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            parts = body.parts() if form.is_json else _text(body, bodies)
            async for part in _around(parts):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
    except TooLarge as exc:
        raise HandlerFailed(f"The reply is larger than {limit} bytes") from exc
    finally:
        reply.close()


def _rules_pages(name: bytes) -> bool:
    """Pages of other origins may read what is wrapped, or not, as they might the reply itself."""
    return name == b"vary" or name.startswith(b"access-control-")


async def _wrapped(body: bytes, *, is_json: bool) -> bytes:
    if is_json:
        return _BEFORE + (body or b"null") + _AFTER
    return _BEFORE + (await TextAsJsonForm().whole(body) or b'""') + _AFTER


async def _around(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield _BEFORE
    async for part in parts:
        yield part
    yield _AFTER


async def _text(body: Spooled, bodies: Bodies) -> AsyncIterator[bytes]:
    form = TextAsJsonForm()
    async for part in body.parts():
        yield await bodies.run(lambda part=part: form.feed(part))  # type: ignore[misc]
    yield form.close()
