from __future__ import annotations

import itertools
from typing import Any

import pytest

from isolet.domain.flows.configs.waits import wait_s
from isolet.domain.flows.graph import Graph, faults_of, lone_start, read_graph
from isolet.domain.flows.nodes import NodeType
from isolet.errors import InvalidInput

FUNCTION = "0197a5a0-0000-7000-8000-000000000001"


def _ids():
    numbers = itertools.count(1)
    return lambda: f"00000000-0000-7000-8000-{next(numbers):012}"


def node(node_id: str, kind: str, **config: Any) -> dict[str, Any]:
    return {
        "id": node_id,
        "type": "flow-node",
        "position": {"x": 0, "y": 0},
        "data": {"node_type": kind, "config": config},
    }


def edge(source: str, target: str, label: str | None = None) -> dict[str, Any]:
    return {"source": source, "target": target, **({} if label is None else {"label": label})}


def _decide(*labels: str) -> dict[str, Any]:
    conditions = [{"label": label, "description": f"when {label}"} for label in labels]
    return node("tier", "decide", decision_type="function", function_id=FUNCTION, conditions=conditions)


def _definition(*nodes: dict[str, Any], edges: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"nodes": [node("start", "start"), *nodes], "edges": edges or []}


def _read(definition: Any) -> Graph:
    return read_graph(definition, _ids())


def _branching() -> dict[str, Any]:
    return _definition(
        _decide("vip", "other"),
        node("hi", "send_text", message="Hello"),
        node("bye", "handoff"),
        edges=[edge("start", "tier"), edge("tier", "hi", "vip"), edge("tier", "bye", "other")],
    )


def test_a_graph_is_read_and_shown_with_ids() -> None:
    graph = _read(_branching())
    assert faults_of(graph) == []
    assert graph.start.id == "start"
    assert graph.following("tier", "vip").target == "hi"  # type: ignore[union-attr]
    assert graph.following("hi") is None
    shown = graph.to_json()
    assert shown["edges"][0] == {
        "id": "00000000-0000-7000-8000-000000000003",
        "source": "start",
        "target": "tier",
        "label": "next",
        "type": "default",
        "flow_condition_id": None,
    }
    assert shown["nodes"][1]["data"]["config"]["conditions"][0] == {
        "id": "00000000-0000-7000-8000-000000000001",
        "label": "vip",
        "description": "when vip",
    }
    assert shown["nodes"][1]["data"]["config"]["llm_configuration"] == {}


def test_what_was_shown_is_read_as_it_is() -> None:
    shown = _read(_branching()).to_json()
    again = read_graph(shown, lambda: pytest.fail("there was an id"))
    assert again.to_json() == shown


def test_an_edge_may_name_its_condition_by_id() -> None:
    definition = _branching()
    definition["nodes"][1]["data"]["config"]["conditions"][0]["id"] = FUNCTION
    definition["edges"][1] = {"source": "tier", "target": "hi", "label": "renamed", "flow_condition_id": FUNCTION}
    assert _read(definition).following("tier", "vip").target == "hi"  # type: ignore[union-attr]


def test_cycles_and_leaves_are_allowed() -> None:
    definition = _definition(
        node("ask", "wait_for_response", timeout_seconds=300),
        node("again", "set_variable", variable_name="n", variable_value="{{vars.n}}"),
        edges=[edge("start", "ask"), edge("ask", "again"), edge("again", "ask")],
    )
    assert faults_of(_read(definition)) == []


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("send_template", {"template_id": "t", "template_params": {"1": "a"}, "parameters": {"1": "a"}}),
        ("wait_for_response", {"has_timeout": False}),
        ("wait_for_response", {}),
        ("function", {"function_slug": "my-function"}),
        ("decide", {"conditions": [{"label": "a", "description": "b"}], "provider_model_name": "m"}),
        ("webhook", {"url": "{{vars.url}}", "headers": '{"A": "b"}', "body_template": '{"a": 1}'}),
        ("agent", {"sandbox_enabled": True, "flow_agent_app_integration_tools": []}),
        ("agent", {"flow_agent_mcp_servers": [{"url": "https://x.example/mcp", "headers": '{"A": "b"}'}]}),
        ("agent", {"flow_agent_webhooks": [{"name": "a", "url": "https://x.example", "body_schema": "{}"}]}),
        ("send_text", {"message": {"$ai": {}}, "ai_field_config": {"message": {"mode": "prompt", "prompt": "p"}}}),
        ("call", {"workflow_id": FUNCTION, "save_error_to": "failed"}),
        ("emit_event", {"event_name": "order.created", "properties": {"n": 1, "s": "x", "b": None}}),
        ("send_interactive", {"interactive_type": "button", "body_text": "b", "buttons": [{"id": "y", "title": "Y"}]}),
        ("handoff", {"reason": "r", "context_data": {"any": ["thing"]}}),
    ],
)  # fmt: skip
def test_configs_as_published_clients_write_them_are_read(kind: str, config: dict[str, Any]) -> None:
    graph = _read(_definition(node("it", kind, **config), edges=[edge("start", "it")]))
    assert graph.node("it").kind is NodeType(kind)  # type: ignore[union-attr]


def test_json_that_was_sent_as_text_is_read() -> None:
    graph = _read(
        _definition(node("it", "webhook", url="https://x.example", headers='{"A": "b"}', body_template='{"a": 1}'))
    )
    assert graph.nodes[1].config["headers"] == {"A": "b"}
    assert graph.nodes[1].config["body_template"] == {"a": 1}


def test_a_node_without_a_position_is_drawn_at_the_origin() -> None:
    graph = _read(lone_start())
    assert graph.start.position is None
    assert graph.to_json()["nodes"][0]["position"] == {"x": 0, "y": 0}


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        ({}, None),
        ({"timeout_seconds": 300}, 300),
        ({"has_timeout": True, "timeout_seconds": 10}, 10),
        ({"has_timeout": False, "timeout_seconds": 10}, None),
    ],
)
def test_a_wait_has_a_timeout_or_none(config: dict[str, Any], seconds: int | None) -> None:
    assert wait_s(config) == seconds


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("start", {"a": 1}, "config.a is not known"),
        ("function", {}, "config.function_id is required"),
        ("function", {"function_id": "FUNCTION_ID_HERE"}, "config.function_id must be a UUID"),
        ("function", {"function_id": FUNCTION, "timeout": 3}, "config.timeout is not known"),
        ("decide", {"conditions": []}, "at least one condition"),
        ("decide", {"conditions": [{"label": "a"}, {"label": "a"}]}, "two conditions have the label 'a'"),
        ("decide", {"conditions": [{"label": ""}]}, "conditions[0].label must be text"),
        ("decide", {"decision_type": "function", "conditions": [{"label": "a"}]}, "config.function_id is required"),
        ("decide", {"decision_type": "coin", "conditions": [{"label": "a"}]}, "config.decision_type must be one of ai"),
        (
            "wait_for_response",
            {"timeout_seconds": 9},
            "config.timeout_seconds must be a whole number from 10 to 604800",
        ),
        ("wait_for_response", {"has_timeout": True}, "config.timeout_seconds is required"),
        ("set_variable", {"variable_value": 1}, "config.variable_name is required"),
        ("set_variable", {"variable_name": "a"}, "config.variable_value is required"),
        ("set_variable", {"variable_name": "a b", "variable_value": 1}, "config.variable_name must be the name"),
        ("webhook", {}, "config.url is required"),
        ("webhook", {"url": "ftp://x"}, "config.url must begin with http"),
        ("webhook", {"url": "https://x.example", "headers": {"a": 1}}, "config.headers must be an object of text"),
        ("call", {}, "config.workflow_id is required"),
        ("emit_event", {"event_name": "Order"}, "config.event_name must be lower-case words"),
        ("emit_event", {"event_name": "a", "properties": {"a": {}}}, "config.properties.a must be text"),
        ("send_interactive", {"interactive_type": "button", "body_text": "b" * 1_025}, "config.body_text must be text"),
        ("agent", {"flow_agent_function_tools": [{"name": "a b"}]}, "flow_agent_function_tools[0].name must be"),
        ("agent", {"max_iterations": 0}, "config.max_iterations must be a whole number"),
        ("agent", {"reasoning_effort": "much"}, "config.reasoning_effort must be one of none"),
    ],
)
def test_a_bad_config_names_node_and_member(kind: str, config: dict[str, Any], words: str) -> None:
    nodes = [node("it", kind, **config)] if kind != "start" else []
    definition = _definition(*nodes)
    if kind == "start":
        definition["nodes"][0]["data"]["config"] = config
    with pytest.raises(InvalidInput) as refused:
        _read(definition)
    assert words in refused.value.message
    assert f"({'start' if kind == 'start' else 'it'})" in refused.value.message


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        (None, "definition must be an object with nodes and edges"),
        ([], "definition must be an object"),
        ({"nodes": {}}, "definition.nodes must be a list"),
        ({"nodes": [], "edges": []}, "exactly one node of the type start is needed, and there is none"),
        (_definition(node("second", "start")), "there are start, second"),
        (_definition(node("start", "handoff")), "two nodes have the id start"),
        (_definition(node("1a", "handoff")), "nodes[1].id must be a letter"),
        (_definition(node("a", "pipedream")), "nodes[1] (a).data.node_type must be one of start"),
        (_definition({"id": "a", "data": {}}), "node_type must be one of"),
        (_definition({"id": "a", "data": {"node_type": "handoff"}, "color": "red"}), "nodes[1].'color' is not known"),
        (_definition({"id": "a", "data": {"node_type": "handoff"}, "position": {"x": 1}}), "(a).position must have"),
        (_definition({"id": "a", "data": {"node_type": "handoff"}, "position": {"x": 1e7, "y": 0}}), "position"),
        (_definition(edges=[edge("start", "gone")]), "edges[0].target: there is no node 'gone'"),
        (_definition(edges=[{"source": "start"}]), "edges[0].target: there is no node 'None'"),
        (_definition(node("a", "handoff"), edges=[edge("start", "a", "")]), "edges[0].label must be text"),
        (_definition(node("a", "handoff"), edges=[edge("start", "a")] * 2), "two edges of node start have the label"),
        (_definition(*[node(f"n{number}", "handoff") for number in range(500)]), "nodes must be a list of at most 500"),
        (_definition(node("a", "handoff", context_data="x" * 1_100_000)), "is too large"),
    ],
)  # fmt: skip
def test_what_can_never_be_a_workflow_is_refused(definition: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        _read(definition)
    assert words in refused.value.message
    assert len(refused.value.message) < 400


def test_a_graph_that_is_nested_too_deeply_is_refused() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(InvalidInput, match="nested too deeply"):
        _read(_definition(node("a", "handoff", context_data=deep)))


def test_faults_that_a_draft_may_have_name_their_nodes() -> None:
    definition = _branching()
    definition["nodes"].append(node("lost", "handoff"))
    definition["nodes"].append(node("do", "function", function_id=FUNCTION))
    definition["edges"] = [edge("tier", "hi", "vip"), edge("tier", "bye", "gold"), edge("do", "hi", "error")]
    assert faults_of(_read(definition)) == [
        "node start: the start has no edge with the label next",
        "node tier: the edge 'gold' has no condition",
        "node tier: the condition 'other' has no edge",
        "node do: an edge has the label 'error', and only next is followed",
        *(f"node {name}: no path leads to it from the start" for name in ("tier", "hi", "bye", "lost", "do")),
    ]


def test_a_policy_may_lead_to_a_node() -> None:
    definition = _branching()
    definition["nodes"].append(node("rescue", "handoff"))
    graph = _read(definition)
    assert faults_of(graph) == ["node rescue: no path leads to it from the start"]
    assert faults_of(graph, further={"hi": ["rescue"]}) == []
    lost = faults_of(graph, further={"hi": ["rescue", "gone"], "long_gone": ["gone"]})
    assert lost == ["node hi: its policy leads to gone, which is not there"]


@pytest.mark.parametrize("body", [[0] * 33_000, "[" + "0," * 33_000 + "0]"])
def test_a_graph_of_too_many_values_is_refused(body: Any) -> None:
    sent = _definition(node("hook", "webhook", url="https://a.example", body_template=body))
    with pytest.raises(InvalidInput, match=r"definition has too many values \(maximum is 32768\)"):
        _read(sent)
    node_of = sent["nodes"][1]["data"]["config"]
    node_of["body_template"] = [0] * 30_000
    assert _read(sent).nodes[1].config["body_template"] == [0] * 30_000
