"""Messages of the Model Context Protocol as a client of somebody else's server sends and reads them.

The server may be anybody: what a message must have is looked for, and its amounts are bounded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from isolet.domain.json_schemas import ANY_OBJECT, SCHEMA_MAX_BYTES
from isolet.domain.strict_json import TOO_MANY, TooManyValues, read_writable
from isolet.errors import Unanswered

# With a handshake, and without one.
HANDSHAKE_VERSION = "2025-11-25"
MODERN_VERSION = "2026-07-28"
TOOLS_MAX = 128
_NAME_MAX_CHARS = 128
_TEXT_MAX_CHARS = 4_096
_SHOWN_CHARS = 300
_CLIENT = {"name": "isolet", "version": "1"}


class RemoteTool(Struct, frozen=True, kw_only=True):
    name: str
    description: str
    schema: Mapping[str, Any]


def handshake() -> dict[str, Any]:
    """The parameters of `initialize`."""
    return {"protocolVersion": HANDSHAKE_VERSION, "capabilities": {}, "clientInfo": _CLIENT}


def with_meta(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as the revision without a handshake has them."""
    prefix = "io.modelcontextprotocol/"
    meta = {
        f"{prefix}protocolVersion": MODERN_VERSION,
        f"{prefix}clientCapabilities": {},
        f"{prefix}clientInfo": _CLIENT,
    }
    return {**params, "_meta": meta}


def request(number: int, method: str, params: Mapping[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


def notification(method: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method}).encode()


def answer_in(data: bytes, number: int) -> Mapping[str, Any] | None:
    """The result in a message when it answers a request; None for other messages.

    Raises Unanswered for what is no message, and for an error.
    """
    try:
        told = read_writable(data)
    except TooManyValues as exc:
        raise Unanswered(f"the MCP server's reply {TOO_MANY}") from exc
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, Mapping):
        raise Unanswered(f"the MCP server's reply is no message: {_beginning(data)}")
    if told.get("id") != number or "method" in told:
        return None
    if "error" in told:
        error = told["error"]
        said = error.get("message") if isinstance(error, Mapping) else error
        raise Unanswered(f"the MCP server answered with an error: {str(said)[:_SHOWN_CHARS]}")
    result = told.get("result")
    if not isinstance(result, Mapping):
        raise Unanswered("the MCP server's reply has no result")
    return result


class EventStream:
    """Reads a reply that comes as server-sent events, until one answers a request. Raises as `answer_in` does."""

    def __init__(self, number: int) -> None:
        self._number = number
        # A line that is not at its end, and the data of an event that is not.
        self._parts: list[bytes] = []
        self._data: list[bytes] = []
        self._data_bytes = 0
        self.waiting_bytes = 0

    def feed(self, chunk: bytes) -> Mapping[str, Any] | None:
        """The result, once it is there."""
        self.waiting_bytes += len(chunk)
        if b"\n" not in chunk:
            self._parts.append(chunk)
            return None
        *lines, rest = b"".join([*self._parts, chunk]).split(b"\n")
        self._parts = [rest]
        for line in lines:
            told = self._line(line.removesuffix(b"\r"))
            if told is not None:
                return told
        self.waiting_bytes = len(rest) + self._data_bytes
        return None

    def end(self) -> Mapping[str, Any] | None:
        """The result in what came before the stream ended."""
        return answer_in(b"\n".join(self._data), self._number) if self._data else None

    def _line(self, line: bytes) -> Mapping[str, Any] | None:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
            self._data_bytes += len(line)
        elif not line and self._data:
            data, self._data, self._data_bytes = self._data, [], 0
            return answer_in(b"\n".join(data), self._number)
        return None


def tools_in(result: Mapping[str, Any]) -> Iterator[RemoteTool]:
    """The tools of a list that a model can be told of; a schema that is too large is left out."""
    found = result.get("tools")
    for tool in (found if isinstance(found, list) else [])[:TOOLS_MAX]:
        if not isinstance(tool, Mapping) or not isinstance(tool.get("name"), str):
            continue
        schema = tool.get("inputSchema")
        fits = isinstance(schema, Mapping) and len(json.dumps(schema)) <= SCHEMA_MAX_BYTES
        yield RemoteTool(
            name=tool["name"][:_NAME_MAX_CHARS],
            description=str(tool.get("description") or "")[:_TEXT_MAX_CHARS],
            schema=schema if fits and isinstance(schema, Mapping) else ANY_OBJECT,
        )


def value_of(result: Mapping[str, Any]) -> Any:
    """What a tool answered: its text, or what it says in another form."""
    content = result.get("content")
    parts = content if isinstance(content, list) else []
    texts = [_part(part) for part in parts if isinstance(part, Mapping)]
    return "\n".join(texts) if texts else result.get("structuredContent")


def _part(part: Mapping[str, Any]) -> str:
    if part.get("type") == "text":
        return str(part.get("text") or "")
    resource = part.get("resource")
    if isinstance(resource, Mapping) and isinstance(resource.get("text"), str):
        return str(resource["text"])
    return f"[{str(part.get('type'))[:40]}]"


def _beginning(data: bytes) -> str:
    return " ".join(data[:_SHOWN_CHARS].decode(errors="replace").split())
