"""What a function says of itself as a tool of agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isolet.errors import InvalidInput

AGENT_DESCRIPTION_MAX_CHARS = 500
AGENT_DEFAULTS: Mapping[str, Any] = {
    "agent_tool": False,
    "agent_tool_description": None,
    "agent_tool_mode": "read_only",
    "agent_tool_exposed_to": "developer_only",
    "allow_service_key_impersonation": True,
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
    return settings
