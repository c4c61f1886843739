import json

import pytest
from msgspec.structs import replace

from isolet.runtime.envelope import CALL_HEADER, COLLECT, FETCH, PROBE, SCHEDULED, Event, EventName
from isolet.wire import heads

NOTHING = ""


def read(event: Event, call_id: str = NOTHING) -> object:
    name, _, value = event.line(call_id.encode()).partition(b": ")
    assert name.decode() == CALL_HEADER
    assert value.endswith(b"\r\n")
    return json.loads(value)


@pytest.mark.parametrize(
    ("event", "envelope"),
    [
        (FETCH, {"id": "c1", "event": "fetch"}),
        (SCHEDULED, {"id": "c1", "event": "scheduled"}),
        (PROBE, {"id": "c1", "event": "probe"}),
        (COLLECT, {"id": "c1", "event": "probe", "context": {"collect": True}}),
        (Event.of(EventName.FETCH, {"user": None}), {"id": "c1", "event": "fetch", "context": {"user": None}}),
        (replace(FETCH, upgrade=True), {"id": "c1", "event": "fetch"}),
    ],
)
def test_an_envelope_says_which_event_it_is_for_which_call(event: Event, envelope: object) -> None:
    assert read(event, "c1") == envelope


@pytest.mark.parametrize("text", ["a\r\nx-isolet-call: {}", "\x00", "\ud800", '"}', "%b %d", "\u2028ünï"])
def test_whatever_a_context_holds_is_one_line_of_ascii(text: str) -> None:
    event = Event.of(EventName.FETCH, {"user": {"id": text}, text: 1})

    head = heads.request(b"GET", b"/", [heads.line(b"host", b"a"), event.line(b"c1")])

    assert head.isascii()
    assert read(event) == {"id": "", "event": "fetch", "context": {"user": {"id": text}, text: 1}}
