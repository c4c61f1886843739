"""Conversations with models in the form of OpenAI's chat completions: requests, and replies whole or as a stream.

Whoever answers may be anybody: what a reply must have is looked for, what else is in it is passed over, and its amounts
are bounded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from isolet.domain.strict_json import TOO_MANY, TooManyValues, read_writable
from isolet.errors import Unanswered

TEXT_MAX_CHARS = 1_048_576
ARGUMENTS_MAX_CHARS = 262_144
TOOL_CALLS_MAX = 32
LINE_MAX_BYTES = 1_048_576
_NAME_MAX_CHARS = 256
_SHOWN_CHARS = 300

Message = Mapping[str, Any]


class Offered(Struct, frozen=True, kw_only=True):
    """A tool as a model is told of it. `schema` is a JSON Schema of an object."""

    name: str
    description: str
    schema: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        function = {"name": self.name, "description": self.description, "parameters": dict(self.schema)}
        return {"type": "function", "function": function}


class Asked(Struct, frozen=True, kw_only=True):
    """What a model is asked. `options` are further members such as `temperature`; `tool` is one that it must call."""

    messages: Sequence[Message]
    tools: Sequence[Offered] = ()
    tool: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def body(self, model: str, *, stream: bool) -> bytes:
        """The request's body, in ASCII."""
        told: dict[str, Any] = {"model": model, "messages": list(self.messages), **self.options}
        if self.tools:
            told["tools"] = [tool.to_json() for tool in self.tools]
        if self.tool is not None:
            told["tool_choice"] = {"type": "function", "function": {"name": self.tool}}
        if stream:
            told |= {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps(told, separators=(",", ":")).encode()


class ToolCall(Struct, frozen=True, kw_only=True):
    """`arguments` is the text that the model wrote, which should be JSON."""

    id: str
    name: str
    arguments: str


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens, as the model's server counted them; 0 where it did not say."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def plus(self, other: Usage) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )

    def to_json(self) -> dict[str, int]:
        total = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": total,
        }


class Answer(Struct, frozen=True, kw_only=True):
    """`refusal` is what the model said instead of an answer."""

    text: str = ""
    tool_calls: Sequence[ToolCall] = ()
    finish_reason: str = ""
    refusal: str | None = None
    usage: Usage = field(default_factory=Usage)

    def message(self) -> dict[str, Any]:
        """As the conversation goes on with it."""
        told: dict[str, Any] = {"role": "assistant", "content": self.text or self.refusal or None}
        if self.tool_calls:
            told["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.tool_calls
            ]
        return told


def read_answer(body: bytes) -> Answer:
    """A whole reply. Raises Unanswered for one that is no answer."""
    told = _object(body)
    _check_error(told)
    choice = _first(told.get("choices"))
    message = choice.get("message") if choice is not None else None
    if choice is None or not isinstance(message, Mapping):
        raise Unanswered(f"the model's reply has no message: {_beginning(body)}")
    building = _Building()
    building.add(message)
    building.end(choice)
    building.count(told)
    return building.answer()


class StreamedAnswer:
    """Reads a reply that comes as server-sent events. Feed it what comes, then ask for `answer`."""

    def __init__(self) -> None:
        self._building = _Building()
        # A line that is not at its end.
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._events = 0
        self.done = False

    @property
    def waiting_bytes(self) -> int:
        """The size of the line that is not at its end, which is read with what comes."""
        return self._parts_bytes

    def feed(self, data: bytes) -> None:
        """Raises Unanswered."""
        if b"\n" in data:
            *lines, data = b"".join([*self._parts, data]).split(b"\n")
            self._parts, self._parts_bytes = [], 0
            for line in lines:
                self._line(line.removesuffix(b"\r"))
        self._parts.append(data)
        self._parts_bytes += len(data)
        if self._parts_bytes > LINE_MAX_BYTES:
            raise Unanswered("the model's stream has a line without end")

    def answer(self) -> Answer:
        """Raises Unanswered when the stream ended before its answer did."""
        self._line(b"".join(self._parts).removesuffix(b"\r"))
        if not self._events or not (self.done or self._building.finish_reason):
            raise Unanswered("the model's stream ended before its answer was complete")
        return self._building.answer()

    def _line(self, line: bytes) -> None:
        if self.done or not line.startswith(b"data:"):
            return
        data = line[5:].strip()
        if data == b"[DONE]":
            self.done = True
            return
        told = _object(data)
        _check_error(told)
        self._events += 1
        self._building.count(told)
        choice = _first(told.get("choices"))
        if choice is not None:
            delta = choice.get("delta")
            self._building.add(delta if isinstance(delta, Mapping) else {})
            self._building.end(choice)


class _Building:
    """An answer that comes in one part or in many."""

    def __init__(self) -> None:
        self.finish_reason = ""
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._chars = 0
        # By index: id, name, and the parts of the arguments.
        self._calls: dict[int, tuple[list[str], list[str], list[str]]] = {}
        self._usage = Usage()

    def add(self, message: Message) -> None:
        self._add_text(self._texts, _text(message.get("content")))
        self._add_text(self._refusals, _text(message.get("refusal")))
        calls = message.get("tool_calls")
        for place, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, Mapping):
                self._add_call(place, call)

    def _add_text(self, parts: list[str], text: str) -> None:
        self._chars += len(text)
        if self._chars > TEXT_MAX_CHARS:
            raise Unanswered(f"the model's answer has more than {TEXT_MAX_CHARS} characters")
        if text:
            parts.append(text)

    def _add_call(self, place: int, call: Message) -> None:
        index = call.get("index")
        index = index if isinstance(index, int) else place
        if index not in self._calls and len(self._calls) >= TOOL_CALLS_MAX:
            raise Unanswered(f"the model's answer has more than {TOOL_CALLS_MAX} calls of tools")
        ids, names, arguments = self._calls.setdefault(index, ([], [], []))
        function = call.get("function")
        function = function if isinstance(function, Mapping) else {}
        if isinstance(call.get("id"), str) and not ids:
            ids.append(call["id"][:_NAME_MAX_CHARS])
        self._add_text(names, _text(function.get("name")))
        given = function.get("arguments")
        # Some servers send the object itself.
        self._add_text(arguments, json.dumps(given) if isinstance(given, Mapping) else _text(given))

    def end(self, choice: Message) -> None:
        if isinstance(choice.get("finish_reason"), str):
            self.finish_reason = choice["finish_reason"][:_NAME_MAX_CHARS]

    def count(self, told: Message) -> None:
        usage = told.get("usage")
        if isinstance(usage, Mapping):
            self._usage = Usage(
                prompt_tokens=_tokens(usage.get("prompt_tokens")),
                completion_tokens=_tokens(usage.get("completion_tokens")),
            )

    def answer(self) -> Answer:
        calls = []
        for index, (ids, names, arguments) in sorted(self._calls.items()):
            text = "".join(arguments)
            if len(text) > ARGUMENTS_MAX_CHARS:
                raise Unanswered(f"the arguments of a tool's call have more than {ARGUMENTS_MAX_CHARS} characters")
            name = "".join(names)[:_NAME_MAX_CHARS]
            calls.append(ToolCall(id=ids[0] if ids else f"call_{index}", name=name, arguments=text))
        return Answer(
            text="".join(self._texts),
            tool_calls=tuple(calls),
            finish_reason=self.finish_reason,
            refusal="".join(self._refusals) or None,
            usage=self._usage,
        )


def error_text(status: int, body: bytes) -> str:
    """What a reply that is no success says went wrong."""
    said = _beginning(body)
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return f"the model's server answered {status}: {said}" if said else f"the model's server answered {status}"
    if isinstance(told, Mapping) and (text := _error_of(told)):
        said = text
    return f"the model's server answered {status}: {said}"


def unsupported(body: bytes, options: Mapping[str, Any]) -> str | None:
    """Which of the options a server refuses that answered 400, as OpenAI's does for some of its models."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return None
    error = told.get("error") if isinstance(told, Mapping) else None
    if not isinstance(error, Mapping):
        return None
    text = str(error.get("message") or "")[:_SHOWN_CHARS]
    refused = str(error.get("code") or "").startswith("unsupported") or "not support" in text or "nsupported" in text
    named = [name for name in options if name == error.get("param") or f"'{name}'" in text or f"`{name}`" in text]
    return named[0] if refused and named else None


def without(options: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The options less one; models that take no `max_tokens` know it by another name."""
    left = {other: value for other, value in options.items() if other != name}
    return {**left, "max_completion_tokens": options[name]} if name == "max_tokens" else left


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        told = read_writable(body)
    except TooManyValues as exc:
        raise Unanswered(f"the model's reply {TOO_MANY}") from exc
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, Mapping):
        raise Unanswered(f"the model's reply is no JSON object: {_beginning(body)}")
    return told


def _check_error(told: Mapping[str, Any]) -> None:
    """Some servers answer 200 and tell of the error inside. Raises Unanswered."""
    if told.get("error"):
        raise Unanswered(f"the model's server answered with an error: {_error_of(told)}")


def _error_of(told: Mapping[str, Any]) -> str:
    error = told.get("error")
    if isinstance(error, Mapping):
        error = error.get("message")
    return str(error or told.get("message") or "")[:_SHOWN_CHARS]


def _first(value: Any) -> Mapping[str, Any] | None:
    return value[0] if isinstance(value, list) and value and isinstance(value[0], Mapping) else None


def _text(value: Any) -> str:
    """Of text, or of a list of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, Mapping))
    return ""


def _tokens(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**53 else 0


def _beginning(body: bytes) -> str:
    return " ".join(body[:_SHOWN_CHARS].decode(errors="replace").split())
