"""What a function says of itself as a tool of agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isolet.domain.json_bounds import bounded_json
from isolet.errors import InvalidInput

AGENT_DESCRIPTION_MAX_CHARS = 500
AGENT_DEFAULTS: Mapping[str, Any] = {
    "agent_tool": False,
    "agent_tool_description": None,
    "agent_tool_mode": "read_only",
    "agent_tool_exposed_to": "developer_only",
    "agent_tool_input_schema": None,
    "allow_service_key_impersonation": True,
}
AGENT_SCHEMA_MAX_BYTES = 16_384
# Of `tool` in the native API.
_TOOL_MEMBERS = {
    "description": "agent_tool_description",
    "mode": "agent_tool_mode",
    "exposed_to": "agent_tool_exposed_to",
    "input_schema": "agent_tool_input_schema",
}
_CHOICES = {
    "agent_tool_mode": ("read_only", "read_write"),
    "agent_tool_exposed_to": ("developer_only", "end_user"),
}


def check_agent(value: object) -> dict[str, Any]:
    """All members of `AGENT_DEFAULTS`. Raises InvalidInput."""
    if not isinstance(value, Mapping):
        raise InvalidInput("agent: must be an object")
    settings = {**AGENT_DEFAULTS, **value}
    for name in ("agent_tool", "allow_service_key_impersonation"):
        if not isinstance(settings[name], bool):
            raise InvalidInput(f"{name}: must be true or false")
    for name, choices in _CHOICES.items():
        if settings[name] not in choices:
            raise InvalidInput(f"{name}: must be one of {', '.join(choices)}")
    text = settings["agent_tool_description"]
    if text is not None and (not isinstance(text, str) or len(text) > AGENT_DESCRIPTION_MAX_CHARS):
        raise InvalidInput(f"agent_tool_description: must be at most {AGENT_DESCRIPTION_MAX_CHARS} characters")
    schema = settings["agent_tool_input_schema"]
    if schema is not None and not isinstance(schema, Mapping):
        raise InvalidInput("agent_tool_input_schema: must be an object or null")
    bounded_json("agent_tool_input_schema", schema, most=AGENT_SCHEMA_MAX_BYTES)
    return settings


def with_tool(agent: Mapping[str, Any] | None, value: object) -> dict[str, Any]:
    """The settings after `tool` of the native API was set: an object, whose members may be left out, or null.

    Raises InvalidInput.
    """
    before = {**AGENT_DEFAULTS, **(agent or {})}
    if value is None:
        return check_agent({**before, "agent_tool": False})
    if not isinstance(value, Mapping):
        raise InvalidInput("tool must be an object or null")
    for name in value:
        if name not in _TOOL_MEMBERS:
            raise InvalidInput(f"tool.{name[:100]} is not known; members are {', '.join(_TOOL_MEMBERS)}")
    return check_agent({**before, "agent_tool": True, **{_TOOL_MEMBERS[name]: value[name] for name in value}})


def tool_of(agent: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the native API shows as `tool`."""
    settings = {**AGENT_DEFAULTS, **(agent or {})}
    return {name: settings[ours] for name, ours in _TOOL_MEMBERS.items()} if settings["agent_tool"] else None
