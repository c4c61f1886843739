"""A server of models on 127.0.0.1 that speaks OpenAI's chat completions, and says what the test wrote for it.

It answers each request with the next of its `script`; the last one stays. It checks what a real server checks: that
each call of a tool is answered before the conversation goes on.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from msgspec import Struct, field

from tests.support.world import serving

_HOLD_S = 120.0


class Says(Struct, frozen=True, kw_only=True):
    """An answer: text, calls of tools as `(name, arguments)` (text goes as it is), or a refusal."""

    text: str | None = None
    calls: Sequence[tuple[str, Any]] = ()
    refusal: str | None = None
    finish_reason: str | None = None
    tokens: tuple[int, int] = (10, 5)

    def message(self, number: int) -> dict[str, Any]:
        told: dict[str, Any] = {"role": "assistant", "content": self.text, "refusal": self.refusal}
        if self.calls:
            told["tool_calls"] = [
                {
                    "id": f"call_{number}_{place}",
                    "type": "function",
                    "function": {"name": name, "arguments": given if isinstance(given, str) else json.dumps(given)},
                }
                for place, (name, given) in enumerate(self.calls)
            ]
        return told

    @property
    def reason(self) -> str:
        return self.finish_reason or ("tool_calls" if self.calls else "stop")


class Raw(Struct, frozen=True, kw_only=True):
    """Anything else: a status, headers and a body. With `hold` it comes when the test says so, or never."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    body: bytes = b""
    hold: bool = False


BUSY = Raw(status=429, headers={"retry-after": "1"}, body=b'{"error": {"message": "Rate limit reached"}}')


class ModelServer:
    """`asked` are the bodies of the requests, `headers` those of the newest."""

    def __init__(self, *script: Says | Raw) -> None:
        self.script: list[Says | Raw] = list(script) or [Says(text="hello")]
        self.asked: list[dict[str, Any]] = []
        self.headers: Mapping[str, str] = {}
        self.free = threading.Event()
        # Instead of the script, where it is set.
        self.choose: Callable[[dict[str, Any]], Says | Raw] | None = None
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                model.headers = {name.lower(): value for name, value in self.headers.items()}
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self.path != "/v1/chat/completions":
                    self._send(404, {}, b'{"error": {"message": "no such path"}}')
                    return
                model.asked.append(asked)
                if (fault := _fault(asked["messages"])) is not None:
                    self._send(400, {}, json.dumps({"error": {"message": fault}}).encode())
                    return
                said = model.next_answer(asked)
                if isinstance(said, Raw):
                    if said.hold:
                        model.free.wait(_HOLD_S)
                    self._send(said.status, said.headers, said.body)
                elif asked.get("stream"):
                    self._stream(said)
                else:
                    self._send(
                        200, {"content-type": "application/json"}, json.dumps(_whole(said, len(model.asked))).encode()
                    )

            def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _stream(self, said: Says) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream; charset=utf-8")
                self.send_header("connection", "close")
                self.end_headers()
                for event in _events(said, len(model.asked)):
                    self.wfile.write(event)
                    self.wfile.flush()
                self.close_connection = True

            def log_message(self, format: str, *arguments: object) -> None:
                return

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                # A client that was cut off.
                return

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._serving = serving(self._server)

    def says(self, *script: Says | Raw) -> None:
        """Begin another script."""
        self.script, self.asked, self.choose = list(script), [], None

    def next_answer(self, asked: dict[str, Any]) -> Says | Raw:
        if self.choose is not None:
            return self.choose(asked)
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def __enter__(self) -> Self:
        self._serving.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.free.set()
        self._serving.__exit__(kind, error, trace)


def _fault(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """What a real server refuses: calls of tools without answers, and answers without calls."""
    open_calls: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
            open_calls.remove(message["tool_call_id"])
            continue
        if open_calls:
            return "an assistant message with 'tool_calls' must be followed by tool messages"
        open_calls = [call["id"] for call in message.get("tool_calls") or ()]
    return "the newest calls have no answers" if open_calls else None


def _usage(said: Says) -> dict[str, int]:
    prompt, completion = said.tokens
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _whole(said: Says, number: int) -> dict[str, Any]:
    choice = {"index": 0, "message": said.message(number), "finish_reason": said.reason}
    return {"id": f"chatcmpl-{number}", "object": "chat.completion", "choices": [choice], "usage": _usage(said)}


def _events(said: Says, number: int) -> list[bytes]:
    """Text in halves, arguments in pieces of three characters, a comment between, and the usage at the end."""
    message = said.message(number)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for member in ("content", "refusal"):
        text = message[member] or ""
        half = len(text) // 2
        deltas += [{member: part} for part in (text[:half], text[half:]) if part]
    for index, call in enumerate(message.get("tool_calls", ())):
        arguments = call["function"]["arguments"]
        first = {"index": index, "id": call["id"], "type": "function"}
        deltas.append({"tool_calls": [{**first, "function": {"name": call["function"]["name"], "arguments": ""}}]})
        for start in range(0, len(arguments), 3):
            part = {"index": index, "function": {"arguments": arguments[start : start + 3]}}
            deltas.append({"tool_calls": [part]})
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": said.reason}]})
    chunks.append({"choices": [], "usage": _usage(said)})
    events = [f"data: {json.dumps(chunk)}\r\n\r\n".encode() for chunk in chunks]
    return [events[0], b": keep-alive\r\n\r\n", *events[1:], b"data: [DONE]\r\n\r\n"]
