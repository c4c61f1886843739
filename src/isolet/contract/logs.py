"""What functions print: the lines outside of calls, and live streams."""

from __future__ import annotations

import json
from typing import Self

from msgspec import Struct

from isolet.contract.invocations import ConsoleLineReply
from isolet.contract.models import Number, Page, Reply, read
from isolet.contract.operations import Mode, Resource, operation, stream

_LAST_EVENT = {"after": "last-event-id"}


class LogLine(Reply):
    """`invocation_id` is null of a line that was printed outside of a call."""

    function_id: str
    function_name: str
    invocation_id: str | None
    level: str
    at: str
    message: str
    stack: str | None
    truncated: bool


class CallEnd(Reply):
    function_id: str
    function_name: str
    invocation_id: str
    level: str
    at: str
    status_code: int | None
    duration_ms: Number
    error: str | None


class Missed(Reply):
    """So many events were not sent, because the reader was too slow or away for too long; null when nobody counted."""

    count: int | None


class LogEvent(Struct, frozen=True, kw_only=True):
    """`id` is the `after` of a stream that goes on behind it; a `Missed` has none."""

    id: str | None
    data: LogLine | CallEnd | Missed

    @classmethod
    def from_event(cls, name: str, event_id: str | None, data: str) -> Self | None:
        """From a server-sent event; None for a kind of event that this version does not know."""
        kind = _KINDS.get(name)
        return None if kind is None else cls(id=event_id, data=read(kind, json.loads(data)))


_KINDS: dict[str, type[LogLine] | type[CallEnd] | type[Missed]] = {"line": LogLine, "end": CallEnd, "missed": Missed}


class Logs(Resource[Mode]):
    tag = "logs"

    @stream("GET", "/logs/stream", headers=_LAST_EVENT, media_type="text/event-stream")
    def follow(
        self,
        *,
        project: str | None = None,
        function: str | None = None,
        level: str | None = None,
        q: str | None = None,
        after: str | None = None,
    ) -> LogEvent:
        """Console lines and ends of calls of a project, as they happen."""

    @stream("GET", "/functions/{function_id}/logs/stream", headers=_LAST_EVENT, media_type="text/event-stream")
    def follow_function(
        self, function_id: str, *, level: str | None = None, q: str | None = None, after: str | None = None
    ) -> LogEvent:
        """Console lines and ends of calls of a function, as they happen."""

    @operation("GET", "/functions/{function_id}/logs")
    def list_own_lines(self, function_id: str) -> Page[ConsoleLineReply]:
        """What the function printed outside of calls, oldest first."""
