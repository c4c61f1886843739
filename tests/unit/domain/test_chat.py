"""Answers of models, whole and as streams: what is read of them, and what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from isolet.domain.chat import (
    TEXT_MAX_CHARS,
    TOOL_CALLS_MAX,
    Answer,
    Asked,
    Offered,
    StreamedAnswer,
    Usage,
    error_text,
    read_answer,
)
from isolet.errors import Unanswered


def whole(message: Any, **members: Any) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], **members}).encode()


def streamed(*chunks: Any, piece: int = 7, end: bytes = b"data: [DONE]\n\n") -> Answer:
    """The answer of a stream that comes in small pieces."""
    data = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + end
    reader = StreamedAnswer()
    for start in range(0, len(data), piece):
        reader.feed(data[start : start + piece])
    return reader.answer()


def delta(finish_reason: str | None = None, **members: Any) -> dict[str, Any]:
    return {"choices": [{"delta": members, "finish_reason": finish_reason}]}


def test_a_question() -> None:
    tool = Offered(name="look", description="Looks", schema={"type": "object"})
    asked = Asked(
        messages=[{"role": "user", "content": "\ud800"}], tools=[tool], tool="look", options={"max_tokens": 3}
    )
    told = json.loads(asked.body("m", stream=True))
    assert told == {
        "model": "m",
        "messages": [{"role": "user", "content": "\ud800"}],
        "max_tokens": 3,
        "tools": [
            {"type": "function", "function": {"name": "look", "description": "Looks", "parameters": {"type": "object"}}}
        ],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_whole_answer() -> None:
    calls = [
        {"id": "a", "type": "function", "function": {"name": "one", "arguments": '{"x": 1}'}},
        {"function": {"name": "two", "arguments": {"y": 2}}},
    ]
    answer = read_answer(
        whole({"content": None, "tool_calls": calls}, usage={"prompt_tokens": 3, "completion_tokens": 4})
    )
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == [
        ("a", "one", '{"x": 1}'),
        ("call_1", "two", '{"y": 2}'),
    ]
    assert answer.usage == Usage(prompt_tokens=3, completion_tokens=4)
    assert read_answer(whole({"content": [{"type": "text", "text": "a"}, {"text": "b"}]})).text == "ab"
    assert read_answer(whole({"refusal": "no"})).refusal == "no"
    assert read_answer(whole({}, usage={"prompt_tokens": -1, "completion_tokens": "x"})) == Answer(finish_reason="stop")


def test_a_streamed_answer() -> None:
    answer = streamed(
        delta(content="he"),
        delta(content="llo", tool_calls=[{"index": 1, "id": "b", "function": {"name": "two", "arguments": ""}}]),
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "one"}}]),
        delta(
            tool_calls=[{"index": 0, "function": {"arguments": '{"x"'}}, {"index": 1, "function": {"arguments": "{}"}}]
        ),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
        delta("tool_calls"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
    )
    assert (answer.text, answer.finish_reason) == ("hello", "tool_calls")
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == [
        ("a", "one", '{"x": 1}'),
        ("b", "two", "{}"),
    ]
    assert answer.usage.to_json()["total_tokens"] == 7


def test_a_stream_without_an_end_mark_is_whole_when_it_says_why_it_ended() -> None:
    assert streamed(delta(content="a"), delta("stop"), end=b"").text == "a"
    with pytest.raises(Unanswered, match="before its answer was complete"):
        streamed(delta(content="a"), end=b"")
    with pytest.raises(Unanswered, match="before its answer was complete"):
        streamed()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<h1>Bad gateway</h1>", "no JSON object: <h1>Bad gateway</h1>"),
        (b"[" * 100_000, "no JSON object"),
        (b"\xff\xfe", "no JSON object"),
        (b"{}", "has no message"),
        (b'{"choices": [{"message": 1}]}', "has no message"),
        (b'{"error": {"message": "over quota"}}', "over quota"),
        (whole({"content": "x" * (TEXT_MAX_CHARS + 1)}), "more than 1048576 characters"),
        (whole({"tool_calls": [{"function": {"name": "a"}}] * (TOOL_CALLS_MAX + 1)}), "more than 32 calls"),
        (whole({"tool_calls": [{"function": {"name": "a", "arguments": "x" * 300_000}}]}), "more than 262144"),
    ],
)
def test_what_is_no_answer(body: bytes, said: str) -> None:
    with pytest.raises(Unanswered, match=said):
        read_answer(body)


def test_a_stream_of_nonsense() -> None:
    for data, said in ((b"data: nonsense\n\n", "no JSON object"), (b'data: {"error": "gone"}\n\n', "gone")):
        with pytest.raises(Unanswered, match=said):
            StreamedAnswer().feed(data)
    endless = StreamedAnswer()
    endless.feed(b"x" * 1_000_000)
    with pytest.raises(Unanswered, match="a line without end"):
        endless.feed(b"x" * 100_000)


def test_the_text_of_an_error() -> None:
    assert error_text(401, b'{"error": {"message": "wrong key"}}') == "the model's server answered 401: wrong key"
    assert error_text(500, b"<h1>oh</h1>") == "the model's server answered 500: <h1>oh</h1>"
    assert error_text(500, b"") == "the model's server answered 500"
    assert len(error_text(500, b'{"message": "' + b"x" * 9_000 + b'"}')) < 400
