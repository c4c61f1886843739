"""Nodes that call a function, an address or another workflow."""

from __future__ import annotations

from isolet.domain.flows.configs.checks import (
    AI,
    FUNCTION,
    Config,
    choice,
    headers,
    json_or_text,
    members,
    optional,
    text,
    url,
    uuid,
    variable_name,
)
from isolet.errors import InvalidInput

_FUNCTION_NODE = members({**FUNCTION, "save_response_to": optional(variable_name)})
_CALL = members(
    {
        "workflow_id": optional(uuid),
        "workflow_slug": optional(text(256)),
        "workflow_name": optional(text(256)),
        "save_error_to": optional(variable_name),
    }
)
webhook = members(
    {
        "url": url,
        "method": choice("GET", "POST", "PUT", "PATCH", "DELETE"),
        "headers": headers,
        "body_template": json_or_text,
        "save_response_to": optional(variable_name),
        **AI,
    },
    ("url",),
)


def function(label: str, value: object) -> Config:
    """Raises InvalidInput."""
    config = _FUNCTION_NODE(label, value)
    if not (config.get("function_id") or config.get("function_slug")):
        raise InvalidInput(f"{label}.function_id is required")
    return config


def call(label: str, value: object) -> Config:
    """Raises InvalidInput."""
    config = _CALL(label, value)
    if not (config.get("workflow_id") or config.get("workflow_slug")):
        raise InvalidInput(f"{label}.workflow_id is required")
    return config
