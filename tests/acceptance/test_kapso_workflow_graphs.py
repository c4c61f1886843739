"""Graphs as published clients write them: each is stored, read back, edited, made active, and one of them is run."""

from __future__ import annotations

import copy
import itertools
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.kapso import SharedKapso
from tests.support.projects import Project
from tests.support.waiting import wait_until
from tests.support.workflows import START, WorkflowsApi, a_line, a_node

ROUTING = """async function handler(request) {
  const { execution_context, available_edges } = await request.json();
  const answer = execution_context.vars.button_choice;
  const next_edge = available_edges.find((edge) => edge === (answer.button_id ?? answer));
  return new Response(JSON.stringify({ next_edge }), { headers: { "Content-Type": "application/json" } });
}"""
BUTTONS = [{"id": "sales", "title": "Sales"}, {"id": "support", "title": "Support"}]
NAMES = ("sales", "support")


@pytest.fixture(scope="module")
def ids(common_home: Project, common_platform: SharedKapso) -> dict[str, str]:
    """A deployed function and a model."""
    model = {"base_url": "https://models.example/v1", "model": "small"}
    assert common_home.client.put(f"/isolet/v1/projects/{common_home.slug}/model", json=model).is_success
    (shown,) = common_home.client.get("/platform/v1/provider_models").json()["data"]
    return {"function": common_platform.deployed(ROUTING, name="Routing"), "model": shown["id"]}


@pytest.fixture(scope="module")
def kapso(common_home: Project) -> WorkflowsApi:
    return WorkflowsApi(common_home.client)


def _text(number: int, message: str) -> dict[str, Any]:
    return a_node(f"send_text_{number}", "send_text", message=message, delay_seconds=0)


def _wait(number: int, name: str, **config: Any) -> dict[str, Any]:
    return a_node(f"wait_for_response_{number}", "wait_for_response", save_response_to=name, **config)


def _branching(first: dict[str, Any], wait: dict[str, Any], decide: dict[str, Any]) -> dict[str, Any]:
    """To a text for each condition."""
    graph = a_line(first, wait, decide)
    for number, condition in enumerate(decide["data"]["config"]["conditions"]):
        graph["nodes"].append(_text(90 + number, f"You said {condition['label']}"))
        graph["edges"].append(
            {"source": decide["id"], "target": f"send_text_{90 + number}", "label": condition["label"]}
        )
    return graph


def _conditions(*names: str) -> list[dict[str, str]]:
    return [{"label": name, "description": f"They said {name}"} for name in names]


def _buttons() -> dict[str, Any]:
    config = {"interactive_type": "button", "header_type": "none", "body_text": "How may we help?", "buttons": BUTTONS}
    return a_node("send_interactive_1", "send_interactive", **config)


def _agent(number: int, model: str, iterations: int, **config: Any) -> dict[str, Any]:
    known = {"system_prompt": "You help", "provider_model_id": model, "temperature": 0.2, "max_iterations": iterations}
    return a_node(f"agent_{number}", "agent", **known, max_tokens=1024, **config)


def published(ids: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The shapes of the graphs that Kapso's skill publishes, and of what its other clients write."""
    function, model = ids["function"], ids["model"]
    yield "linear", a_line(_text(1, "Your name?"), _wait(2, "user_name"), _text(3, "Hello {{vars.user_name}}"))
    by_function = {"decision_type": "function", "function_id": function}
    decide = a_node("decide_3", "decide", **by_function, conditions=_conditions("yes", "no"))
    yield "decision", _branching(_text(1, "Go on?"), _wait(2, "user_reply"), decide)
    decide = a_node("decide_3", "decide", **by_function, conditions=_conditions(*NAMES))
    yield "buttons, function", _branching(_buttons(), _wait(2, "button_choice"), decide)
    by_model = {"decision_type": "ai", "provider_model_id": model, "llm_temperature": 0, "llm_configuration": {}}
    decide = a_node("decide_3", "decide", **by_model, conditions=_conditions(*NAMES))
    yield "buttons, model", _branching(_buttons(), _wait(2, "button_choice"), decide)
    yield "agent", a_line(_agent(1, model, 10, enabled_default_tools=["get_variable", "save_variable"]))
    yield "intake", a_line(_text(1, "Tell us"), _wait(2, "support_intake"), _agent(3, model, 20))
    parameters = {"1": "{{vars.customer_name}}", "2": "{{vars.order_id}}"}
    template = a_node("send_template_1", "send_template", template_id="order_update", parameters=parameters)
    yield "template", a_line(template, _wait(2, "reply", has_timeout=True, timeout_seconds=3600), _agent(3, model, 10))
    yield "builder", _of_the_builder(function)
    yield "compiler", _of_the_compiler()


def _of_the_builder(function: str) -> dict[str, Any]:
    """Of PyPI's package: no positions, JSON as text, any name for the start, a time-out alone."""
    agent = a_node(
        "help",
        "agent",
        system_prompt="You help",
        provider_model_name="small",
        flow_agent_webhooks=[
            {
                "name": "hook",
                "url": "https://a.example",
                "headers": '{"A": "b"}',
                "body": '{"a": 1}',
                "body_schema": '{"type": "object"}',
            }
        ],
        flow_agent_mcp_servers=[{"name": "m", "url": "https://m.example", "headers": '{"A": "b"}'}],
    )
    template = a_node("t", "send_template", template_id="x", parameters={"1": "a"}, template_params={"1": "a"})
    nodes = [
        {**START, "id": "start_1234"},
        template,
        a_node("w", "wait_for_response", timeout_seconds=300),
        a_node("v", "wait_for_response"),
        a_node("f", "function", function_id=function),
        agent,
    ]
    edges = [{"source": a["id"], "target": b["id"], "label": "next"} for a, b in itertools.pairwise(nodes)]
    return {"nodes": [{key: node[key] for key in ("id", "type", "data")} for node in nodes], "edges": edges}


def _of_the_compiler() -> dict[str, Any]:
    """Of npm's package: slugs for ids, models by name, webhook tools with other members."""
    agent = a_node(
        "help",
        "agent",
        provider_model_name="small",
        sandbox_enabled=False,
        flow_agent_app_integration_tools=[],
        flow_agent_resources=[{"resource_type": "github_repository", "repo_url": "https://a.example", "pat": "hidden"}],
        flow_agent_function_tools=[{"name": "look", "function_slug": "routing", "input_schema": {"type": "object"}}],
        flow_agent_webhooks=[{"name": "h", "url": "https://a.example", "method": "PUT", "body_template": {"a": 1}}],
    )
    decide = a_node("d", "decide", decision_type="function", function_slug="routing", conditions=[{"label": "next"}])
    wait, call = a_node("w", "wait_for_response", has_timeout=False), a_node("c", "call", workflow_slug="called")
    return a_line(wait, a_node("f", "function", function_slug="routing"), agent, call, decide, a_node("h", "handoff"))


def test_published_graphs_are_stored_edited_and_active(kapso: WorkflowsApi, ids: dict[str, str]) -> None:
    kapso.create("Called", a_line(a_node("h", "handoff")), active=True)
    for name, sent in published(ids):
        made = kapso.create(name, sent)
        path = f"/workflows/{made['id']}"
        before = kapso.graph(made["id"])["definition"]
        _check_written(before, sent, name)

        edited = json.loads(json.dumps(before).replace("You", "Thou"))
        kapso("PATCH", path, {"workflow": {"definition": edited}})
        after = kapso.graph(made["id"])
        assert (after["definition"], after["lock_version"]) == (edited, 1), name
        changed = kapso("PATCH", path, {"workflow": {"status": "active", "lock_version": 1}})
        assert changed["status"] == "active", name
        kapso("PATCH", path, {"workflow": {"definition": sent}})
        again = kapso.graph(made["id"])["definition"]
        assert [node["id"] for node in again["nodes"]] == [node["id"] for node in before["nodes"]], name


def _check_written(definition: Any, sent: Any, name: str) -> None:
    """Everything that was sent is there, and what the server adds."""
    assert [set(node) for node in definition["nodes"]] == [{"id", "type", "position", "data"}] * len(sent["nodes"]), (
        name
    )
    for edge in definition["edges"]:
        assert set(edge) == {"id", "source", "target", "label", "type", "flow_condition_id"}, name
        assert uuid.UUID(edge["id"])
    for node, wanted in zip(definition["nodes"], sent["nodes"], strict=True):
        config, written = node["data"]["config"], copy.deepcopy(wanted["data"]["config"])
        for member, value in written.items():
            if not isinstance(value, list):
                assert config[member] == value, (name, member)
        for condition in config.get("conditions", ()):
            assert uuid.UUID(condition["id"])
            assert "description" in condition


def test_slugs_lead_to_ids_and_tokens_are_not_kept(kapso: WorkflowsApi, ids: dict[str, str]) -> None:
    made = kapso.create("Resolved", _of_the_compiler())
    nodes = {node["id"]: node["data"]["config"] for node in kapso.graph(made["id"])["definition"]["nodes"]}
    for config in (nodes["f"], nodes["d"], nodes["help"]["flow_agent_function_tools"][0]):
        assert (config["function_id"], config["function_name"]) == (ids["function"], "Routing")
    (resource,) = nodes["help"]["flow_agent_resources"]
    assert resource == {"resource_type": "github_repository", "repo_url": "https://a.example", "has_pat": True}
    built = kapso.create("Built", _of_the_builder(ids["function"]))
    tools = kapso.graph(built["id"])["definition"]["nodes"][-1]["data"]["config"]
    (webhook,), (server,) = tools["flow_agent_webhooks"], tools["flow_agent_mcp_servers"]
    assert (webhook["headers"], webhook["body"], webhook["body_schema"]) == ({"A": "b"}, {"a": 1}, {"type": "object"})
    assert server["headers"] == {"A": "b"}


@pytest.mark.parametrize(
    ("answer", "end"), [({"data": {"button_id": "support"}}, "send_text_91"), ({"data": "sales"}, "send_text_90")]
)
def test_a_button_chooses_the_edge(kapso: WorkflowsApi, ids: dict[str, str], answer: Any, end: str) -> None:
    graph = dict(published(ids))["buttons, function"]
    # Nothing sends messages in this project.
    graph["nodes"][1] = a_node("send_interactive_1", "set_variable", variable_name="asked", variable_value="yes")
    workflow = kapso.create(f"Buttons {end}", graph, active=True)
    started = kapso("POST", f"/workflows/{workflow['id']}/executions", {"workflow_execution": {}}, status=202)
    path = f"/workflow_executions/{started['id']}"
    wait_until(lambda: kapso("GET", path)["status"] == "waiting", timeout_s=120, what="the run to wait")
    kapso("POST", path + "/resume", {"message": answer})
    done = ("ended", "failed")
    wait_until(lambda: kapso("GET", path)["status"] in done, timeout_s=120, what="the run to end")
    run = kapso("GET", path)
    taken = [event["step"]["identifier"] for event in run["events"] if event["event_type"] == "step_entered"]
    assert taken[-2:] == ["decide_3", end]
