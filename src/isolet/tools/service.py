"""The tools of a project: those of its functions that say they are tools, and are live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from isolet.domain.invocations import Door
from isolet.domain.strict_json import TOO_MANY, TooManyValues, read_writable
from isolet.domain.tools import RESULT_MAX_BYTES, Tool, ToolResult, ToolSettings, call_body, is_tool_name
from isolet.errors import ExecutionError, NotFound
from isolet.functions.tool_checks import ToolChecks
from isolet.ids import ProjectId
from isolet.invoke.invoker import Invoker, Reply
from isolet.invoke.request import CallRequest
from isolet.routing.routes import Route, Routes

_HEADERS = [(b"host", b"tools"), (b"content-type", b"application/json")]
# Larger ones are read in a thread.
_SMALL_BYTES = 65_536


class Tools:
    """In memory, from the route table."""

    def __init__(self, *, routes: Routes, invoker: Invoker, checks: ToolChecks) -> None:
        self._checks = checks
        self._routes = routes
        self._invoker = invoker

    async def listed(self, project_id: ProjectId) -> Sequence[Tool]:
        """By name."""
        return await asyncio.to_thread(self._listed, project_id)

    def _listed(self, project_id: ProjectId) -> Sequence[Tool]:
        tools = [
            self._tool(route, route.tool)
            for route in self._routes.of_project(project_id).values()
            if route.tool is not None and route.version is not None
        ]
        return sorted(tools, key=lambda tool: tool.name)

    def find(self, project_id: ProjectId, name: str) -> Tool:
        """Raises NotFound."""
        route, settings = self._route(project_id, name)
        return self._tool(route, settings)

    async def call(self, project_id: ProjectId, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Call the function; what goes wrong in it is a result. Raises NotFound, InvalidInput for arguments that do not
        fit, NotDeployed, TooManyRequests, Unavailable.
        """
        route, settings = self._route(project_id, name)
        self._invoker.admit(route)
        await self._checks.arguments(project_id, settings.input_schema, arguments)
        body = await asyncio.to_thread(_body, arguments)
        target = f"/tools/{route.slug}"
        request = CallRequest(
            door=Door.NATIVE, method=b"POST", target=target.encode(), path=target, headers=_HEADERS, body=body
        )
        try:
            return await result_of(await self._invoker.call(route, request))
        except ExecutionError as exc:
            return failure_of(exc)

    def _route(self, project_id: ProjectId, name: str) -> tuple[Route, ToolSettings]:
        """By the name that it is listed under, or another one of its function."""
        route = self._routes.named(project_id, name)
        if route is None or route.tool is None or route.version is None:
            raise NotFound("Tool not found")
        return route, route.tool

    def _name(self, route: Route) -> str:
        """That of the function, where agents can say it and no other function has it; else its slug."""
        is_own = is_tool_name(route.name) and self._routes.named(route.project_id, route.name) is route
        return route.name if is_own else route.slug

    def _tool(self, route: Route, settings: ToolSettings) -> Tool:
        return Tool(
            name=self._name(route),
            description=settings.description or "",
            input_schema=settings.input_schema,
            read_only=settings.read_only,
            function_id=route.function_id,
        )


def _body(arguments: Mapping[str, Any]) -> bytes:
    return json.dumps(call_body(arguments), separators=(",", ":")).encode()


async def result_of(reply: Reply) -> ToolResult:
    """A function's reply as the result of a tool: JSON parsed, anything else as text."""
    status = reply.status
    try:
        body = await reply.read_plain(RESULT_MAX_BYTES)
    except ExecutionError as exc:
        return ToolResult(result=exc.message, is_error=True, invocation_id=reply.invocation_id)
    try:
        value = await asyncio.to_thread(_value, body) if len(body) > _SMALL_BYTES else _value(body)
    except TooManyValues:
        told = f"The function's reply {TOO_MANY}"
        return ToolResult(result=told, is_error=True, invocation_id=reply.invocation_id)
    if status >= 400 and value is None:
        value = f"The function answered {status}"
    return ToolResult(result=value, is_error=status >= 400, invocation_id=reply.invocation_id)


def failure_of(error: ExecutionError) -> ToolResult:
    """What went wrong in a function."""
    ran = error.details.get("invocation_id")
    return ToolResult(result=error.message, is_error=True, invocation_id=None if ran is None else str(ran))


def _value(body: bytes) -> Any:
    try:
        return read_writable(body) if body else None
    except TooManyValues:
        raise
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
