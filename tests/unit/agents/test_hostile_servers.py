"""What models and servers of tools send is read beside the event loop, however it is cut, and in linear time."""

from __future__ import annotations

import json
import time
from collections import deque

import pytest

from isolet.agents.chat import _streamed as streamed_answer
from isolet.agents.decisions import chosen
from isolet.agents.mcp_client import _streamed as streamed_result
from isolet.domain.chat import Answer
from isolet.domain.mcp_messages import EventStream
from isolet.errors import Unanswered
from isolet.runtime.outgoing import Incoming


class Reply(Incoming):
    """A reply whose body comes in these parts."""

    def __init__(self, *parts: bytes) -> None:
        self.size_bytes = 0
        self._parts = deque(parts)

    async def chunk(self) -> bytes:
        data = self._parts.popleft() if self._parts else b""
        self.size_bytes += len(data)
        return data


class Beside:
    """Around work, most of which is to be beside the loop."""

    def __enter__(self) -> None:
        self._loop_s, self._whole_s = time.thread_time(), time.process_time()

    def __exit__(self, *_: object) -> None:
        assert time.thread_time() - self._loop_s < (time.process_time() - self._whole_s) / 4


MODEL_END = b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
RESULT = b'data: {"jsonrpc":"2.0","id":7,"result":{"ok":1}}\n\n'


@pytest.mark.parametrize(
    "parts",
    [
        [b"data:{}\n" * 32_000, MODEL_END],
        [b"data:{}\n" * 3_500] * 8 + [MODEL_END],
        # The end of a long line is short.
        [b'data:{"a":[' + b"1.5," * 64_000, b"0]}\n", MODEL_END],
    ],
)
async def test_a_models_stream_of_many_or_large_events_is_read_beside_the_loop(parts: list[bytes]) -> None:
    with Beside():
        answer = await streamed_answer(Reply(*parts))
    assert answer.text == "hi"


async def test_the_last_line_of_a_models_stream_is_read_beside_the_loop() -> None:
    large = b'data:{"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}],"a":[' + b"1.5," * 64_000 + b"0]}"
    with Beside():
        answer = await streamed_answer(Reply(large))
    assert answer.text == "hi"


@pytest.mark.parametrize(
    "parts",
    [
        [b"data:{}\n\n" * 28_000, RESULT],
        [b"data:{}\n\n" * 3_000] * 8 + [RESULT],
        [b"\n" * 900_000, RESULT],
        [b'data:{"a":[' + b"1.5," * 64_000, b"0]}\n\n", RESULT],
        [b'data:{"id":7,"result":{"ok":1,"a":[' + b"1.5," * 64_000 + b"0]}}\n"],
    ],
)
async def test_a_stream_of_an_mcp_server_is_read_beside_the_loop(parts: list[bytes]) -> None:
    with Beside():
        told = await streamed_result(Reply(*parts), 7)
    assert told is not None
    assert told["ok"] == 1


@pytest.mark.parametrize("size", [1, 3, 1_000])
def test_events_are_found_however_they_are_cut(size: int) -> None:
    stream = (
        b': hello\r\nevent: message\r\ndata: {"method":"x",\r\ndata: "id":7}\r\n\r\ndata: {"id":8,"result":{}}\n\n'
        + RESULT
    )
    events = EventStream(7)
    told = [events.feed(stream[at : at + size]) for at in range(0, len(stream), size)]
    assert [one for one in told if one is not None] == [{"ok": 1}]


def test_a_stream_ends_with_an_event_or_with_none() -> None:
    events = EventStream(7)
    assert events.feed(RESULT.removesuffix(b"\n")) is None
    assert events.end() == {"ok": 1}
    assert EventStream(7).end() is None
    with pytest.raises(Unanswered, match="no message"):
        EventStream(7).feed(b"data: 1\n\n")


def test_which_label_an_answer_names_takes_no_longer_with_many_labels() -> None:
    text = "\u017f" * 1_000_000

    def taken_s(labels: int) -> float:
        began_s = time.thread_time()
        assert chosen(Answer(text=text), [f"label {number}" for number in range(labels)]) == (None, "")
        return time.thread_time() - began_s

    assert min(taken_s(50) for _ in range(3)) < 10 * max(taken_s(1) for _ in range(3))


@pytest.mark.parametrize(
    ("text", "named"),
    [(" `Stra\u00dfe`. ", "STRASSE"), ('"yes".', "Yes"), ("no way", None), (json.dumps({"label": "Yes"}), "Yes")],
)
def test_a_label_is_found_in_a_text(text: str, named: str | None) -> None:
    assert chosen(Answer(text=text), ["STRASSE", "Yes", "No"])[0] == named
