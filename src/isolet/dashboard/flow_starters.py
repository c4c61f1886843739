"""Graphs to begin a workflow with."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from msgspec import Struct


class Starter(Struct, frozen=True, kw_only=True):
    label: str
    text: str
    definition: dict[str, Any]


def _node(place: tuple[int, int], node_id: str, kind: str, **config: Any) -> dict[str, Any]:
    x, y = place
    return {
        "id": node_id,
        "type": "flow-node",
        "position": {"x": x, "y": y},
        "data": {"node_type": kind, "config": config},
    }


def _line(*nodes: dict[str, Any]) -> dict[str, Any]:
    edges = [{"source": one["id"], "target": two["id"], "label": "next"} for one, two in pairwise(nodes)]
    return {"nodes": list(nodes), "edges": edges}


def _wait(place: tuple[int, int]) -> dict[str, Any]:
    return _node(place, "wait", "wait_for_response", has_timeout=True, timeout_seconds=3600, save_response_to="answer")


_GREETING = _line(
    _node((0, 0), "start", "start"),
    _node((240, 0), "greet", "set_variable", variable_name="greeting", variable_value="Hello {{vars.name}}"),
    _wait((480, 0)),
)
_HANDOVER = _line(
    _node((0, 0), "start", "start"),
    _wait((240, 0)),
    _node((480, 0), "person", "handoff", reason="{{vars.answer}}"),
)
STARTERS: Mapping[str, Starter] = {
    "empty": Starter(
        label="Empty", text="A start and nothing behind it", definition=_line(_node((0, 0), "start", "start"))
    ),
    "greeting": Starter(label="Greeting", text="Sets a variable, then waits for an answer", definition=_GREETING),
    "handover": Starter(label="Hand-over", text="Waits for an answer, then for a person", definition=_HANDOVER),
}
