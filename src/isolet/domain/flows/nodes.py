"""What the nodes of a workflow are told to do: the members of each node type's `config`, and their bounds.

The names and bounds are those of Kapso's API. A member that is not listed is refused, except in agents, whose clients
write members that the API's own description lacks.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from isolet.domain.json_bounds import bounded_json
from isolet.errors import InvalidInput
from isolet.ids import is_uuid

CONDITIONS_MAX = 50
TOOLS_MAX = 64
WAIT_MIN_S, WAIT_MAX_S = 10, 604_800
# Of JSON that is written as text: beyond what a graph may hold.
_JSON_MAX_BYTES = 6 * 1_048_576
_EVENT_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VARIABLE = re.compile(r"[^.\s{}][^\s{}]{0,255}")

Check = Callable[[str, Any], Any]


class NodeType(StrEnum):
    START = "start"
    SEND_TEXT = "send_text"
    SEND_TEMPLATE = "send_template"
    SEND_INTERACTIVE = "send_interactive"
    WAIT_FOR_RESPONSE = "wait_for_response"
    DECIDE = "decide"
    FUNCTION = "function"
    WEBHOOK = "webhook"
    AGENT = "agent"
    CALL = "call"
    HANDOFF = "handoff"
    SET_VARIABLE = "set_variable"
    EMIT_EVENT = "emit_event"


SENDS = frozenset({NodeType.SEND_TEXT, NodeType.SEND_TEMPLATE, NodeType.SEND_INTERACTIVE})


def _text(most: int = 65_536, *, empty: bool = True) -> Check:
    def check(label: str, value: Any) -> Any:
        if not isinstance(value, str) or len(value) > most or not (value or empty):
            raise InvalidInput(f"{label} must be text of at most {most} characters{'' if empty else ', not empty'}")
        return value

    return check


def _ai_text(most: int = 65_536, *, empty: bool = True) -> Check:
    """Text, or `{"$ai": {}}`, which a model fills."""
    check_text = _text(most, empty=empty)

    def check(label: str, value: Any) -> Any:
        return value if value == {"$ai": {}} else check_text(label, value)

    return check


def _choice(*choices: str) -> Check:
    def check(label: str, value: Any) -> Any:
        if not isinstance(value, str) or value not in choices:
            raise InvalidInput(f"{label} must be one of {', '.join(choices)}")
        return value

    return check


def _number(low: float, high: float, *, whole: bool = True) -> Check:
    def check(label: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not low <= value <= high:
            raise InvalidInput(f"{label} must be a {'whole ' if whole else ''}number from {low} to {high}")
        return value

    return check


def _uuid(label: str, value: Any) -> Any:
    if not isinstance(value, str) or not is_uuid(value):
        raise InvalidInput(f"{label} must be a UUID")
    return value.lower()


def _boolean(label: str, value: Any) -> Any:
    if not isinstance(value, bool):
        raise InvalidInput(f"{label} must be true or false")
    return value


def _anything(label: str, value: Any) -> Any:
    return value


def _object(label: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{label} must be an object")
    return dict(value)


def _json(label: str, value: Any) -> Any:
    """JSON, or JSON as text, which older clients write."""
    if isinstance(value, str) and value.strip()[:1] in ("{", "["):
        try:
            read = json.loads(value, parse_constant=_refuse, parse_float=_finite)
        except (ValueError, RecursionError):
            # A body with templates in it may be no JSON before they are replaced.
            return value
        return bounded_json(label, read, most=_JSON_MAX_BYTES)
    return value


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _headers(label: str, value: Any) -> Any:
    value = _json(label, value)
    if value in ("", None):
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(member, str) for member in value.values()):
        raise InvalidInput(f"{label} must be an object of text")
    return dict(value)


def _url(label: str, value: Any) -> Any:
    """It may begin with a template, so more is checked when it is used."""
    if not isinstance(value, str) or not value.strip() or len(value) > 8_192:
        raise InvalidInput(f"{label} must be an address of at most 8192 characters")
    if not value.startswith(("http://", "https://", "{{", "${")):
        raise InvalidInput(f"{label} must begin with http:// or https://")
    return value


def _variable(label: str, value: Any) -> Any:
    if not isinstance(value, str) or _VARIABLE.fullmatch(value) is None:
        raise InvalidInput(f"{label} must be the name of a variable: 1 to 256 characters, without spaces and braces")
    return value


def _optional(check: Check) -> Check:
    """Null and empty text are no value."""
    return lambda label, value: None if value is None or value == "" else check(label, value)


def _list(of: Check, most: int) -> Check:
    def check(label: str, value: Any) -> Any:
        if not isinstance(value, list) or len(value) > most:
            raise InvalidInput(f"{label} must be a list of at most {most}")
        return [of(f"{label}[{place}]", member) for place, member in enumerate(value)]

    return check


def _members(members: Mapping[str, Check], required: tuple[str, ...] = (), *, open_ended: bool = False) -> Check:
    def check(label: str, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise InvalidInput(f"{label} must be an object")
        for name in required:
            if value.get(name) is None:
                raise InvalidInput(f"{label}.{name} is required")
        checked = {}
        for name, member in value.items():
            if name in members:
                checked[name] = members[name](f"{label}.{name}", member)
            elif open_ended:
                checked[name] = member
            else:
                raise InvalidInput(f"{label}.{name[:80]} is not known")
        return checked

    return check


def _event_name(label: str, value: Any) -> Any:
    if not isinstance(value, str) or len(value) > 128 or _EVENT_NAME.fullmatch(value) is None:
        raise InvalidInput(f"{label} must be lower-case words joined by dots, at most 128 characters")
    return value


def check_properties(label: str, value: Any) -> dict[str, Any]:
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


def check_event_name(label: str, value: Any) -> str:
    """The name of a project event. Raises InvalidInput."""
    return str(_event_name(label, value))


def _resource(label: str, value: Any) -> Any:
    """Nothing here reads a repository, so its token is not kept."""
    resource = _object(label, value)
    token = resource.pop("pat", None)
    return {**resource, "has_pat": True} if token else resource


def _tool_name(label: str, value: Any) -> Any:
    if not isinstance(value, str) or _TOOL_NAME.fullmatch(value) is None:
        raise InvalidInput(f"{label} must be 1 to 64 letters, digits, _ and -")
    return value


_MODEL: Mapping[str, Check] = {
    "provider_model_id": _optional(_uuid),
    "provider_model_name": _optional(_text(256)),
}
_AI: Mapping[str, Check] = {**_MODEL, "ai_field_config": _object}
_TO: Mapping[str, Check] = {
    "phone_number_id": _optional(_text(256)),
    "whatsapp_config_id": _anything,
    "to_phone_number": _optional(_text(256)),
}
_FUNCTION: Mapping[str, Check] = {
    "function_id": _optional(_uuid),
    "function_slug": _optional(_text(256)),
    "function_name": _optional(_text(256)),
}
_BUTTON = _members({"id": _text(256), "title": _text(20)}, ("id", "title"))
_ROW = _members({"id": _text(200), "title": _text(24), "description": _optional(_text(72))}, ("id", "title"))
_SECTION = _members({"title": _optional(_text(256)), "rows": _list(_ROW, 10)}, ("rows",))
_CONDITION = _members(
    {"id": _optional(_uuid), "label": _text(256, empty=False), "description": _optional(_text())}, ("label",)
)
_SCHEMA = _members({}, open_ended=True)
_FUNCTION_TOOL = _members(
    {
        "name": _tool_name,
        "description": _optional(_text()),
        **_FUNCTION,
        "input_schema": lambda at, v: _SCHEMA(at, _json(at, v)),
    },
    ("name",),
    open_ended=True,
)
_WEBHOOK_TOOL = _members(
    {
        "name": _tool_name,
        "description": _optional(_text()),
        "url": _url,
        "headers": _headers,
        "body": _json,
        "body_schema": _json,
    },
    ("name", "url"),
    open_ended=True,
)
_MCP_SERVER = _members(
    {"name": _optional(_text(256)), "description": _optional(_text()), "url": _url, "headers": _headers},
    ("url",),
    open_ended=True,
)
_CONFIGS: Mapping[NodeType, Check] = {
    NodeType.START: _members({}),
    NodeType.SEND_TEXT: _members(
        {"message": _ai_text(), "delay_seconds": _optional(_number(0, 86_400, whole=False)), **_TO, **_AI}, ("message",)
    ),
    NodeType.SEND_TEMPLATE: _members(
        {
            "template_id": _text(256, empty=False),
            "template_name": _optional(_text(512)),
            "parameters": _json,
            "template_params": _json,
            "delay_seconds": _optional(_number(0, 86_400, whole=False)),
            **_TO,
            **_AI,
        },
        ("template_id",),
    ),
    NodeType.SEND_INTERACTIVE: _members(
        {
            "interactive_type": _choice(
                *("button", "list", "cta_url", "flow", "product", "product_list"),
                *("catalog_message", "location_request_message"),
            ),
            "body_text": _ai_text(1_024),
            "footer_text": _optional(_ai_text(1_024)),
            "header_type": _optional(_choice("none", "text", "image", "video", "document")),
            "header_text": _optional(_ai_text(1_024)),
            "header_media_url": _optional(_ai_text(8_192)),
            "header_config": _anything,
            "action_config": _anything,
            "buttons": _list(_BUTTON, 3),
            "list_button_text": _optional(_ai_text(1_024)),
            "list_sections": _list(_SECTION, 10),
            "cta_display_text": _optional(_ai_text(256)),
            "cta_url": _optional(_ai_text(8_192)),
            "flow_id": _optional(_text(256)),
            "flow_cta": _optional(_ai_text(256)),
            "flow_token": _optional(_text(1_024)),
            "flow_action": _optional(_choice("navigate", "data_exchange")),
            "flow_action_payload": _json,
            "delay_seconds": _optional(_number(0, 86_400, whole=False)),
            **_TO,
            **_AI,
        },
        ("interactive_type", "body_text"),
    ),
    NodeType.WAIT_FOR_RESPONSE: _members(
        {
            "has_timeout": _boolean,
            "timeout_seconds": _optional(_number(WAIT_MIN_S, WAIT_MAX_S)),
            "save_response_to": _optional(_variable),
        }
    ),
    NodeType.DECIDE: _members(
        {
            "decision_type": _choice("ai", "function"),
            "conditions": _list(_CONDITION, CONDITIONS_MAX),
            "llm_configuration": _object,
            "llm_temperature": _optional(_number(0, 2, whole=False)),
            "llm_max_tokens": _optional(_number(1, 1_000_000)),
            **_FUNCTION,
            **_MODEL,
        },
        ("conditions",),
    ),
    NodeType.FUNCTION: _members({**_FUNCTION, "save_response_to": _optional(_variable)}),
    NodeType.WEBHOOK: _members(
        {
            "url": _url,
            "method": _choice("GET", "POST", "PUT", "PATCH", "DELETE"),
            "headers": _headers,
            "body_template": _json,
            "save_response_to": _optional(_variable),
            **_AI,
        },
        ("url",),
    ),
    NodeType.AGENT: _members(
        {
            "system_prompt": _optional(_text(262_144)),
            **_MODEL,
            "temperature": _optional(_number(0, 2, whole=False)),
            "max_iterations": _optional(_number(1, 200)),
            "max_tokens": _optional(_number(1, 1_000_000)),
            "reasoning_effort": _optional(_choice("none", "minimal", "low", "medium", "high", "xhigh", "max")),
            "prompt_cache_ttl": _optional(_choice("5m", "1h")),
            "observer_prompt_mode": _optional(_choice("analysis_only", "interactive_chat")),
            "message_delivery_mode": _optional(_choice("auto_send_assistant_text", "tool_only")),
            "enabled_default_tools": _list(_text(64), 64),
            "default_tool_configs": _object,
            "flow_agent_function_tools": _list(_FUNCTION_TOOL, TOOLS_MAX),
            "flow_agent_webhooks": _list(_WEBHOOK_TOOL, TOOLS_MAX),
            "flow_agent_knowledge_bases": _list(_object, TOOLS_MAX),
            "flow_agent_mcp_servers": _list(_MCP_SERVER, TOOLS_MAX),
            "flow_agent_resources": _list(_resource, TOOLS_MAX),
        },
        open_ended=True,
    ),
    NodeType.CALL: _members(
        {
            "workflow_id": _optional(_uuid),
            "workflow_slug": _optional(_text(256)),
            "workflow_name": _optional(_text(256)),
            "save_error_to": _optional(_variable),
        }
    ),
    NodeType.HANDOFF: _members({"reason": _optional(_text()), "context_data": _anything}),
    NodeType.SET_VARIABLE: _members(
        {
            "variable_name": _variable,
            "variable_value": _anything,
            "value_type": _optional(_choice("string", "number", "boolean", "json")),
        },
        ("variable_name",),
    ),
    NodeType.EMIT_EVENT: _members(
        {"event_name": _event_name, "properties": check_properties, "occurred_at": _optional(_text(256))},
        ("event_name",),
    ),
}


def check_config(kind: NodeType, label: str, value: Any) -> dict[str, Any]:
    """The config of a node; JSON that was sent as text is read. Raises InvalidInput, whose text begins with `label`."""
    config: dict[str, Any] = _CONFIGS[kind](label, {} if value is None else value)
    if kind is NodeType.FUNCTION and not (config.get("function_id") or config.get("function_slug")):
        raise InvalidInput(f"{label}.function_id is required")
    if kind is NodeType.CALL and not (config.get("workflow_id") or config.get("workflow_slug")):
        raise InvalidInput(f"{label}.workflow_id is required")
    if kind is NodeType.SET_VARIABLE and "variable_value" not in config:
        raise InvalidInput(f"{label}.variable_value is required")
    if kind is NodeType.DECIDE:
        _check_decide(label, config)
    if kind is NodeType.WAIT_FOR_RESPONSE and config.get("has_timeout") and config.get("timeout_seconds") is None:
        raise InvalidInput(f"{label}.timeout_seconds is required when has_timeout is true")
    return config


def wait_s(config: Mapping[str, Any]) -> int | None:
    """After how many seconds a wait goes on without an answer; None when it waits for ever.

    Some clients write a timeout alone. `has_timeout: false` turns one off.
    """
    seconds = config.get("timeout_seconds")
    return seconds if seconds is not None and config.get("has_timeout", True) else None


def _check_decide(label: str, config: dict[str, Any]) -> None:
    config.setdefault("decision_type", "ai")
    config.setdefault("llm_configuration", {})
    if config["decision_type"] == "function" and not (config.get("function_id") or config.get("function_slug")):
        raise InvalidInput(f"{label}.function_id is required")
    labels = [condition["label"] for condition in config["conditions"]]
    if not labels:
        raise InvalidInput(f"{label}.conditions must have at least one condition")
    for name, count in Counter(labels).items():
        if count > 1:
            raise InvalidInput(f"{label}.conditions: two conditions have the label {name!r}")
