"""Checks of the members of a config: each gets a label and a value, and returns what is kept or raises InvalidInput."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from isolet.domain.json_bounds import bounded_json
from isolet.domain.strict_json import TOO_MANY, TooManyValues, read_bounded
from isolet.errors import InvalidInput
from isolet.ids import is_uuid

# Of JSON that is written as text: beyond what a graph may hold.
_JSON_MAX_BYTES = 6 * 1_048_576
_VARIABLE = re.compile(r"[^.\s{}][^\s{}]{0,255}")

Config = dict[str, Any]
Check = Callable[[str, object], object]
ConfigCheck = Callable[[str, object], Config]


def text(most: int = 65_536, *, empty: bool = True) -> Check:
    def check(label: str, value: object) -> object:
        if not isinstance(value, str) or len(value) > most or not (value or empty):
            raise InvalidInput(f"{label} must be text of at most {most} characters{'' if empty else ', not empty'}")
        return value

    return check


def ai_text(most: int = 65_536, *, empty: bool = True) -> Check:
    """Text, or `{"$ai": {}}`, which a model fills."""
    check_text = text(most, empty=empty)

    def check(label: str, value: object) -> object:
        return value if value == {"$ai": {}} else check_text(label, value)

    return check


def choice(*choices: str) -> Check:
    def check(label: str, value: object) -> object:
        if not isinstance(value, str) or value not in choices:
            raise InvalidInput(f"{label} must be one of {', '.join(choices)}")
        return value

    return check


def number(low: float, high: float, *, whole: bool = True) -> Check:
    def check(label: str, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not low <= value <= high:
            raise InvalidInput(f"{label} must be a {'whole ' if whole else ''}number from {low} to {high}")
        return value

    return check


def uuid(label: str, value: object) -> object:
    if not isinstance(value, str) or not is_uuid(value):
        raise InvalidInput(f"{label} must be a UUID")
    return value.lower()


def boolean(label: str, value: object) -> object:
    if not isinstance(value, bool):
        raise InvalidInput(f"{label} must be true or false")
    return value


def anything(label: str, value: object) -> object:
    return value


def an_object(label: str, value: object) -> Config:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{label} must be an object")
    return dict(value)


def json_or_text(label: str, value: object) -> object:
    """JSON, or JSON as text, which older clients write."""
    if isinstance(value, str) and value.strip()[:1] in ("{", "["):
        try:
            read = read_bounded(value)
        except TooManyValues as exc:
            raise InvalidInput(f"{label} {TOO_MANY}") from exc
        except (ValueError, RecursionError):
            # A body with templates in it may be no JSON before they are replaced.
            return value
        return bounded_json(label, read, most=_JSON_MAX_BYTES)
    return value


def headers(label: str, value: object) -> object:
    value = json_or_text(label, value)
    if value in ("", None):
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(member, str) for member in value.values()):
        raise InvalidInput(f"{label} must be an object of text")
    return dict(value)


def url(label: str, value: object) -> object:
    """It may begin with a template, so more is checked when it is used."""
    if not isinstance(value, str) or not value.strip() or len(value) > 8_192:
        raise InvalidInput(f"{label} must be an address of at most 8192 characters")
    if not value.startswith(("http://", "https://", "{{", "${")):
        raise InvalidInput(f"{label} must begin with http:// or https://")
    return value


def variable_name(label: str, value: object) -> object:
    if not isinstance(value, str) or _VARIABLE.fullmatch(value) is None:
        raise InvalidInput(f"{label} must be the name of a variable: 1 to 256 characters, without spaces and braces")
    return value


def optional(check: Check) -> Check:
    """Null and empty text are no value."""
    return lambda label, value: None if value is None or value == "" else check(label, value)


def list_of(of: Check, most: int) -> Check:
    def check(label: str, value: object) -> object:
        if not isinstance(value, list) or len(value) > most:
            raise InvalidInput(f"{label} must be a list of at most {most}")
        return [of(f"{label}[{place}]", member) for place, member in enumerate(value)]

    return check


def members(known: Mapping[str, Check], required: tuple[str, ...] = (), *, open_ended: bool = False) -> ConfigCheck:
    def check(label: str, value: object) -> Config:
        if not isinstance(value, Mapping):
            raise InvalidInput(f"{label} must be an object")
        for name in required:
            if value.get(name) is None:
                raise InvalidInput(f"{label}.{name} is required")
        checked: Config = {}
        for name, member in value.items():
            if name in known:
                checked[name] = known[name](f"{label}.{name}", member)
            elif open_ended:
                checked[name] = member
            else:
                raise InvalidInput(f"{label}.{name[:80]} is not known")
        return checked

    return check


MODEL: Mapping[str, Check] = {
    "provider_model_id": optional(uuid),
    "provider_model_name": optional(text(256)),
}
AI: Mapping[str, Check] = {**MODEL, "ai_field_config": an_object}
FUNCTION: Mapping[str, Check] = {
    "function_id": optional(uuid),
    "function_slug": optional(text(256)),
    "function_name": optional(text(256)),
}
