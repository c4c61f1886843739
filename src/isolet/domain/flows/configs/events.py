"""Nodes that set a variable or emit an event."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from isolet.domain.flows.configs.checks import Config, anything, choice, members, optional, text, variable_name
from isolet.errors import InvalidInput

_EVENT_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")


def check_properties(label: str, value: object) -> Config:
    """The properties of a project event: flat, at most 25, 8 KiB together. Raises InvalidInput."""
    if not isinstance(value, Mapping) or len(value) > 25:
        raise InvalidInput(f"{label} must be an object of at most 25 members")
    for name, member in value.items():
        if len(name) > 64:
            raise InvalidInput(f"{label}: a name may have at most 64 characters")
        if member is not None and not isinstance(member, str | int | float | bool):
            raise InvalidInput(f"{label}.{name} must be text, a number, true, false or null")
        if isinstance(member, str) and len(member.encode(errors="surrogatepass")) > 1_024:
            raise InvalidInput(f"{label}.{name} may have at most 1024 bytes")
    if len(json.dumps(dict(value))) > 8_192:
        raise InvalidInput(f"{label} may have at most 8192 bytes")
    return dict(value)


def check_event_name(label: str, value: object) -> str:
    """The name of a project event. Raises InvalidInput."""
    if not isinstance(value, str) or len(value) > 128 or _EVENT_NAME.fullmatch(value) is None:
        raise InvalidInput(f"{label} must be lower-case words joined by dots, at most 128 characters")
    return value


_SET = members(
    {
        "variable_name": variable_name,
        "variable_value": anything,
        "value_type": optional(choice("string", "number", "boolean", "json")),
    },
    ("variable_name",),
)
emit_event = members(
    {"event_name": check_event_name, "properties": check_properties, "occurred_at": optional(text(256))},
    ("event_name",),
)


def set_variable(label: str, value: object) -> Config:
    """Raises InvalidInput."""
    config = _SET(label, value)
    if "variable_value" not in config:
        raise InvalidInput(f"{label}.variable_value is required")
    return config
