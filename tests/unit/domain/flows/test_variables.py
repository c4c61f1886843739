from __future__ import annotations

from typing import Any

import pytest

from isolet.domain.flows.graph import read_graph
from isolet.domain.flows.variables import FOUND_MAX, SAMPLES_MAX, Found, Seen, discovered, kind_of
from tests.unit.domain.flows.test_graph import node

GRAPH = read_graph(
    {
        "nodes": [
            node("start", "start"),
            node("hi", "send_text", message="{{vars.name}} {{name}} {{context.order}} {{system.flow_id}}"),
            node("set", "set_variable", variable_name="total", variable_value=1),
        ],
        "edges": [],
    },
    lambda: "0197a5a0-0000-7000-8000-000000000001",
)


def found_of(*runs: dict[str, Any]) -> dict[str, Found]:
    seen = [Seen(values=values, at_ms=9 - place) for place, values in enumerate(runs)]
    return {one.path: one for ones in discovered(GRAPH, seen).values() for one in ones}


def test_the_graph_tells_what_it_uses_and_sets() -> None:
    assert {path: one.uses for path, one in found_of().items()} == {
        "vars.name": 2,
        "context.order": 1,
        "vars.total": 1,
    }


def test_runs_tell_what_they_hold_the_newest_first() -> None:
    found = found_of({"name": "Zoë", "new": None}, {"name": "Bo"}, {"name": "Zoë"})
    assert (found["vars.name"].samples, found["vars.name"].last_seen_ms) == (["Zoë", "Bo"], 9)
    assert (found["vars.new"].samples, found["vars.new"].kind) == ([], None)


def test_runs_of_many_large_variables_are_shown_in_part() -> None:
    many = {f"v{number}": number for number in range(2 * FOUND_MAX)}
    found = found_of({"text": "x" * 1_000, "n" * 257: 1, **many})
    assert len(found) == FOUND_MAX
    assert found["vars.text"].samples == []
    assert not any(len(path) > 256 for path in found)
    assert len(found_of(*({"name": number} for number in range(20)))["vars.name"].samples) == SAMPLES_MAX


@pytest.mark.parametrize(
    ("value", "kind"),
    [(True, "boolean"), ("1", "string"), (1, "number"), (1.5, "number"), ([], "array"), ({}, "object"), (None, None)],
)
def test_kinds_are_those_of_json(value: object, kind: str | None) -> None:
    assert kind_of(value) == kind
