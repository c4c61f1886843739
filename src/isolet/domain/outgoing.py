"""Requests that a call made: of each when it began, and how it was answered. Bodies and queries are not kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

OUTGOING_MAX = 100
METHOD_MAX_CHARS, HOST_MAX_CHARS, PATH_MAX_CHARS = 20, 255, 512
_EVENT_BYTES = 40


class OutgoingEvent(NamedTuple):
    """Without `method` the end of the request with that number: `status` is null when no reply came."""

    number: int
    at_ms: int
    method: str | None
    host: str = ""
    path: str = ""
    status: int | None = None

    @property
    def size_bytes(self) -> int:
        return _EVENT_BYTES + len(self.host) + len(self.path)


class Outgoing(Struct, frozen=True, kw_only=True):
    """`duration_ms` is until the head of the reply was there, null while none is; `status` is null without a reply."""

    method: str
    host: str
    path: str
    began_at_ms: int
    status: int | None = None
    duration_ms: int | None = None


def read_event(number: Any, at_ms: int, told: list[Any]) -> OutgoingEvent | None:
    """An event as an instance tells it, within its bounds: `[method, host, path]`, or `[status]`. None: it is none."""
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= OUTGOING_MAX:
        return None
    if len(told) == 3 and all(isinstance(text, str) for text in told):
        method, host, path = told
        return OutgoingEvent(number, at_ms, method[:METHOD_MAX_CHARS], host[:HOST_MAX_CHARS], path[:PATH_MAX_CHARS])
    if len(told) != 1:
        return None
    status = told[0]
    known = isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 599
    return OutgoingEvent(number, at_ms, None, status=status if known else None)


def requests_of(events: Iterable[OutgoingEvent]) -> list[Outgoing]:
    """In the order in which they began."""
    found: dict[int, Outgoing] = {}
    for event in events:
        begun = found.get(event.number)
        if event.method is not None:
            if begun is None:
                found[event.number] = Outgoing(
                    method=event.method, host=event.host, path=event.path, began_at_ms=event.at_ms
                )
        elif begun is not None and begun.duration_ms is None:
            duration_ms = max(event.at_ms - begun.began_at_ms, 0)
            found[event.number] = replace(begun, status=event.status, duration_ms=duration_ms)
    return list(found.values())
