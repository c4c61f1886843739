"""How steps change the variables of a run, and how that is taken back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolet.domain.flows.run_variables import assigned, both_undone, check_variables, dump, undo_of, undone
from isolet.domain.flows.runs import VARIABLES_MAX_BYTES
from isolet.errors import InvalidInput

VARIABLES = st.dictionaries(st.text(max_size=3), st.integers(0, 3) | st.text(max_size=3), max_size=5)


@pytest.mark.parametrize(
    ("before", "name", "after"),
    [
        ({}, "a", {"a": 1}),
        ({"a": {"b": 2, "c": 3}}, "a.b", {"a": {"b": 1, "c": 3}}),
        ({"a": "text"}, "vars.a.b", {"a": {"b": 1}}),
        ({"a": 0, "é": 2}, "é", {"a": 0, "é": 1}),
    ],
)
def test_a_name_with_dots_is_a_path(before: dict[str, Any], name: str, after: dict[str, Any]) -> None:
    assert assigned(before, name, 1) == after


@given(VARIABLES, VARIABLES, VARIABLES)
def test_an_undo_leads_back_over_one_change_and_over_two(
    one: dict[str, Any], two: dict[str, Any], three: dict[str, Any]
) -> None:
    first, second = undo_of(one, two), undo_of(two, three)
    assert undone(two, first) == one
    assert undone(undone(three, second), first) == one
    both = json.loads(dump(both_undone(first, second)))
    assert undone(three, both) == one


def test_variables_are_an_object_of_one_mebibyte() -> None:
    assert check_variables(None) == {}
    whole = {"x": "x" * (VARIABLES_MAX_BYTES - 8)}
    assert check_variables(whole) is whole
    for bad, why in ((["x"], "must be an object"), ({"x": "x" * VARIABLES_MAX_BYTES}, "is too large")):
        with pytest.raises(InvalidInput, match=why):
            check_variables(bad)


def test_any_text_can_be_stored() -> None:
    assert dump({"\ud800": "\0é"}) == '{"\\ud800":"\\u0000\\u00e9"}'
