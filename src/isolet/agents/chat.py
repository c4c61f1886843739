"""Asks the model of a project: one question, one answer. It tries again when the model's server is busy."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from msgspec import Struct
from msgspec.structs import replace

from isolet.agents.models import OpenedModel
from isolet.clock import Clock
from isolet.domain.callbacks import retry_after_ms
from isolet.domain.chat import Answer, Asked, StreamedAnswer, error_text, read_answer, unsupported, without
from isolet.errors import Unanswered
from isolet.ids import ProjectId
from isolet.runtime.outgoing import Incoming, Outgoing, Requests

# What one answer may take, tries together, whatever time is left for the rest.
ANSWER_MAX_S = 300.0
REPLY_MAX_BYTES = 8 * 1_048_576
TRIES_MAX = 4
_AGAIN = frozenset({408, 429, 500, 502, 503, 504, 529})
_BAD_REQUEST = 400
_ERROR_MAX_BYTES = 65_536
_FIRST_DELAY_S, _DELAY_MAX_S = 1.0, 60.0
# Larger parts are read in a thread.
_SMALL_BYTES = 32_768
# Of a stream: it may have an event in eight bytes.
_SMALL_STREAMED_BYTES = 8_192


class Answered(Struct, frozen=True, kw_only=True):
    """`tries` counts the requests that it took, `duration_ms` all of them and the waiting between."""

    answer: Answer
    model: str
    tries: int
    duration_ms: int


class _Busy(Exception):
    def __init__(self, text: str, wait_s: float) -> None:
        super().__init__(text)
        self.wait_s = wait_s


class _Unsupported(Exception):
    def __init__(self, option: str) -> None:
        super().__init__(option)
        self.option = option


class Chat:
    """`model_of` gives the model of a project, and raises NotFound where there is none."""

    def __init__(
        self, *, model_of: Callable[[ProjectId], Awaitable[OpenedModel]], requests: Requests, clock: Clock
    ) -> None:
        self._model_of = model_of
        self._requests = requests
        self._clock = clock

    async def ask(self, project_id: ProjectId, asked: Asked, *, timeout_s: float = ANSWER_MAX_S) -> Answered:
        """The answer. Raises NotFound where the project has no model, Unanswered when there is no answer in time."""
        opened = await self._model_of(project_id)
        began, limit_s = time.monotonic(), min(timeout_s, ANSWER_MAX_S)
        tries = 0
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    tries += 1
                    try:
                        answer = await self._try(project_id, opened, asked)
                    except _Unsupported as exc:
                        # Each option can be left out once, so this ends.
                        asked = replace(asked, options=without(asked.options, exc.option))
                    except _Busy as busy:
                        await self._wait(str(busy), busy.wait_s, tries, limit_s - (time.monotonic() - began))
                    else:
                        duration_ms = round((time.monotonic() - began) * 1000)
                        return Answered(answer=answer, model=opened.model.model, tries=tries, duration_ms=duration_ms)
        except TimeoutError:
            raise Unanswered(f"the model did not answer within {limit_s:g} s") from None

    async def _wait(self, said: str, wanted_s: float, tries: int, left_s: float) -> None:
        """Raises Unanswered when waiting is of no use."""
        doubled_s = _FIRST_DELAY_S * 2 ** (tries - 1) * random.uniform(0.8, 1.2)  # noqa: S311 – spreads load
        delay_s = wanted_s or doubled_s
        if tries >= TRIES_MAX or delay_s > min(left_s, _DELAY_MAX_S):
            raise Unanswered(f"{said} (tried {tries} times)" if tries > 1 else said)
        await asyncio.sleep(delay_s)

    async def _try(self, project_id: ProjectId, opened: OpenedModel, asked: Asked) -> Answer:
        body = await asyncio.to_thread(asked.body, opened.model.model, stream=opened.model.streams)
        headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")]
        if opened.key is not None:
            headers.append(("authorization", f"Bearer {opened.key}"))
        url = f"{opened.model.base_url}/chat/completions"
        request = Outgoing(method="POST", url=url, headers=headers, body=body)
        async with self._requests.open(project_id, request) as reply:
            if not 200 <= reply.status < 300:
                await self._refused(reply, opened.key, asked)
            if reply.header("content-type").lower().startswith("text/event-stream"):
                return await _streamed(reply)
            data = await reply.read(REPLY_MAX_BYTES)
        return await asyncio.to_thread(read_answer, data) if len(data) > _SMALL_BYTES else read_answer(data)

    async def _refused(self, reply: Incoming, key: str | None, asked: Asked) -> None:
        """Raises _Unsupported, _Busy or Unanswered. Some servers repeat the key in what they say."""
        told = await reply.read(_ERROR_MAX_BYTES)
        if reply.status == _BAD_REQUEST and (option := unsupported(told, asked.options)) is not None:
            raise _Unsupported(option)
        text = error_text(reply.status, told)
        if key is not None:
            text = text.replace(key, "***")
        if reply.status in _AGAIN:
            wait_s = retry_after_ms(reply.header("retry-after"), self._clock.now_ms()) / 1000
            raise _Busy(text, wait_s)
        raise Unanswered(text)


async def _streamed(reply: Incoming) -> Answer:
    """Raises Unanswered."""
    streamed = StreamedAnswer()
    while not streamed.done and (data := await reply.chunk()):
        if reply.size_bytes > REPLY_MAX_BYTES:
            raise Unanswered(f"the model's stream is larger than {REPLY_MAX_BYTES} bytes")
        if len(data) + streamed.waiting_bytes > _SMALL_STREAMED_BYTES:
            await asyncio.to_thread(streamed.feed, data)
        else:
            streamed.feed(data)
    return await asyncio.to_thread(streamed.answer)
