"""JSON Schema for the arguments of tools: which schemas there may be, and whether a value is as one says.

Both schema and value are of a tenant's choice, so a check has a budget: each keyword that is looked at costs some of
it, and each fault that is found the size of the value, which its text repeats. Patterns are matched by RE2, in a time
that grows with the text alone. References lead nowhere but into the schema itself. All of it is for threads.

The libraries are imported when they are first needed: a server that has no tools does without them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from msgspec import Struct, field

from isolet.domain.json_bounds import bounded_json
from isolet.errors import InvalidInput

SCHEMA_MAX_BYTES = 16_384
PATTERNS_MAX = 32
ARGUMENTS_MAX_BYTES = 262_144
ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
_BUDGET = 40_000
_SIZE_UNIT = 1_024
_SHOWN_CHARS = 300
_PATTERN_MAX_CHARS = 1_024
_PATTERN_MEMORY_BYTES = 524_288
# How much of the budget a pattern takes: steps of its program as it is compiled, and steps by characters as it looks.
_COMPILED_UNIT, _SEARCHED_UNIT = 5, 1_000
_UNSUPPORTED = ("patternProperties", "unevaluatedItems", "unevaluatedProperties")
_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_BY_NAME = ("properties", "$defs", "definitions", "dependentSchemas")

Keyword = Callable[[Any, Any, Any, Any], Iterator[Any]]


class _TooCostly(Exception):
    pass


class _Check(Struct):
    """What of the budget is left, what a fault costs, and the patterns that were compiled for it."""

    per_fault: int
    left: int = _BUDGET
    patterns: dict[str, Any] = field(default_factory=dict)

    def spend(self, cost: int) -> None:
        self.left -= cost
        if self.left < 0:
            raise _TooCostly


_check: ContextVar[_Check] = ContextVar("check")


def check_schema(value: object, *, label: str = "input_schema") -> dict[str, Any]:
    """A schema of objects. Raises InvalidInput, which says what of it is wrong or not supported."""
    bounded_json(label, value, most=SCHEMA_MAX_BYTES)
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{label} must be a JSON Schema: an object")
    if value.get("type", "object") != "object":
        raise InvalidInput(f'{label}.type must be "object": the arguments of a tool have names')
    patterns = set()
    for schema in _subschemas(value):
        for keyword in _UNSUPPORTED:
            if keyword in schema:
                raise InvalidInput(f"{label}: {keyword} is not supported")
        if isinstance(schema.get("pattern"), str):
            patterns.add(schema["pattern"])
    if len(patterns) > PATTERNS_MAX:
        raise InvalidInput(f"{label} has more than {PATTERNS_MAX} patterns")
    for pattern in patterns:
        _compiled(pattern, label)
    validator = _validators()[0]
    fault = _first_fault(validator(validator.META_SCHEMA, registry=_validators()[1]), value, label)
    if fault is not None:
        raise InvalidInput(f"{label} is no JSON Schema: {fault}")
    return dict(value)


def check_value(schema: Mapping[str, Any], value: Any, *, label: str = "arguments") -> None:
    """Raises InvalidInput for a value that is not as the schema says, whose check takes too much, or for a schema that
    `check_schema` would not take.
    """
    bounded_json(label, value, most=ARGUMENTS_MAX_BYTES)
    if dict(schema) == ANY_OBJECT:
        if not isinstance(value, Mapping):
            raise InvalidInput(f"{label} must be an object")
        return
    refusal = _refusal(json.dumps(schema))
    if refusal is not None:
        raise InvalidInput(refusal)
    validator, _, nothing = _validators()
    fault = _first_fault(validator(dict(schema), registry=nothing), value, label)
    if fault is not None:
        raise InvalidInput(f"{label} do not fit the tool's input_schema: {fault}")


@lru_cache(maxsize=256)
def _refusal(text: str) -> str | None:
    """Why a schema that somebody stored unchecked cannot be used. It is asked with each call of its tool."""
    try:
        check_schema(json.loads(text))
    except InvalidInput as exc:
        return exc.message
    return None


def _first_fault(validator: Any, value: Any, label: str) -> str | None:
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    per_fault = 1 + len(json.dumps(value)) // _SIZE_UNIT
    token = _check.set(_Check(per_fault))
    try:
        error = next(validator.iter_errors(value), None)
    except Unresolvable as exc:
        raise InvalidInput(f"{label} cannot be checked: {str(exc.ref)[:100]!r} leads nowhere in the schema") from None
    except (_TooCostly, RecursionError):
        raise InvalidInput(f"{label} cannot be checked: that takes too much time") from None
    except (AttributeError, KeyError, LookupError, TypeError, ValueError, OverflowError):
        # What a reference leads to may be no schema, and a number too large to calculate with.
        raise InvalidInput(f"{label} cannot be checked with this schema") from None
    finally:
        _check.reset(token)
    if error is None:
        return None
    place = ".".join(str(part) for part in error.absolute_path)[:_SHOWN_CHARS]
    text = _shortened(error.message)
    return f"{place}: {text}" if place else text


def _shortened(text: str) -> str:
    """Messages begin with the value and end with what is wrong with it."""
    half = _SHOWN_CHARS // 2
    return text if len(text) <= _SHOWN_CHARS else f"{text[:half]}…{text[-half:]}"


def _subschemas(value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schema and those in it, as far as they stand where schemas stand."""
    waiting: list[Any] = [value]
    while waiting:
        schema = waiting.pop()
        if not isinstance(schema, Mapping):
            continue
        yield schema
        waiting += [schema[name] for name in _ONE if name in schema]
        for name in _LISTS:
            found = schema.get(name)
            waiting += found if isinstance(found, list) else []
        for name in _BY_NAME:
            found = schema.get(name)
            waiting += found.values() if isinstance(found, Mapping) else []


@lru_cache(maxsize=1)
def _validators() -> tuple[Any, Any, Any]:
    """The class of validators, the registry of the specifications' own schemas, and an empty one."""
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415
    from jsonschema_specifications import REGISTRY  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415

    keywords: dict[str, Any] = dict(Draft202012Validator.VALIDATORS)
    own = {"pattern": _pattern, "uniqueItems": _unique_items, **dict.fromkeys(_UNSUPPORTED, _unsupported)}
    keywords = {name: _counted(own.get(name, function)) for name, function in keywords.items()}
    keywords["additionalProperties"] = _counted(
        _without_patterns(Draft202012Validator.VALIDATORS["additionalProperties"])
    )
    return validators.extend(Draft202012Validator, keywords), REGISTRY, Registry()


def _counted(function: Any) -> Keyword:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        check = _check.get()
        check.spend(1 + _size(value) + _size(instance))
        for error in function(validator, value, instance, schema) or ():
            check.spend(check.per_fault)
            yield error

    return counted


def _size(value: Any) -> int:
    """What looking at each part takes, in keywords."""
    if isinstance(value, list | dict):
        return len(value) // 2
    return len(value) // _SIZE_UNIT if isinstance(value, str) else 0


def _without_patterns(function: Any) -> Any:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        if "patternProperties" in schema:
            raise ValueError("a schema that the check of schemas did not see")
        return function(validator, value, instance, schema)

    return check


def _unsupported(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
    raise ValueError("a schema that the check of schemas did not see")


def _pattern(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError  # noqa: PLC0415

    if not isinstance(instance, str):
        return
    check = _check.get()
    if (compiled := check.patterns.get(value)) is None:
        compiled = check.patterns[value] = _compiled(value, "input_schema")
        check.spend(compiled.programsize // _COMPILED_UNIT)
    check.spend(len(instance) * compiled.programsize // _SEARCHED_UNIT)
    if not compiled.search(_encodable(instance)):
        yield ValidationError(f"{instance[:_SHOWN_CHARS]!r} does not match {value!r}")


def _unique_items(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """By their text: the library compares each with each."""
    from jsonschema import ValidationError  # noqa: PLC0415

    if value is True and isinstance(instance, list):
        # Else 1 and 1.0 were two.
        texts = [json.dumps(_whole(item), sort_keys=True) for item in instance]
        _check.get().spend(sum(map(len, texts)) // _SIZE_UNIT)
        if len(set(texts)) < len(texts):
            yield ValidationError("two items are the same")


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return {name: _whole(item) for name, item in value.items()} if isinstance(value, dict) else value


def _compiled(pattern: str, label: str) -> Any:
    """Raises InvalidInput for what RE2 does not take: looking around, referring back."""
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.max_mem = _PATTERN_MEMORY_BYTES
    options.log_errors = False
    try:
        if len(pattern) > _PATTERN_MAX_CHARS:
            raise InvalidInput(f"{label}: a pattern may have at most {_PATTERN_MAX_CHARS} characters")
        return re2.compile(_encodable(pattern), options)
    except re2.error as exc:
        said = exc.args[0].decode(errors="replace") if exc.args and isinstance(exc.args[0], bytes) else str(exc)
        raise InvalidInput(f"{label}: the pattern {pattern[:100]!r} is not supported: {said[:200]}") from None


def _encodable(text: str) -> str:
    """Halves of surrogate pairs have no UTF-8."""
    return text.encode("utf-8", "replace").decode()
