"""Functions as tools of agents."""

from __future__ import annotations

from typing import Any

from pydantic import Field, RootModel

from isolet.contract.models import Body, Page, Reply
from isolet.contract.operations import Mode, Resource, operation


class ToolCall(Body):
    """`arguments` are checked with the tool's `input_schema` before the function is called."""

    arguments: dict[str, Any] = Field(default_factory=dict)


class McpMessage(RootModel[dict[str, Any]]):
    """A message of the Model Context Protocol."""


class ToolReply(Reply):
    """`input_schema` is a JSON Schema."""

    name: str
    description: str
    input_schema: dict[str, Any]
    read_only: bool
    function_id: str


class ToolResultReply(Reply):
    """`result` is the function's reply: JSON, or text. With `is_error` it says what went wrong."""

    result: Any
    is_error: bool
    invocation_id: str | None


class Tools(Resource[Mode]):
    tag = "tools"

    @operation("GET", "/projects/{slug}/tools")
    def list(self, slug: str, *, limit: int = 50, cursor: str | None = None) -> Page[ToolReply]:
        """The functions that are tools, and are deployed, by name."""

    @operation("POST", "/projects/{slug}/tools/{name}/call")
    def call(self, slug: str, name: str, body: ToolCall) -> ToolResultReply:
        """Call a function as a tool."""

    @operation("POST", "/projects/{slug}/mcp", media_type="application/json")
    def mcp(self, slug: str, body: McpMessage) -> str:
        """The endpoint for clients of the Model Context Protocol, over streamable HTTP without sessions."""
