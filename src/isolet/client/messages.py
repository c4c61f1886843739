"""Turns operations of the contract into HTTP requests, and replies into their values. It does no I/O."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct
from pydantic import BaseModel, RootModel, ValidationError

from isolet.client.errors import ApiError, error_of, unexpected
from isolet.contract.models import read
from isolet.contract.operations import AnyOperation

PREFIX = "/isolet/v1"
# The last of ASCII is no character to print, and JSON may have it in a string.
_BEYOND_ASCII = re.compile(r"[^\x20-\x7e]+")
_BREAKS = re.compile(r"[\t\r\n]+")
Content = bytes | Iterable[bytes] | AsyncIterable[bytes]


class Request(Struct, frozen=True, kw_only=True):
    """`target` is the encoded path with its query; `content` is None for a request without a body.

    The reply may take `wait_s` longer than others.
    """

    method: str
    target: str
    headers: dict[str, str]
    content: Content | None = None
    wait_s: float = 0.0


def request_of(operation: AnyOperation, arguments: Mapping[str, Any]) -> Request:
    """Arguments that are None are not sent. Raises ApiError for what no header holds."""
    given = {name: value for name, value in arguments.items() if value is not None}
    body, content = given.pop("body", None), given.pop("content", None)
    path = {name: _segment(str(given.pop(name))) for name in list(given) if f"{{{name}}}" in operation.path}
    headers = {header: _header(header, given.pop(name)) for name, header in operation.headers.items() if name in given}
    if body is not None:
        headers["content-type"] = "application/json"
        # In ASCII: half a surrogate pair has no UTF-8.
        content = json.dumps(body.root if isinstance(body, RootModel) else body.to_json()).encode()
    named = {operation.queries.get(name, name): _text(value) for name, value in given.items()}
    query = urlencode(named, errors="surrogatepass")
    return Request(
        method=operation.method,
        target=PREFIX + operation.path.format(**path) + ("?" + query if query else ""),
        headers=headers,
        content=content,
        wait_s=given.get("wait", 0.0),
    )


def _segment(text: str) -> str:
    """Of a path. An HTTP client removes segments of dots that are not encoded, and means another path then."""
    encoded = quote(text, safe="", errors="surrogatepass")
    return encoded.replace(".", "%2E") if encoded in (".", "..") else encoded


def _header(name: str, value: str) -> str:
    """JSON of any alphabet and on any number of lines is written as one line of ASCII, which says the same."""
    if value.isascii() and value.isprintable():
        return value
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        raise ApiError(f"{name} cannot be sent: it holds characters that no header holds") from None
    # Outside of its strings JSON has neither; inside of them it has no line breaks and no tabs.
    return _BEYOND_ASCII.sub(_escaped, _BREAKS.sub(" ", value))


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def value_of(operation: AnyOperation, status: int, headers: Mapping[str, str], content: bytes) -> Any:
    """What the operation returns. Raises ApiError."""
    if not 200 <= status < 300:
        raise error_of(status, headers, content)
    reply = operation.reply
    if reply is type(None):
        return None
    if reply is str:
        return content.decode(errors="replace")
    if not issubclass(reply, BaseModel):
        return reply.from_reply(headers, content)
    try:
        return read(reply, json.loads(content))
    except (ValidationError, ValueError, RecursionError):
        raise unexpected(status, content) from None


class Events:
    """Reads server-sent events of an operation from its lines."""

    def __init__(self, operation: AnyOperation) -> None:
        self._kind = operation.reply
        self._fields: dict[str, str] = {}

    def feed(self, line: str) -> Iterator[Any]:
        """What ends with this line, which is one event or none."""
        if line:
            name, _, value = line.partition(":")
            # A line without a name is a comment.
            if name:
                self._fields[name] = value.removeprefix(" ")
            return
        fields, self._fields = self._fields, {}
        if "data" in fields:
            event = self._kind.from_event(fields.get("event", "message"), fields.get("id"), fields["data"])
            if event is not None:
                yield event


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
