"""The tools that an agent node has, from its settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from msgspec import Struct

from isolet.agents.default_tools import default_tools
from isolet.agents.function_tools import FunctionTool
from isolet.agents.mcp_client import McpClient
from isolet.agents.mcp_tools import mcp_tool
from isolet.agents.turn import AgentTool, ToolOutcome, Turn
from isolet.agents.webhook_tools import WebhookTool, schema_of
from isolet.domain.chat import Offered
from isolet.domain.flows.configs.agents import TOOLS_MAX
from isolet.domain.json_bounds import check_depth
from isolet.domain.json_schemas import ANY_OBJECT
from isolet.domain.mcp_messages import RemoteTool
from isolet.domain.strict_json import read_json
from isolet.errors import InvalidInput, Unanswered
from isolet.flows.functions import FunctionCalls
from isolet.flows.performers.events import Emit
from isolet.flows.performers.webhook import address_of, headers_of
from isolet.functions.tool_checks import ToolChecks
from isolet.runtime.outgoing import Requests

TOOLS_TOGETHER_MAX = 128
_SERVERS_MAX = 16


class KnowledgeTool(Struct, frozen=True, kw_only=True):
    """A text that its author wrote, which the model reads when it wants to."""

    offered: Offered
    text: str
    kind: str = "knowledge"

    async def run(self, turn: Turn, arguments: Mapping[str, Any]) -> ToolOutcome:
        return ToolOutcome(value=await asyncio.to_thread(turn.rendering().text, self.text))


class Toolboxes(Struct, frozen=True, kw_only=True):
    calls: FunctionCalls
    requests: Requests
    checks: ToolChecks
    emit: Emit

    @asynccontextmanager
    async def open(self, turn: Turn) -> AsyncIterator[dict[str, AgentTool]]:
        """The tools by name. A server that does not answer is recorded, and the agent goes on without its tools."""
        config = turn.step.node.config
        enabled = config.get("enabled_default_tools")
        tools: dict[str, AgentTool] = {}
        own: list[AgentTool] = [*self._functions(config), *self._webhooks(config), *_knowledge(config)]
        # Those of the platform win: an agent must be able to end.
        for tool in (*default_tools(enabled, self.emit), *own):
            tools.setdefault(tool.offered.name, tool)
        async with AsyncExitStack() as stack:
            servers = _list(config, "flow_agent_mcp_servers")[:_SERVERS_MAX]
            # One that hangs keeps no other one waiting.
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(self._connected(turn, server, stack)) for server in servers]
            for server, found in zip(servers, asked, strict=True):
                _add(tools, _name(server), *found.result())
            yield dict(list(tools.items())[:TOOLS_TOGETHER_MAX])

    def _functions(self, config: Mapping[str, Any]) -> list[AgentTool]:
        return [
            FunctionTool(
                offered=_offered(tool, tool.get("input_schema") or ANY_OBJECT),
                settings=tool,
                calls=self.calls,
                checks=self.checks,
            )
            for tool in _list(config, "flow_agent_function_tools")
        ]

    def _webhooks(self, config: Mapping[str, Any]) -> list[AgentTool]:
        return [
            WebhookTool(
                offered=_offered(tool, schema_of(tool)),
                settings=tool,
                requests=self.requests,
                checks=self.checks,
            )
            for tool in _list(config, "flow_agent_webhooks")
        ]

    async def _connected(
        self, turn: Turn, server: Mapping[str, Any], stack: AsyncExitStack
    ) -> tuple[McpClient | None, Sequence[RemoteTool]]:
        """A client of a server, closed with the stack, and its tools."""
        try:
            client = self._client(turn, server)
            stack.push_async_callback(client.close)
            return client, await client.connect()
        except (Unanswered, InvalidInput) as exc:
            turn.step.event("agent_mcp_server_failed", {"server": _name(server), "error": exc.message})
            return None, ()

    def _client(self, turn: Turn, server: Mapping[str, Any]) -> McpClient:
        rendering = turn.rendering()
        project_id = turn.step.execution.project_id
        url = address_of(rendering.text(str(server["url"])))
        headers = headers_of(rendering.value(server.get("headers") or {}))
        return McpClient(self.requests, project_id, url, dict(headers))


def _name(server: Mapping[str, Any]) -> str:
    return str(server.get("name") or "server")


def _add(tools: dict[str, AgentTool], server: str, client: McpClient | None, found: Sequence[RemoteTool]) -> None:
    taken = set(tools)
    for remote in found:
        if client is not None and (tool := mcp_tool(client, server, remote, taken)) is not None:
            tools[tool.offered.name] = tool


def _knowledge(config: Mapping[str, Any]) -> list[AgentTool]:
    found: list[AgentTool] = []
    for number, base in enumerate(_list(config, "flow_agent_knowledge_bases")):
        text = base.get("knowledge_base_text")
        if isinstance(text, str) and text:
            schema = {"type": "object", "properties": {}}
            described = {"name": f"read_knowledge_{number + 1}", "description": _about(base)}
            found.append(KnowledgeTool(offered=_offered(described, schema), text=text))
    return found


def _about(base: Mapping[str, Any]) -> str:
    title, description = base.get("name"), base.get("description")
    return ": ".join(part for part in (title, description) if isinstance(part, str) and part) or "Background"


def _offered(tool: Mapping[str, Any], schema: Mapping[str, Any]) -> Offered:
    return Offered(name=str(tool["name"]), description=str(tool.get("description") or ""), schema=schema)


def _list(config: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = config.get(name)
    return list(found)[:TOOLS_MAX] if isinstance(found, list) else []


def arguments_of(text: str) -> Mapping[str, Any]:
    """What a model wrote. Raises InvalidInput, for the model to read."""
    try:
        # Some models write nothing where there is nothing to say.
        value = read_json(text) if text.strip() else {}
    except (ValueError, RecursionError):
        raise InvalidInput("the arguments are no JSON: send an object that fits the schema of the tool") from None
    if not isinstance(value, Mapping):
        raise InvalidInput("the arguments must be a JSON object")
    check_depth("what the arguments hold", value)
    return value
