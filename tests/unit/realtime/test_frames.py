"""Frames that clients may send, read and written without a connection."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isolet.domain.realtime import Message
from isolet.ids import ProjectId
from isolet.realtime import frames
from isolet.realtime.frames import EventSent, Refused
from isolet.realtime.socket import text_frame

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=40)
@given(JSON, st.text(min_size=1))
def test_any_payload_is_passed_on_as_ascii(payload: object, event: str) -> None:
    frame = frames.read(json.dumps({"type": "event", "event": event, "payload": payload, "id": "i"}))
    assert isinstance(frame, EventSent)
    assert (frame.event, frame.id) == (event, "i")
    assert frame.payload is not None
    assert frame.payload.isascii()
    assert json.loads(frame.payload) == payload
    answer = frames.event_response(event, frame.payload, frame.id)
    assert json.loads(answer) == {"type": "event_response", "event": event, "id": "i", "data": payload}
    assert text_frame(answer)


def answer_to(text: str) -> str | None:
    """The error that a frame gets; None for one that is read."""
    try:
        frames.read(text)
    except Refused as exc:
        return frames.error(exc.message, exc.id)
    return None


@pytest.mark.parametrize("depth", [70, 950, 5_000])
def test_a_filter_of_any_depth_is_told_back_or_refused(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    told = answer_to(f'{{"type": "subscribe", "table": "t", "filter": {{"a": {nested}}}}}')
    assert told is not None
    assert json.loads(told)["type"] == "error"


@settings(max_examples=40)
@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        frames.read(text)
    assert json.loads(frames.error(refused.value.message, refused.value.id))["type"] == "error"


@settings(max_examples=40)
@given(JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    for frame in (
        value,
        {"type": value},
        {"type": "event", "event": value, "id": value},
        {"type": "subscribe", "channel": value},
    ):
        told = answer_to(json.dumps(frame))
        assert told is None or json.loads(told)["type"] == "error"


def test_an_id_is_a_number_or_a_short_text() -> None:
    for given_, echoed in (("a", "a"), (0, 0), (1.5, 1.5), (True, None), ("x" * 201, None), ([1], None), (None, None)):
        with pytest.raises(Refused) as refused:
            frames.read(json.dumps({"type": "event", "id": given_}))
        assert refused.value.id == echoed


def test_a_message_is_written_with_its_data_as_it_is() -> None:
    told = Message(project_id=ProjectId("p"), channel="c☃", seq=7, event="e", data='{"a":"\\ud800"}')
    assert json.loads(frames.message(told)) == {
        "type": "message",
        "channel": "c☃",
        "event": "e",
        "seq": 7,
        "data": {"a": "\ud800"},
    }


def test_a_number_of_thousands_of_digits_is_no_json_here() -> None:
    with pytest.raises(Refused, match="Invalid JSON"):
        frames.read('{"type":"event","event":"e","payload":' + "9" * 5_000 + "}")
