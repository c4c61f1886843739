"""Calls a function from its page: any method, path, headers and body, as a tool, or by an event. Answers are text."""

from __future__ import annotations

import base64
import re
import shlex
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct
from starlette.responses import Response

from isolet.client.errors import Refused
from isolet.contract.functions import FunctionReply
from isolet.contract.invocations import InvocationReply
from isolet.contract.realtime import SentEvent
from isolet.contract.tools import ToolCall
from isolet.dashboard.function_pages import function_of, render
from isolet.dashboard.in_process import Answer, Headers
from isolet.dashboard.sections import Section
from isolet.dashboard.typed_json import read_json
from isolet.dashboard.visits import Visit
from isolet.errors import InvalidInput, NotFound

section = Section(
    "",
    "functions/{function_id}/try",
    api="POST /platform/v1/functions/{function_id}/invoke, or any method on /f/{slug}/{name}",
    under="Functions",
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_SHOWN_BYTES = 256 * 1024
# A form may hold a megabyte, and a head has room for less than this.
_PATH_MAX_CHARS = 16_384
_HEADERS_MAX_CHARS = 65_536
_HEADERS_MAX = 200
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*)")
# They belong to the request that is made here, and to the key of the session.
_OURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "x-api-key", "authorization", "upgrade"}
)


class Asked(Struct, frozen=True, kw_only=True):
    method: str
    path: str
    headers: str
    body: str


@section.get("")
async def show(visit: Visit) -> Response:
    function = await function_of(visit)
    return await _show(visit, function, Asked(method="POST", path="/", headers="", body='{"name": "world"}'))


async def _show(visit: Visit, function: FunctionReply, asked: Asked, **more: Any) -> Response:
    context = {"result": None, "tool_result": None, "tool_error": None, "tool_arguments": "{}", "fired": None, **more}
    context = {"event_payload": "{}", "event_answer": None, "event_record": None, "event_error": None, **context}
    context["schedules"] = (await visit.api.schedules.list_of_function(function.id)).data
    curl = _curl(visit, function, asked)
    return await render(
        visit, "Try it", "function_try.html", function, asked=asked, methods=METHODS, curl=curl, **context
    )


@section.post("")
async def call(visit: Visit, form: Mapping[str, str]) -> Response:
    function = await function_of(visit)
    method = form.get("method", "POST")
    asked = Asked(
        method=method if method in METHODS else "POST",
        path=form.get("path", "/").strip() or "/",
        headers=form.get("headers", ""),
        body=form.get("body", ""),
    )
    try:
        target, headers = _target(visit, function, asked), _headers(asked.headers)
    except InvalidInput as exc:
        return await _show(visit, function, asked, status=400, error=exc.message)
    content = b"" if asked.method in ("GET", "HEAD") else asked.body.encode("utf-8", "surrogatepass")
    began = time.perf_counter()
    method = asked.method if _by_address(function) else "POST"
    answer = await visit.api.send(method, target, headers, content, most=_SHOWN_BYTES)
    took_ms = (time.perf_counter() - began) * 1000
    return await _show(visit, function, asked, result=await _result(visit, answer, took_ms))


@section.post("/tool")
async def call_tool(visit: Visit, form: Mapping[str, str]) -> Response:
    function = await function_of(visit)
    asked = Asked(method="POST", path="/", headers="", body="{}")
    text = form.get("arguments", "{}")
    try:
        arguments = await read_json(text)
        if not isinstance(arguments, dict):
            raise ValueError
        found = await visit.api.tools.call(visit.slug, form.get("tool", ""), ToolCall(arguments=arguments))
    except (ValueError, RecursionError):
        error = "The arguments must be a JSON object"
        return await _show(visit, function, asked, status=400, tool_error=error, tool_arguments=text)
    except Refused as exc:
        return await _show(visit, function, asked, status=exc.status, tool_error=exc.text, tool_arguments=text)
    return await _show(visit, function, asked, tool_result=found, tool_arguments=text)


@section.post("/schedule")
async def fire(visit: Visit, form: Mapping[str, str]) -> Response:
    function = await function_of(visit)
    schedule = await visit.api.schedules.get(form.get("schedule", ""))
    if schedule.function_id != function.id:
        raise NotFound("Schedule not found")
    asked = Asked(method="POST", path="/", headers="", body="{}")
    return await _show(visit, function, asked, fired=await visit.api.schedules.run(schedule.id))


@section.post("/event")
async def send_event(visit: Visit, form: Mapping[str, str]) -> Response:
    """The event that calls the function, with any JSON; without any where the field is empty."""
    function = await function_of(visit)
    text = form.get("payload", "").strip()
    shown: dict[str, Any] = {"event_payload": text, "asked": Asked(method="POST", path="/", headers="", body="{}")}
    members: dict[str, Any] = {"event": function.socket_event or ""}
    try:
        if text:
            members["payload"] = await read_json(text)
        answer = await visit.api.realtime.send_event(visit.slug, SentEvent(**members))
    except (ValueError, RecursionError) as exc:
        return await _show(visit, function, status=422, event_error=f"The payload must be JSON: {exc}", **shown)
    except Refused as exc:
        return await _show(visit, function, status=exc.status, event_error=exc.text, **shown)
    record = await _record(visit, answer.invocation_id)
    return await _show(visit, function, event_answer=answer, event_record=record, **shown)


def _by_address(function: FunctionReply) -> bool:
    return function.access != "none"


def _target(visit: Visit, function: FunctionReply, asked: Asked) -> str:
    """Raises InvalidInput for a path that is too long."""
    if not _by_address(function):
        return f"/platform/v1/functions/{function.id}/invoke"
    if len(asked.path) > _PATH_MAX_CHARS:
        raise InvalidInput(f"The path is longer than {_PATH_MAX_CHARS} characters")
    path = asked.path if asked.path.startswith("/") else "/" + asked.path
    encoded = quote(path.partition("#")[0], safe="/?&=%:@!$'()*+,;~-._[]", errors="surrogatepass")
    return f"/f/{quote(visit.slug, safe='')}/{quote(function.slug, safe='')}{encoded}"


def _headers(text: str) -> Headers:
    """One a line. Raises InvalidInput."""
    lines = text.splitlines() if len(text) <= _HEADERS_MAX_CHARS else None
    if lines is None or len(lines) > _HEADERS_MAX:
        raise InvalidInput(f"There may be {_HEADERS_MAX} headers of {_HEADERS_MAX_CHARS} characters together")
    found = []
    for line in filter(None, (line.strip() for line in lines)):
        parts = _HEADER.fullmatch(line)
        if parts is None:
            raise InvalidInput(f"{line[:100]!r} is no header; write it as Name: value")
        if parts[1].lower() not in _OURS:
            found.append((parts[1].lower().encode(), parts[2].encode("latin-1")))
    if not any(name == b"content-type" for name, _ in found):
        found.append((b"content-type", b"application/json"))
    return found


async def _result(visit: Visit, answer: Answer, took_ms: float) -> dict[str, Any]:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
    invocation_id = next((value for name, value in headers if name == "x-invocation-id"), None)
    record = await _record(visit, invocation_id)
    body, encoding = _text(bytes(answer.body))
    return {
        "status": answer.status,
        "headers": headers,
        "body": body,
        "encoding": encoding,
        "size_bytes": answer.size_bytes,
        "truncated": answer.truncated,
        "took_ms": took_ms,
        "invocation_id": invocation_id,
        "console": record.console if record is not None else [],
        "error": record.error if record is not None else None,
        "stack": record.stack if record is not None else None,
    }


async def _record(visit: Visit, invocation_id: str | None) -> InvocationReply | None:
    """Who may call a function may not always see its records."""
    try:
        return None if invocation_id is None else await visit.api.invocations.get(invocation_id)
    except Refused:
        return None


def _text(body: bytes) -> tuple[str, str]:
    try:
        return body.decode(), "text"
    except UnicodeDecodeError as exc:
        # Cut in the middle of a character.
        if exc.start >= len(body) - 3:
            return body[: exc.start].decode(), "text"
        return base64.b64encode(body).decode(), "base64"


def _curl(visit: Visit, function: FunctionReply, asked: Asked) -> str:
    try:
        target = _target(visit, function, asked)
        headers = _headers(asked.headers)
    except InvalidInput:
        return ""
    parts = ["curl", "-X", asked.method, visit.api_url + target, "-H", "X-API-Key: $ISOLET_API_KEY"]
    for name, value in headers:
        parts += ["-H", f"{name.decode()}: {value.decode('latin-1')}"]
    if asked.body and asked.method not in ("GET", "HEAD"):
        parts += ["-d", asked.body]
    quoted = (shlex.quote(part) for part in parts)
    return " ".join(part.replace("'X-API-Key: $ISOLET_API_KEY'", '"X-API-Key: $ISOLET_API_KEY"') for part in quoted)
