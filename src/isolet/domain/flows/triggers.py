"""Triggers of workflows: what each type must say, and which project events start a workflow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from isolet.domain.choices import one_of
from isolet.domain.flows.configs.events import check_event_name
from isolet.domain.flows.workflows import Trigger, TriggerType
from isolet.domain.functions import check_text
from isolet.errors import InvalidInput

EVENTS = (
    "whatsapp.message.received",
    "whatsapp.message.sent",
    "whatsapp.message.failed",
    "whatsapp.conversation.created",
    "whatsapp.conversation.ended",
)
OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "lt": lambda found, wanted: found < wanted,
    "lte": lambda found, wanted: found <= wanted,
    "gt": lambda found, wanted: found > wanted,
    "gte": lambda found, wanted: found >= wanted,
}
_EQUAL = "eq"
_CONDITION = ("property_key", "operator", "property_value")
_KEY_MAX_CHARS = 64
_VALUE_MAX_BYTES = 1_024


def check_type(value: object) -> TriggerType:
    """Raises InvalidInput."""
    return one_of("trigger_type", value, TriggerType)


def check_settings(kind: TriggerType, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a trigger of that type keeps of what a client sent. Raises InvalidInput."""
    match kind:
        case TriggerType.API_CALL:
            return {}
        case TriggerType.INBOUND_MESSAGE:
            return {"phone_number_id": _number_id(values, required=True)}
        case TriggerType.WHATSAPP_EVENT:
            event, number = values.get("event"), _number_id(values)
            if event not in EVENTS:
                raise InvalidInput(f"event must be one of {', '.join(EVENTS)}")
            return {"event": event, **({} if number is None else {"phone_number_id": number})}
        case TriggerType.PROJECT_EVENT:
            if values.get("event_name") is None:
                raise InvalidInput("event_name is required")
            name = check_event_name("event_name", values["event_name"])
            return {"event_name": name, **_condition(values)}


def _number_id(values: Mapping[str, Any], *, required: bool = False) -> str | None:
    value = values.get("phone_number_id")
    if value is None and not required:
        return None
    if value is None or value == "":
        raise InvalidInput("phone_number_id is required")
    return check_text("phone_number_id", value, max_chars=256)


def _condition(values: Mapping[str, Any]) -> dict[str, Any]:
    key, operator, wanted = (values.get(name) for name in _CONDITION)
    given = [value is not None for value in (key, operator, wanted)]
    if not any(given):
        return dict.fromkeys(_CONDITION)
    if not all(given):
        raise InvalidInput(f"{', '.join(_CONDITION)} belong together: all of them or none")
    key = check_text("property_key", key, max_chars=_KEY_MAX_CHARS)
    if operator != _EQUAL and (not isinstance(operator, str) or operator not in OPERATORS):
        raise InvalidInput(f"operator must be one of {', '.join((_EQUAL, *OPERATORS))}")
    return {"property_key": key, "operator": operator, "property_value": _value(operator, wanted)}


def _value(operator: str, value: object) -> object:
    if not isinstance(value, str | int | float):
        raise InvalidInput("property_value must be text, a number, true or false")
    if isinstance(value, str) and len(value.encode(errors="surrogatepass")) > _VALUE_MAX_BYTES:
        raise InvalidInput(f"property_value may have at most {_VALUE_MAX_BYTES} bytes")
    if operator != _EQUAL and _as_number(value) is None:
        raise InvalidInput(f"property_value must be a number for the operator {operator}")
    return value


def _as_number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def is_met(trigger: Trigger, event_name: str, properties: Mapping[str, Any]) -> bool:
    """Whether a project event starts the trigger's workflow."""
    settings = trigger.settings
    if trigger.type is not TriggerType.PROJECT_EVENT or not trigger.active or settings["event_name"] != event_name:
        return False
    if (key := settings["property_key"]) is None:
        return True
    if key not in properties:
        return False
    found, wanted = properties[key], settings["property_value"]
    numbers = _as_number(found), _as_number(wanted)
    if settings["operator"] == _EQUAL:
        return _is_equal(found, wanted) or (
            isinstance(wanted, str) and None not in numbers and numbers[0] == numbers[1]
        )
    return None not in numbers and OPERATORS[settings["operator"]](*numbers)  # type: ignore[arg-type]


def _is_equal(found: object, wanted: object) -> bool:
    """As JSON has it: `true` is not 1."""
    return isinstance(found, bool) is isinstance(wanted, bool) and found == wanted
