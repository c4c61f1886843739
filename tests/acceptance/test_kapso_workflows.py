"""Workflows and their triggers through Kapso's API: objects, lists, changes and what is refused."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import httpx
import pytest

from tests.support.kapso import error_of
from tests.support.projects import Project
from tests.support.workflows import START, WorkflowsApi, a_line, a_node

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
HANDOFF = a_node("h", "handoff")
DECIDE = a_node("d", "decide", decision_type="function", function_slug="f", conditions=[{"label": "yes"}])


@pytest.fixture(scope="module")
def kapso(common_home: Project) -> WorkflowsApi:
    return WorkflowsApi(common_home.client)


def test_a_workflow_has_the_members_that_are_described(kapso: WorkflowsApi) -> None:
    made = kapso.create("Described ☂", a_line(HANDOFF))
    assert made["id"] == str(uuid.UUID(made["id"]))
    assert all(TIME.fullmatch(made[name]) for name in ("created_at", "updated_at"))
    fixed = {name: made[name] for name in made if name not in ("id", "created_at", "updated_at", "project_id")}
    assert fixed == {
        "name": "Described ☂",
        "slug": "described",
        "description": None,
        "status": "draft",
        "lock_version": 0,
        "message_debounce_seconds": 1,
        "inbound_message_read_mode": "read_with_typing",
        "agent_default_tools_version": None,
        "execution_count": 0,
        "last_executed_at": None,
    }
    assert kapso("GET", f"/workflows/{made['id']}") == made
    graph = kapso.graph(made["id"])
    assert {name: graph[name] for name in made} == made
    assert graph["definition"]["nodes"][1] == {
        **HANDOFF,
        "data": {"node_type": "handoff", "config": {}, "display_name": None},
    }
    (edge,) = graph["definition"]["edges"]
    assert uuid.UUID(edge.pop("id"))
    assert edge == {"source": "start", "target": "h", "label": "next", "type": "default", "flow_condition_id": None}


def test_a_name_is_enough(kapso: WorkflowsApi) -> None:
    made = kapso("POST", "/workflows", {"flow": {"name": "Lone", "status": "active", "unknown": 1}}, status=201)
    assert made["status"] == "draft"
    assert [node["data"]["node_type"] for node in kapso.graph(made["id"])["definition"]["nodes"]] == ["start"]


def test_the_list_is_filtered_by_what_scripts_send(home: Project) -> None:
    kapso = WorkflowsApi(home.client)
    first, second = kapso.create("First", a_line(HANDOFF), active=True), kapso.create("Second")

    def found(**query: str) -> list[str]:
        return [one["id"] for one in kapso("GET", "/workflows", params=query)]

    assert found() == [second["id"], first["id"]]
    assert found(status="active") == [first["id"]]
    assert found(name_contains="SEC") == [second["id"]]
    assert found(created_after=second["created_at"], created_before="2999-01-01T00:00:00Z")[:1] == [second["id"]]
    assert found(created_before="1970-01-01") == []
    told = kapso.refused("GET", "/workflows", params={"name_contains": "a\x00b"})
    assert told == "name_contains holds characters that cannot be stored"
    assert (
        kapso.refused("GET", "/workflows", params={"status": "paused"})
        == "status must be one of draft, active, archived"
    )
    for odd in ("yesterday", "\x00", "9" * 400, "2027-13-01"):
        assert kapso.refused("GET", "/workflows", params={"created_after": odd}).startswith(
            "created_after must be a time"
        )


def test_a_change_counts_and_a_stale_one_is_refused(kapso: WorkflowsApi) -> None:
    made = kapso.create("Changed", a_line(HANDOFF))
    path = f"/workflows/{made['id']}"
    after = kapso("PATCH", path, {"workflow": {"lock_version": 0, "status": "active", "description": "d"}})
    assert (after["status"], after["description"], after["lock_version"]) == ("active", "d", 1)
    assert "definition" not in after
    told = kapso.refused("PATCH", path, {"workflow": {"lock_version": 0, "name": "x"}}, status=409)
    assert told == "The workflow was changed meanwhile: lock_version is 1, not 0"
    assert kapso.refused("PATCH", path, {"workflow": {"lock_version": "1"}}) == "lock_version must be a whole number"
    archived = kapso("PATCH", path.upper().replace("/WORKFLOWS", "/workflows"), {"flow": {"status": "archived"}})
    assert (archived["status"], archived["lock_version"]) == ("archived", 2)
    kapso("DELETE", path, status=204)
    assert kapso.refused("GET", path, status=404) == "Workflow not found"


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        (
            {"nodes": [START, a_node("n", "pipedream")], "edges": []},
            "nodes[1] (n).data.node_type must be one of start,",
        ),
        ({"nodes": [START, {"id": "n", "data": {"config": {}}}]}, "nodes[1] (n).data.node_type must be one of"),
        ({"nodes": [HANDOFF]}, "exactly one node of the type start is needed, and there is none"),
        (a_line(a_node("n", "function", function_id="FUNCTION_ID_HERE")), "(n).data.config.function_id must be a UUID"),
        (a_line(a_node("n", "agent", provider_model_id="PROVIDER_MODEL_ID_HERE")), "(n).data.config.provider_model_id"),
        (a_line(a_node("n", "send_text", message="a", nonsense=1)), "(n).data.config.nonsense is not known"),
        (a_line(a_node("n", "wait_for_response", timeout_seconds=1)), "timeout_seconds must be a whole number from 10"),
        ({"nodes": [START], "edges": [{"source": "start", "target": "x"}]}, "edges[0].target: there is no node 'x'"),
        ({"nodes": [START] * 501}, "definition.nodes must be a list of at most 500"),
        ({"nodes": [START, a_node("n", "handoff", reason="x" * 1_048_576)]}, "definition is too large"),
        ([], "definition must be an object with nodes and edges"),
        ("\ud800", "definition must be an object with nodes and edges"),
    ],
)
def test_a_graph_that_is_none_is_refused_by_its_node(kapso: WorkflowsApi, definition: Any, text: str) -> None:
    body = json.dumps({"workflow": {"name": "None", "definition": definition}})
    told = kapso.refused("POST", "/workflows", status=422, content=body)
    assert text in told
    assert kapso("GET", "/workflows", params={"name_contains": "None"}) == []


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        (
            {"nodes": [START, HANDOFF], "edges": []},
            "node start: the start has no edge with the label next; node h: no path",
        ),
        (
            {**a_line(DECIDE, HANDOFF)},
            "node d: the edge 'next' has no condition; node d: the condition 'yes' has no edge",
        ),
        (a_line(a_node("f", "function", function_slug="gone")), "node f: there is no function gone"),
        (a_line(a_node("f", "function", function_slug="\x00\ud800")), "node f: there is no function \x00\ud800"),
        (a_line(a_node("c", "call", workflow_slug="gone")), "node c: there is no workflow gone"),
        (a_line(a_node("c", "call", workflow_slug="\x00\ud800")), "node c: there is no workflow \x00\ud800"),
        (a_line(a_node("a", "agent")), "node a: the project has no model for agents"),
        (a_line(a_node("s", "send_text", message={"$ai": {}})), "node s: the project has no model for agents"),
    ],
)
def test_a_draft_may_hold_what_an_active_one_may_not(kapso: WorkflowsApi, definition: Any, text: str) -> None:
    # Escaped: some of it has no UTF-8.
    sent = json.dumps({"workflow": {"name": f"Draft {uuid.uuid4()}", "definition": definition}})
    made = kapso("POST", "/workflows", content=sent, status=201)
    told = kapso.refused("PATCH", f"/workflows/{made['id']}", {"workflow": {"status": "active"}})
    assert told.startswith("the workflow cannot be active: ")
    assert text in told
    assert kapso("GET", f"/workflows/{made['id']}") == made


def test_hostile_bodies_are_refused_and_change_nothing(kapso: WorkflowsApi) -> None:
    made = kapso.create("Hostile")
    path = f"/workflows/{made['id']}"
    for name in ("a\x00", "\ud800", "a\r\nb", "a\u2028b", "", None, 5, "n" * 300):
        for method, where in (("POST", "/workflows"), ("PATCH", path)):
            body = json.dumps({"workflow": {"name": name}})
            assert "name" in kapso.refused(method, where, content=body)
    for body in ("[]", "3", '"x"', '{"workflow": []}', '{"workflow": null}', "{}"):
        for method, where in (("POST", "/workflows"), ("PATCH", path)):
            assert kapso.refused(method, where, content=body) == 'the request must be a JSON object with "workflow"'
    deep = '{"workflow": {"name": "deep", "definition": {"nodes": ' + "[" * 9_000 + "]" * 9_000 + "}}}"
    assert kapso.client.patch("/platform/v1" + path, content=deep).status_code in (400, 422)
    for odd in ("{", '{"workflow": {"name": NaN}}', b'{"workflow": "\xff"}'):
        assert kapso.refused("POST", "/workflows", content=odd, status=400) == "Invalid JSON in request"
    large = json.dumps(
        {"workflow": {"name": "large", "definition": {"nodes": [START], "edges": [], "x": "y" * 10_485_760}}}
    )
    assert kapso.refused("POST", "/workflows", content=large, status=413)
    assert kapso("GET", path) == made


def test_text_of_any_kind_comes_back_as_it_was_sent(kapso: WorkflowsApi) -> None:
    odd = "\x00\ud800\u2028\r\n</script>☂\U0001f600"
    headers = json.dumps({"X": "{{vars.a}}"})
    body = '{"a": [1, {"b": null}]}'
    named = a_node("s", "send_text", message=odd)
    named["data"]["display_name"] = odd
    definition = a_line(
        named,
        a_node("w", "webhook", url="https://a.example", headers=headers, body_template=body),
        a_node("n", "webhook", url="https://a.example", body_template='{"a": NaN}'),
    )
    sent = json.dumps({"workflow": {"name": "Odd", "definition": definition}})
    made = kapso("POST", "/workflows", content=sent, status=201)
    text, webhook, raw = (node["data"] for node in kapso.graph(made["id"])["definition"]["nodes"][1:])
    assert text["config"]["message"] == text["display_name"] == odd
    assert webhook["config"]["headers"] == {"X": "{{vars.a}}"}
    assert webhook["config"]["body_template"] == {"a": [1, {"b": None}]}
    assert raw["config"]["body_template"] == '{"a": NaN}'
    deep = '{"a": ' + "[" * 100 + "]" * 100 + "}"
    graph = a_line(a_node("w", "webhook", url="https://a.example", body_template=deep))
    assert "nested too deeply" in kapso.refused(
        "POST", "/workflows", {"workflow": {"name": "Deep", "definition": graph}}
    )


def test_unknown_ids_are_not_found(kapso: WorkflowsApi) -> None:
    for odd in (str(uuid.uuid4()), "x", "%00", "%ED%A0%80", "9" * 300):
        for path in ("", "/definition", "/triggers", "/variables"):
            assert kapso.refused("GET", f"/workflows/{odd}{path}", status=404)
        assert kapso.refused("PATCH", f"/triggers/{odd}", {"trigger": {"active": True}}, status=404)


def test_triggers_have_the_shapes_that_are_described(kapso: WorkflowsApi) -> None:
    path = f"/workflows/{kapso.create('Triggered')['id']}/triggers"
    none = {"property_key": None, "operator": None, "property_value": None}
    wanted = [
        ({"trigger_type": "api_call"}, "API Call Trigger", {}),
        ({"trigger_type": "inbound_message", "phone_number_id": "7"}, "WhatsApp: 7", {"phone_number_id": "7"}),
        (
            {"trigger_type": "whatsapp_event", "event": "whatsapp.message.sent"},
            None,
            {"event": "whatsapp.message.sent"},
        ),
        (
            {"trigger_type": "project_event", "triggerable_attributes": {"event_name": "order.paid"}},
            "Event: order.paid",
            {"event_name": "order.paid", **none},
        ),
    ]
    made = [kapso("POST", path, {"trigger": sent}, status=201) for sent, _, _ in wanted]
    assert [(one["display_name"], one["triggerable"]) for one in made] == [(name, kept) for _, name, kept in wanted]
    assert all(one["active"] and TIME.fullmatch(one["created_at"]) for one in made)
    assert kapso("GET", path) == made

    one = f"/triggers/{made[0]['id']}"
    assert kapso("PATCH", one, {"trigger": {"active": False}})["active"] is False
    assert kapso.refused("PATCH", one, {"trigger": {}}) == "active must be true or false"
    kapso("DELETE", one, status=204)
    assert kapso.refused("DELETE", one, status=404) == "Trigger not found"
    told = kapso.refused("PUT", path, {"triggers": [{"trigger_type": "api_call"}, {"trigger_type": "x"}]})
    assert told == "trigger_type must be one of api_call, inbound_message, whatsapp_event, project_event"
    assert kapso("GET", path) == made[1:]
    for odd in (None, {}, "x", [3]):
        assert kapso.refused("PUT", path, {"triggers": odd})
    assert kapso("PUT", path, {"triggers": []}) == []


def test_variables_are_those_of_the_graph(kapso: WorkflowsApi) -> None:
    definition = a_line(
        a_node("w", "wait_for_response", save_response_to="answer"),
        a_node("s", "send_text", message="{{ vars.answer }}, {{context.contact.wa_id}} {{system.flow_id}} {{lone}}"),
        a_node("v", "set_variable", variable_name="tier", variable_value={"a": ["{{vars.answer}}"]}),
    )
    made = kapso.create("Variables", definition)
    shown = kapso("GET", f"/workflows/{made['id']}/variables")
    assert shown["fixed"]["system"]["system.flow_id"] == {
        "type": "string",
        "description": "The workflow's id",
        "always_available": True,
    }
    found = {
        space: [(one["path"], one["usage_count"]) for one in items] for space, items in shown["discovered"].items()
    }
    assert found == {
        "system": [],
        "context": [("context.contact.wa_id", 1)],
        "vars": [("vars.answer", 3), ("vars.lone", 1), ("vars.tier", 1)],
    }
    assert shown["discovered"]["vars"][0] == {
        "path": "vars.answer",
        "name": "answer",
        "type": None,
        "sample_values": [],
        "usage_count": 3,
        "last_seen_at": None,
        "reference": "{{vars.answer}}",
    }


def test_what_stands_around_workflows_is_there(kapso: WorkflowsApi) -> None:
    assert kapso("GET", "/provider_models") == []
    assert kapso("GET", "/whatsapp/phone_numbers", params={"per_page": "20", "page": "1"}) == []


def test_the_model_of_agents_is_listed_and_lets_them_be_active(home: Project) -> None:
    kapso = WorkflowsApi(home.client)
    model = {"base_url": "https://models.example/v1", "model": "small-☂"}
    assert home.client.put(f"/isolet/v1/projects/{home.slug}/model", json=model).is_success
    (shown,) = kapso("GET", "/provider_models")
    assert (shown["name"], str(uuid.UUID(shown["id"]))) == ("small-☂", shown["id"])
    agent = a_node("a", "agent", provider_model_id=shown["id"], system_prompt="Help")
    assert kapso.create("Agent", a_line(agent), active=True)["status"] == "active"


def test_the_older_base_speaks_of_flows(common_home: Project) -> None:
    """The requests of `flow push`, `flow list --remote` and `flow pull`, with the graph that they write."""
    client: httpx.Client = common_home.client
    definition = {
        "nodes": [
            {"id": "start_1234", "type": "flow-node", "data": {"node_type": "start", "config": {}}},
            {
                "id": "wait_response",
                "type": "flow-node",
                "data": {"node_type": "wait_for_response", "config": {"timeout_seconds": 300}},
            },
        ],
        "edges": [{"source": "start_1234", "target": "wait_response", "label": "next"}],
    }
    flow = {"name": "Demo flow", "description": "A demo", "definition": definition}
    pushed = client.post("/api/v1/flows", json={"flow": flow})
    assert (pushed.status_code, pushed.json()["data"]["name"]) == (201, "Demo flow")
    one = f"/api/v1/flows/{pushed.json()['data']['id']}"
    again = client.patch(one, json={"flow": {**flow, "description": "Again"}})
    assert (again.status_code, again.json()["data"]["description"]) == (200, "Again")
    assert "Demo flow" in [item["name"] for item in client.get("/api/v1/flows").json()["data"]]
    assert client.get(one).json() == again.json()
    pulled = client.get(one + "/definition").json()["data"]
    assert (pulled["name"], len(pulled["definition"]["nodes"])) == ("Demo flow", 2)
    assert pulled["definition"]["nodes"][1]["data"]["config"] == {"timeout_seconds": 300}
    assert error_of(client.post("/api/v1/flows", json={"flow": flow})) == "name has already been taken"
