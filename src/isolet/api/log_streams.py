"""Live log streams as replies: each takes one of its project's places until it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from isolet.ids import ProjectId
from isolet.observe.tail import Tail


class LogStreamResponse(StreamingResponse):
    """Server-sent events. Raises TooManyRequests when the project has `most` streams open."""

    def __init__(
        self, events: AsyncIterator[str], *, tail: Tail, project_id: ProjectId, most: int, headers: Mapping[str, str]
    ) -> None:
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._tail, self._project_id = tail, project_id
        tail.take_stream(project_id, most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._tail.give_stream(self._project_id)
