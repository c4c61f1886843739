"""The native API of functions as tools, and the endpoint for clients of the Model Context Protocol."""

from __future__ import annotations

import asyncio
import importlib
from functools import cache
from typing import Any

from fastapi import Request, Response
from msgspec import Struct

from isolet.access.rules import Access, PathSlug
from isolet.api.native.parameters import Limit
from isolet.api.native.serving import large_reply, page, serve
from isolet.api.request import ParsedForm, open_body
from isolet.api.rows import GrantedProject
from isolet.contract.tools import ToolCall, ToolReply, ToolResultReply
from isolet.contract.tools import Tools as ToolOperations
from isolet.domain.access import Role
from isolet.domain.own_hosts import OwnHosts
from isolet.domain.projects import Project
from isolet.domain.tools import Tool
from isolet.errors import Forbidden, RequestError
from isolet.tools.service import Tools
from isolet.wire.headers import get

_CALL = Access(Role.INVOKE, PathSlug())
_READ = _CALL.for_readers()
# Arguments may have 256 KiB. The library reads a message on the loop.
_MESSAGE_MAX_BYTES = 393_216


class _MessageForm(ParsedForm):
    """What is no JSON is answered in the protocol's words, unless it is large."""

    async def whole(self, body: bytes) -> bytes:
        try:
            return await super().whole(body)
        except RequestError:
            if self.has_too_many:
                raise
            return body


class ToolsDoor(Struct, frozen=True, kw_only=True):
    tools: Tools
    hosts: OwnHosts

    @serve(ToolOperations.list, _READ)
    async def list_tools(self, project: GrantedProject, limit: Limit = 50, cursor: str | None = None) -> Response:
        """By name."""
        found = [tool for tool in await self.tools.listed(project.id) if tool.name > (cursor or "")]
        following = found[limit - 1].name if len(found) > limit else None
        return await page(_tool_reply, found[:limit], following)

    @serve(ToolOperations.call, _CALL)
    async def call_tool(self, project: GrantedProject, name: str, body: ToolCall) -> Response:
        told = await self.tools.call(project.id, name, body.arguments)
        reply = await large_reply(
            lambda: ToolResultReply(result=told.result, is_error=told.is_error, invocation_id=told.invocation_id)
        )
        if told.invocation_id is not None:
            reply.headers["x-invocation-id"] = told.invocation_id
        return reply

    @serve(ToolOperations.mcp, _CALL)
    async def mcp(self, request: Request, project: GrantedProject) -> Response:
        """A page of another origin may not speak to it, even with a name that leads here."""
        self._check_place(request, project)
        protocol = await asyncio.to_thread(_protocol)
        with open_body(request, project.id, limit=_MESSAGE_MAX_BYTES) as body:
            whole = await body.whole(_MessageForm())
            told = await protocol.answer(self.tools, project.id, request.scope, whole, body.gone)
        reply = Response(told.body, status_code=told.status)
        reply.raw_headers = [header for header in told.headers if header[0] != b"content-length"]
        if told.body:
            reply.raw_headers.append((b"content-length", str(len(told.body)).encode()))
        return reply

    def _check_place(self, request: Request, project: Project) -> None:
        """Raises Forbidden."""
        headers = request.scope["headers"]
        host, origin = get(headers, b"host") or b"", get(headers, b"origin")
        if not self.hosts.has_host(host):
            raise Forbidden(
                "This Host is not one of the server's: set ISOLET_PUBLIC_URL to the address that clients use"
            )
        if origin is not None and not self.hosts.has_origin(origin.decode("latin-1"), project.allowed_origins):
            raise Forbidden("Pages of this Origin may not use the tools: add it to the project's allowed_origins")


@cache
def _protocol() -> Any:
    """For a thread: the library takes a second to load, and a tenth for its first message."""
    protocol: Any = importlib.import_module("isolet.api.mcp")
    protocol.warm_up()
    return protocol


def _tool_reply(tool: Tool) -> ToolReply:
    return ToolReply(
        name=tool.name,
        description=tool.description,
        input_schema=dict(tool.input_schema),
        read_only=tool.read_only,
        function_id=tool.function_id,
    )
