"""Functions as tools: what agents are told of one, and what it is called with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from isolet.domain.json_schemas import ANY_OBJECT
from isolet.ids import FunctionId

RESULT_MAX_BYTES = 1_048_576
# What agents' protocols take for the name of a tool.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ToolSettings(Struct, frozen=True, kw_only=True):
    """What a function says of itself as a tool."""

    description: str | None = None
    input_schema: Mapping[str, Any] = field(default_factory=lambda: ANY_OBJECT)
    read_only: bool = True


class Tool(Struct, frozen=True, kw_only=True):
    name: str
    description: str
    input_schema: Mapping[str, Any]
    read_only: bool
    function_id: FunctionId


class ToolResult(Struct, frozen=True, kw_only=True):
    """What a tool answered: JSON, or text. With `is_error` it says what went wrong.

    `invocation_id` is that of the call of its function; None when none was made.
    """

    result: Any
    is_error: bool = False
    invocation_id: str | None = None


def settings_of(agent: Mapping[str, Any] | None, description: str | None) -> ToolSettings | None:
    """None for a function that is no tool. `agent` is as `domain.agents.check_agent` gives it; `description` is the
    function's own, for a tool without one.
    """
    if agent is None or not agent.get("agent_tool"):
        return None
    return ToolSettings(
        description=agent.get("agent_tool_description") or description,
        input_schema=agent.get("agent_tool_input_schema") or ANY_OBJECT,
        read_only=agent.get("agent_tool_mode", "read_only") == "read_only",
    )


def is_tool_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def call_body(arguments: Any) -> dict[str, Any]:
    """What the function of a tool gets outside of a flow; inside one, the spaces and the events are the flow's."""
    return {
        "execution_context": {"vars": {}, "system": {}, "context": {}, "metadata": {}},
        "flow_events": [],
        "flow_info": {"id": None, "name": None, "step_id": None},
        "input": arguments,
    }
