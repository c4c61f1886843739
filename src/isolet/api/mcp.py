"""The tools of a project for clients of the Model Context Protocol: streamable HTTP, one message and one answer.

The official library speaks the protocol, its revision 2026-07-28 and those with a handshake. It takes a second to load,
so the door imports this module when the first message comes. Each message has a server of its own, with no session.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from msgspec import Struct, field

from isolet import __version__
from isolet.api.asgi import Headers, Message, Scope
from isolet.domain.flows.templates import as_text
from isolet.domain.tools import Tool
from isolet.errors import IsoletError, NotFound, PlatformError
from isolet.ids import ProjectId
from isolet.tools.service import Tools

_PAGE = 100
_PAGE_CHARS = 131_072


class Answer(Struct):
    """What is sent back, whole."""

    status: int = 500
    headers: Headers = field(default_factory=list)
    body: bytes = b""


async def answer(
    tools: Tools, project_id: ProjectId, scope: Scope, body: bytes, gone: Callable[[], Awaitable[None]]
) -> Answer:
    """The answer to a message. `gone` returns when the caller has left."""
    told, messages = Answer(), [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await gone()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            told.status, told.headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            told.body += message.get("body", b"")

    manager = StreamableHTTPSessionManager(
        _server(tools, project_id), json_response=True, stateless=True, max_request_body_size=len(body) + 1
    )
    async with manager.run():
        await manager.handle_request(scope, receive, send)
    return told


def warm_up() -> None:
    """Answer a message of nobody's, in a loop of its own: the first one makes schemas of the whole protocol."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    headers = [(b"host", b"localhost"), (b"accept", b"application/json, text/event-stream")]
    headers.append((b"content-type", b"application/json"))
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}

    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    # It asks for no tool.
    asyncio.run(answer(cast(Tools, None), ProjectId(""), scope, body, never))


def _server(tools: Tools, project_id: ProjectId) -> Server[Any]:
    async def list_tools(_: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        after = (params.cursor if params is not None else None) or ""
        found = await tools.listed(project_id)
        return await asyncio.to_thread(_page, [tool for tool in found if tool.name > after])

    async def call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            told = await tools.call(project_id, params.name, params.arguments or {})
        except NotFound as exc:
            raise MCPError(types.INVALID_PARAMS, _clean(f"Unknown tool: {params.name[:100]}")) from exc
        except PlatformError:
            raise
        except IsoletError as exc:
            # The model can do something about it: send other arguments, or try again.
            return types.CallToolResult(content=[_text(exc.message)], is_error=True)
        text = await asyncio.to_thread(as_text, told.result)
        return types.CallToolResult(content=[_text(text)], is_error=told.is_error)

    def schema_of(name: str) -> dict[str, Any] | None:
        try:
            return dict(tools.find(project_id, name).input_schema)
        except NotFound:
            return None

    return Server(
        "isolet",
        version=__version__,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        get_tool_input_schema=schema_of,
    )


def _page(found: Sequence[Tool]) -> types.ListToolsResult:
    """As many as the loop can write without a pause that others notice."""
    listed: list[types.Tool] = []
    size = 0
    for tool in found:
        schema = _clean(json.dumps(dict(tool.input_schema), ensure_ascii=False))
        size += len(schema)
        if listed and (size > _PAGE_CHARS or len(listed) == _PAGE):
            return types.ListToolsResult(tools=listed, next_cursor=listed[-1].name)
        listed.append(_described(tool, json.loads(schema)))
    return types.ListToolsResult(tools=listed)


def _described(tool: Tool, schema: dict[str, Any]) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=_clean(tool.description),
        input_schema=schema,
        annotations=types.ToolAnnotations(read_only_hint=tool.read_only, destructive_hint=not tool.read_only),
    )


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=_clean(text))


def _clean(text: str) -> str:
    """Halves of surrogate pairs have no UTF-8, which the library writes."""
    return text.encode("utf-8", "replace").decode()
