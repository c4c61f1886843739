"""The envelope `{id, event, context}`: what the host asks of an instance, and for which call.

It is JSON in one header, written here and read by `js/entry.js`: workerd turns the header into `request.cf`. Headers of
this name that callers send are dropped in `wire/headers.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from msgspec import Struct

from isolet.wire import heads

CALL_HEADER = "x-isolet-call"


class EventName(StrEnum):
    """The exports of `js/events.js`."""

    FETCH = "fetch"
    PROBE = "probe"
    SCHEDULED = "scheduled"


def _templates(rest: bytes) -> dict[EventName, bytes]:
    """A header line for each event, without the call's id and with `rest`."""
    name = CALL_HEADER.encode()
    return {event: heads.line(name, b'{"id":"%%b","event":"%b"%b}' % (event.encode(), rest)) for event in EventName}


_BARE, _WITH_CONTEXT = _templates(b""), _templates(b',"context":%b')


class Event(Struct, frozen=True, kw_only=True):
    """What the wrapper is to do with a request.

    `context` is a JSON object in ASCII, empty for none. It is a line of the head, so what may be large is in the body
    instead. `upgrade`: the function may answer 101 and go on as a WebSocket.
    """

    name: EventName = EventName.FETCH
    context: bytes = b""
    upgrade: bool = False

    @classmethod
    def of(cls, name: EventName, context: Mapping[str, Any]) -> Self:
        return cls(name=name, context=json.dumps(context, separators=(",", ":")).encode("ascii"))

    def line(self, call_id: bytes) -> bytes:
        """The envelope as a header line; `call_id` is empty where the host asks for itself."""
        if self.context:
            return _WITH_CONTEXT[self.name] % (call_id, self.context)
        return _BARE[self.name] % call_id


FETCH = Event()
SCHEDULED = Event(name=EventName.SCHEDULED)
PROBE = Event(name=EventName.PROBE)
# The isolate collects garbage before it answers.
COLLECT = Event.of(EventName.PROBE, {"collect": True})
