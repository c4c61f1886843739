"""The tools of somebody else's MCP server as tools of an agent node. The server checks their arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from isolet.agents.mcp_client import McpClient
from isolet.agents.turn import ToolOutcome, Turn
from isolet.domain.chat import Offered
from isolet.domain.mcp_messages import RemoteTool, value_of

_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_-]")
_NAME_MAX_CHARS = 64


class McpTool(Struct, frozen=True, kw_only=True):
    """`name` is what the server calls it; a model may know it by another one."""

    offered: Offered
    name: str
    client: McpClient
    kind: str = "mcp"

    async def run(self, turn: Turn, arguments: Mapping[str, Any]) -> ToolOutcome:
        told = await self.client.call(self.name, arguments)
        return ToolOutcome(value=value_of(told), is_error=told.get("isError") is True)


def mcp_tool(client: McpClient, server: str, tool: RemoteTool, taken: set[str]) -> McpTool | None:
    """A tool under a name that a model can say and that is not taken; None where there is none."""
    for wanted in (tool.name, f"{server}_{tool.name}"):
        name = _NOT_IN_NAME.sub("_", wanted)[:_NAME_MAX_CHARS]
        if name and name not in taken:
            taken.add(name)
            offered = Offered(name=name, description=tool.description, schema=tool.schema)
            return McpTool(offered=offered, name=tool.name, client=client)
    return None
