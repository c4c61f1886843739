"""Nodes at which a model decides what is done."""

from __future__ import annotations

import re

from isolet.domain.flows.configs.checks import (
    FUNCTION,
    MODEL,
    an_object,
    choice,
    headers,
    json_or_text,
    list_of,
    members,
    number,
    optional,
    text,
    url,
)
from isolet.errors import InvalidInput

TOOLS_MAX = 64
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _resource(label: str, value: object) -> object:
    """Nothing here reads a repository, so its token is not kept."""
    resource = an_object(label, value)
    token = resource.pop("pat", None)
    return {**resource, "has_pat": True} if token else resource


def _tool_name(label: str, value: object) -> object:
    if not isinstance(value, str) or _TOOL_NAME.fullmatch(value) is None:
        raise InvalidInput(f"{label} must be 1 to 64 letters, digits, _ and -")
    return value


_SCHEMA = members({}, open_ended=True)
_FUNCTION_TOOL = members(
    {
        "name": _tool_name,
        "description": optional(text()),
        **FUNCTION,
        "input_schema": lambda at, v: _SCHEMA(at, json_or_text(at, v)),
    },
    ("name",),
    open_ended=True,
)
_WEBHOOK_TOOL = members(
    {
        "name": _tool_name,
        "description": optional(text()),
        "url": url,
        "headers": headers,
        "body": json_or_text,
        "body_schema": json_or_text,
    },
    ("name", "url"),
    open_ended=True,
)
_MCP_SERVER = members(
    {"name": optional(text(256)), "description": optional(text()), "url": url, "headers": headers},
    ("url",),
    open_ended=True,
)
agent = members(
    {
        "system_prompt": optional(text(262_144)),
        **MODEL,
        "temperature": optional(number(0, 2, whole=False)),
        "max_iterations": optional(number(1, 200)),
        "max_tokens": optional(number(1, 1_000_000)),
        "reasoning_effort": optional(choice("none", "minimal", "low", "medium", "high", "xhigh", "max")),
        "prompt_cache_ttl": optional(choice("5m", "1h")),
        "observer_prompt_mode": optional(choice("analysis_only", "interactive_chat")),
        "message_delivery_mode": optional(choice("auto_send_assistant_text", "tool_only")),
        "enabled_default_tools": list_of(text(64), 64),
        "default_tool_configs": an_object,
        "flow_agent_function_tools": list_of(_FUNCTION_TOOL, TOOLS_MAX),
        "flow_agent_webhooks": list_of(_WEBHOOK_TOOL, TOOLS_MAX),
        "flow_agent_knowledge_bases": list_of(an_object, TOOLS_MAX),
        "flow_agent_mcp_servers": list_of(_MCP_SERVER, TOOLS_MAX),
        "flow_agent_resources": list_of(_resource, TOOLS_MAX),
    },
    open_ended=True,
)
