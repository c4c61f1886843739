"""Schemas of tools: which there may be, what a check says, and what hostile ones cost."""

from __future__ import annotations

from typing import Any

import pytest

from isolet.domain.json_schemas import check_schema, check_value
from isolet.errors import InvalidInput

ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "uniqueItems": True},
    },
    "required": ["id"],
    "additionalProperties": False,
    "$defs": {"line": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}},
}
TREE = {"type": "object", "properties": {"next": {"$ref": "#"}, "n": {"type": "integer"}}}


def test_a_value_that_fits() -> None:
    check_value(check_schema(ORDER), {"id": "AB-1", "lines": [{"n": 1}, {"n": 2}]})
    check_value(check_schema(TREE), {"next": {"next": {"n": 1}}})
    check_value({"type": "object"}, {"anything": [None]})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "'id' is a required property"),
        ({"id": "ab"}, "id: 'ab' does not match"),
        ({"id": "AB-1\n"}, "does not match"),
        ({"id": "AB-1", "more": 1}, "'more' was unexpected"),
        ({"id": "AB-1", "lines": [{"n": 0}]}, "lines.0.n: 0 is less than the minimum"),
        ({"id": "AB-1", "lines": [{"n": 1}, {"n": 1.0}]}, "two items are the same"),
        ([], "is not of type 'object'"),
        ({"id": "\ud800"}, "does not match"),
    ],
)
def test_a_value_that_does_not_fit(value: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        check_value(ORDER, value)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ([], "must be a JSON Schema"),
        ({"type": "string"}, 'must be "object"'),
        ({"properties": {"a": {"type": "txt"}}}, "is no JSON Schema: properties.a.type"),
        ({"properties": []}, "is no JSON Schema"),
        ({"properties": {"a": {"pattern": "(?=a)b"}}}, "is not supported: invalid perl operator"),
        ({"allOf": [{"items": {"pattern": "a" * 2_000}}]}, "at most 1024 characters"),
        ({"allOf": [{"pattern": str(n)} for n in range(40)]}, "more than 32 patterns"),
        ({"items": {"pattern": "\\pL{100}"}}, "too large"),
        ({"properties": {"a": {"patternProperties": {}}}}, "patternProperties is not supported"),
        ({"properties": {"a": {"enum": ["x" * 20_000]}}}, "too large"),
    ],
)
def test_a_schema_that_is_refused(schema: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        check_schema(schema)


def _doubling(levels: int) -> dict[str, Any]:
    """A schema that is small, and whose references make 2^levels of it."""
    pairs = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**pairs, f"d{levels}": {"type": "object"}}}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (_doubling(60), {}),
        ({"$ref": "#"}, {}),
        ({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}, {}),
        ({"properties": {"a": {"items": {"anyOf": [*[{"type": "null"}] * 400, {}]}}}}, {"a": ["x"] * 9_000}),
        ({"properties": {"a": {"anyOf": [{"type": "null"}] * 800}}}, {"a": "x" * 200_000}),
        ({"properties": {"a": {"allOf": [{"items": {}}] * 900}}}, {"a": [0] * 30_000}),
        ({"properties": {"a": {"pattern": "(?:.?){900}X"}}}, {"a": "ab" * 100_000}),
        ({"properties": {"a": {"anyOf": [{"pattern": f"\\pL{{20}}{n}"} for n in range(32)]}}}, {"a": "x1" * 20}),
    ],
)
def test_a_check_that_would_take_long_is_given_up(schema: dict[str, Any], value: Any) -> None:
    with pytest.raises(InvalidInput, match="takes too much time"):
        check_value(check_schema(schema), value)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$ref": "https://example.com/schema"}, {}),
        ({"$ref": "file:///etc/passwd"}, {}),
        ({"$ref": "#/title", "title": "text"}, {}),
        ({"$ref": "#/x-hidden", "x-hidden": {"patternProperties": {"(a+)+$": {}}}}, {"a" * 40 + "b": 1}),
        ({"properties": {"a": {"multipleOf": 0.1}}}, {"a": 10**400}),
    ],
)
def test_references_and_numbers_that_lead_nowhere(schema: dict[str, Any], value: Any) -> None:
    with pytest.raises(InvalidInput, match="cannot be checked"):
        check_value(check_schema(schema), value)


@pytest.mark.parametrize("schema", [{"properties": {"a": {"type": "txt"}}}, {"required": "a"}, {"x": "y" * 20_000}])
def test_a_schema_that_nobody_checked_is_told_of(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="input_schema"):
        check_value(schema, {"a": 1})


def test_a_pattern_that_backtracking_would_take_years_for() -> None:
    schema = check_schema({"properties": {"a": {"pattern": "^(a+)+$"}}})
    with pytest.raises(InvalidInput, match="does not match"):
        check_value(schema, {"a": "a" * 100_000 + "b"})
