import itertools
from typing import Any

import pytest

from isolet.domain.flows.call_cycles import Called, CallMap
from isolet.domain.flows.graph import read_graph, stored_graph
from isolet.domain.flows.workflows import (
    ReadMode,
    Workflow,
    WorkflowStatus,
    calls_of,
    changed,
    functions_of,
    nodes_with_model,
    slug_of,
)
from isolet.errors import InvalidInput
from isolet.ids import ProjectId, WorkflowId

WORKFLOW = Workflow(id=WorkflowId("w"), project_id=ProjectId("p"), name="Old", slug="old")
ID = "01890000-0000-7000-8000-00000000000a"


def graph_of(*nodes: tuple[str, str, dict[str, Any]]) -> Any:
    numbers = itertools.count()
    every = [("start", "start", {}), *nodes]
    sent = {
        "nodes": [{"id": name, "data": {"node_type": kind, "config": config}} for name, kind, config in every],
        "edges": [{"source": source[0], "target": target[0]} for source, target in itertools.pairwise(every)],
    }
    return read_graph(sent, lambda: f"{next(numbers):08}-0000-7000-8000-000000000000")


def test_members_change_one_by_one() -> None:
    sent = {
        "name": "New ☂",
        "slug": "new-1",
        "description": "",
        "status": "archived",
        "message_debounce_seconds": 0,
        "inbound_message_read_mode": "disabled",
        "agent_default_tools_version": 2,
    }
    after = changed(WORKFLOW, sent)
    assert (after.name, after.slug, after.description) == ("New ☂", "new-1", "")
    assert after.status is WorkflowStatus.ARCHIVED
    assert after.inbound_message_read_mode is ReadMode.DISABLED
    assert (after.message_debounce_seconds, after.agent_default_tools_version) == (0, 2)
    assert changed(after, {"description": None}).description is None
    assert changed(WORKFLOW, {}) == WORKFLOW


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ({"name": "a\x00"}, "name holds characters that cannot be stored"),
        ({"name": "\ud800"}, "name holds characters that cannot be stored"),
        ({"name": "a\nb"}, "name must not hold control characters or line separators"),
        ({"name": " "}, "name can't be blank"),
        ({"name": 3}, "name must be a string"),
        ({"name": None}, "name must be a string"),
        ({"name": "a" * 256}, "name is too long (maximum is 255 characters)"),
        ({"slug": "A"}, "slug must be lower-case words and numbers joined by -, at most 100 characters"),
        ({"slug": "a--b"}, "slug must be lower-case words and numbers joined by -, at most 100 characters"),
        ({"slug": "a\n"}, "slug must be lower-case words and numbers joined by -, at most 100 characters"),
        ({"description": "\ud800"}, "description holds characters that cannot be stored"),
        ({"status": "paused"}, "status must be one of draft, active, archived"),
        ({"status": []}, "status must be one of draft, active, archived"),
        ({"message_debounce_seconds": True}, "message_debounce_seconds must be a whole number from 0 to 300"),
        ({"message_debounce_seconds": 301}, "message_debounce_seconds must be a whole number from 0 to 300"),
        (
            {"inbound_message_read_mode": "x"},
            "inbound_message_read_mode must be one of disabled, read_only, read_with_typing",
        ),
    ],
)
def test_members_of_another_kind_are_refused(sent: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        changed(WORKFLOW, sent)
    assert caught.value.message == text


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Order flow #1", "order-flow-1"), ("  ", "workflow"), ("注文", "workflow"), ("a" * 300, "a" * 100)],
)
def test_a_slug_comes_from_the_name(name: str, slug: str) -> None:
    assert slug_of(name) == slug


def test_a_stored_graph_reads_as_it_was() -> None:
    graph = graph_of(
        ("d", "decide", {"conditions": [{"label": "next"}]}),
        ("w", "webhook", {"url": "https://a.example", "body_template": "\x00\ud800"}),
    )
    assert stored_graph(graph.to_json()).to_json() == graph.to_json()


def test_what_a_graph_needs_is_found() -> None:
    graph = graph_of(
        ("f", "function", {"function_id": ID}),
        ("d", "decide", {"decision_type": "function", "function_slug": "route", "conditions": [{"label": "next"}]}),
        ("a", "agent", {"flow_agent_function_tools": [{"name": "look", "function_slug": "look-up"}]}),
        ("ai", "decide", {"conditions": [{"label": "next"}]}),
        ("s", "send_text", {"message": {"$ai": {}}}),
        ("c", "call", {"workflow_slug": "other"}),
    )
    uses = [(use.node_id, use.function_id, use.slug) for use in functions_of(graph)]
    assert uses == [("f", ID, None), ("d", None, "route"), ("a", None, "look-up")]
    assert nodes_with_model(graph) == ["a", "ai", "s"]
    assert calls_of(graph) == {"c": "other"}


def test_a_chain_of_calls_that_comes_back_is_named() -> None:
    calls = CallMap(
        [
            Called(id="1", slug="one", calls=()),
            Called(id="2", slug="two", calls=("3", "missing")),
            Called(id="3", slug="three", calls=("one", "2")),
            Called(id="4", slug="four", calls=("4",)),
        ]
    )
    assert calls.faults("1", {"c": "2", "d": "four", "e": "nobody", "f": "1"}) == [
        "node c: the workflow calls itself, by way of two → three → one",
        "node e: there is no workflow nobody",
        "node f: the workflow calls itself, by way of one",
    ]


def test_of_a_long_chain_the_beginning_is_told() -> None:
    calls = CallMap([Called(id=str(n), slug=f"w{n}", calls=(str((n + 1) % 500),)) for n in range(500)])
    (fault,) = calls.faults("0", {"c": "1"})
    names = " → ".join(f"w{n}" for n in range(1, 11))
    assert fault == f"node c: the workflow calls itself, by way of {names} → …"
