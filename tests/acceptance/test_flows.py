"""The native routes of workflows and their runs: policies, pictures, events, the channel, retries and pauses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from tests.support.kapso import Kapso
from tests.support.projects import Project, new_project
from tests.support.receiver import Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.workflows import WorkflowsApi, a_line, a_node

V1 = "/isolet/v1"
_JSON = {"content-type": "application/json"}
SVG = "{http://www.w3.org/2000/svg}"
# Fails until the project's store says otherwise.
_FAILS = """
async function handler(request, env) {
  const body = await request.json();
  if (!(await env.KV.get("healed"))) throw new Error("not yet");
  return Response.json({vars: {healed: true, seen: body.execution_context.vars}});
}"""

# As Kapso's page prints them; that of an agent's tool is in `test_agents.py`.
_FUNCTION_SAMPLE = """async function handler(request, env) {
const body = await request.json();
const executionContext = body.execution_context || {};
const vars = executionContext.vars || {};
const context = executionContext.context || {};
const user = {
phoneNumber: context.phone_number,
plan: vars.plan || "free"
};
return new Response(JSON.stringify({
vars: {
user
}
}), {
headers: { "Content-Type": "application/json" }
});
}"""
_DECIDE_SAMPLE = """async function handler(request, env) {
const body = await request.json();
const availableEdges = body.available_edges || [];
const vars = body.execution_context?.vars || {};
let nextEdge = availableEdges[0] || "default";
if ((vars.customer_tier || "").toLowerCase() === "vip" && availableEdges.includes("vip")) {
nextEdge = "vip";
}
return new Response(JSON.stringify({
next_edge: nextEdge
}), {
headers: { "Content-Type": "application/json" }
});
}"""


class Flows:
    """The native API of one project."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.client = project.client
        self.workflows = WorkflowsApi(project.client)

    def __call__(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        content = None if body is None else json.dumps(body)
        reply = self.client.request(method, V1 + path, content=content, headers=_JSON)
        assert reply.status_code == status, reply.text
        return reply.json()

    def refused(self, method: str, path: str, body: Any, *, status: int = 422) -> str:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = self.client.request(method, V1 + path, content=content, headers=_JSON)
        assert reply.status_code == status, reply.text
        return str(reply.json()["error"]["message"])

    def started_by(self, event: str, name: str, definition: Any, **condition: Any) -> str:
        """The id of an active workflow that the event starts."""
        workflow_id = self.workflows.create(name, definition, active=True)["id"]
        trigger = {"trigger_type": "project_event", "event_name": event, **condition}
        self.workflows("POST", f"/workflows/{workflow_id}/triggers", {"trigger": trigger}, status=201)
        return str(workflow_id)

    def emit(self, name: str, **properties: Any) -> list[str]:
        """The ids of the runs that it started."""
        sent = {"name": name, "properties": properties}
        event = self("POST", f"/projects/{self.project.slug}/events", sent, status=202)
        return [one["id"] for one in event["executions"]]

    def run(self, execution_id: str, *statuses: str) -> Any:
        """A run, once it has one of these statuses."""

        def look() -> Any:
            found = self("GET", f"/executions/{execution_id}")
            return found if found["status"] in statuses else None

        return wait_until(look, what=f"a run that is {' or '.join(statuses)}")


@pytest.fixture(scope="module")
def flows(calling_server: Server) -> Iterator[Flows]:
    with calling_server.client() as root, new_project(calling_server, root) as project:
        yield Flows(project)


@pytest.fixture(scope="module")
def fails(flows: Flows) -> str:
    """The id of a function that fails until the key `healed` is there."""
    return Kapso(flows.client).deployed(_FAILS, "Fails")


def test_policies_are_kept_beside_the_graph_and_refused_whole(flows: Flows) -> None:
    workflow_id = flows.workflows.create("Policies", a_line(a_node("bye", "handoff")))["id"]
    path = f"/flows/{workflow_id}/policies"
    sent = {"bye": {"retries": 2, "backoff_s": 0.5, "on_error": {"go_to": "start"}}}

    assert flows("GET", path) == {}
    assert flows("PUT", path, sent) == sent
    assert "bye: the workflow has no node" not in flows.refused("PUT", path, {"bye": {"retries": 99}})
    assert "policies.gone" in flows.refused("PUT", path, {"bye": {}, "gone": {}})
    assert "go_to" in flows.refused("PUT", path, {"bye": {"on_error": {"go_to": "gone"}}})
    flows.refused("PUT", path, {"\ud800\x00": {}})
    flows.refused("PUT", path, [])
    flows.refused("PUT", path, {f"n{number}": {} for number in range(501)})
    deep = b'{"bye": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    assert flows.client.put(V1 + path, content=deep, headers=_JSON).is_client_error
    assert flows("GET", path) == sent
    assert flows.workflows.graph(workflow_id)["definition"]["nodes"][1]["data"]["config"] == {}


def test_policies_of_an_active_workflow_keep_every_node_within_reach(flows: Flows) -> None:
    line = a_line(a_node("wait", "wait_for_response"))
    line["nodes"].append(a_node("sorry", "handoff"))
    workflow_id = flows.workflows.create("Reach", line)["id"]
    path = f"/flows/{workflow_id}/policies"
    activate = {"workflow": {"status": "active"}}

    assert "sorry" in flows.workflows.refused("PATCH", f"/workflows/{workflow_id}", activate)
    flows("PUT", path, {"wait": {"on_error": {"go_to": "sorry"}}})
    flows.workflows("PATCH", f"/workflows/{workflow_id}", activate)
    assert "sorry" in flows.refused("PUT", path, {})
    assert flows("GET", path) == {"wait": {"on_error": {"go_to": "sorry"}}}


def test_a_graph_is_shown_as_a_picture_and_as_text(flows: Flows) -> None:
    hostile = "</text><script>alert(1)</script>\u202e\x1b\ud800"
    node = a_node("bye", "handoff")
    node["data"]["display_name"] = hostile
    workflow_id = flows.workflows.create("Pictures", a_line(node))["id"]

    svg = flows.client.get(f"{V1}/flows/{workflow_id}/graph.svg")
    text = flows.client.get(f"{V1}/flows/{workflow_id}/graph.mmd")

    assert svg.headers["content-type"].startswith("image/svg+xml")
    assert text.headers["content-type"].startswith("text/plain")
    for reply in (svg, text):
        assert reply.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert reply.headers["x-content-type-options"] == "nosniff"
    document = ElementTree.fromstring(svg.content)  # noqa: S314 - our own server's
    assert not list(document.iter(f"{SVG}script"))
    assert text.text.splitlines()[0] == "flowchart LR"
    assert "<script>" not in text.text


def test_an_event_starts_the_active_workflows_that_wait_for_it(flows: Flows) -> None:
    waits = a_line(a_node("wait", "wait_for_response"))
    large = flows.started_by("order.paid", "Large", waits, property_key="amount", operator="gt", property_value=100)
    every = flows.started_by("order.paid", "Every", waits)
    flows.started_by("order.paid.late", "Other", waits)
    asleep = flows.started_by("order.paid", "Asleep", waits)
    flows.workflows("PATCH", f"/workflows/{asleep}", {"workflow": {"status": "draft"}})
    slug = flows.project.slug

    sent = {"name": "order.paid", "properties": {"amount": 250, "who": "ada\ud800"}, "occurred_at": "2026-01-31T12:00Z"}
    event = flows("POST", f"/projects/{slug}/events", sent, status=202)
    small = flows.emit("order.paid", amount=100)
    nobody = flows.emit("order.lost")

    assert {one["workflow_id"] for one in event["executions"]} == {large, every}
    assert event["occurred_at"] == "2026-01-31T12:00:00.000Z"
    assert (len(small), nobody) == (1, [])
    run = flows.run(event["executions"][0]["id"], "waiting")
    context = run["execution_context"]
    assert context["context"]["channel"] == "project_event"
    assert context["context"]["event"] == {key: event[key] for key in ("id", "name", "properties", "occurred_at")}
    assert context["system"]["project_event_id"] == event["id"]
    assert run["trigger"] == "project_event"


def test_an_event_may_be_emitted_on_the_route_of_kapso(flows: Flows) -> None:
    workflow_id = flows.started_by("lead.won", "Won", a_line(a_node("wait", "wait_for_response")))
    sent = {"name": "lead.won", "properties": {"score": 4}, "conversation_id": "c-1"}

    event = flows.workflows("POST", "/events", sent, status=201)

    assert event == {"id": event["id"], "occurred_at": event["occurred_at"], **sent}
    (started,) = flows("GET", f"/executions?project={flows.project.slug}&workflow={workflow_id}")["data"]
    context = flows.run(started["id"], "waiting")["execution_context"]["context"]
    assert (context["event"]["id"], context["conversation_id"]) == (event["id"], "c-1")
    bad: list[Any] = [[], {"name": 1}, {**sent, "conversation_id": {}}, {**sent, "conversation_id": "x" * 257}]
    for body in (*bad, {**sent, "properties": {"a": []}}, {**sent, "occurred_at": 20270131}):
        assert flows.workflows.refused("POST", "/events", body)


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ({"name": "Order Paid"}, "name"),
        ({"name": "a" * 129}, "name"),
        ({"name": "a\u0000b"}, "name"),
        ({}, "name"),
        ({"name": "a", "more": 1}, "more"),
        ({"name": "a", "properties": []}, "properties"),
        ({"name": "a", "properties": {"a": {"b": 1}}}, "properties.a"),
        ({"name": "a", "properties": {"a": "x" * 1_025}}, "properties.a"),
        ({"name": "a", "properties": {str(number): 1 for number in range(26)}}, "25"),
        ({"name": "a", "occurred_at": "yesterday"}, "occurred_at"),
    ],
)
def test_an_event_that_breaks_a_rule_starts_nothing(flows: Flows, sent: Any, named: str) -> None:
    path = f"/projects/{flows.project.slug}/events"

    assert named in flows.refused("POST", path, sent)


def test_workflows_that_emit_what_starts_them_do_not_run_for_ever(flows: Flows) -> None:
    echo = a_line(a_node("emit", "emit_event", event_name="echo.heard", properties={}))
    workflow_id = flows.started_by("echo.heard", "Echo", echo)

    (execution_id,) = flows.emit("echo.heard")

    run = flows.run(execution_id, "failed")
    assert "cannot emit events" in run["error"]["message"]
    listed = flows("GET", f"/executions?project={flows.project.slug}&workflow={workflow_id}")
    assert [one["id"] for one in listed["data"]] == [execution_id]


def test_a_run_emits_a_few_events_only(flows: Flows) -> None:
    emit = a_node("emit", "emit_event", event_name="nobody.waits", properties={})
    loop = a_line(emit)
    loop["edges"].append({"source": "emit", "target": "emit"})
    workflow_id = flows.workflows.create("Emits", loop, active=True)["id"]
    started = flows.workflows("POST", f"/workflows/{workflow_id}/executions", {"workflow_execution": {}}, status=202)

    run = flows.run(started["id"], "failed")

    assert run["error"]["message"] == "a run may emit 10 events"
    assert [step["status"] for step in run["steps"]] == ["succeeded"] * 11 + ["failed"]


def test_a_run_that_failed_goes_on_from_the_step_that_is_named(flows: Flows, fails: str) -> None:
    line = a_line(
        a_node("name", "set_variable", variable_name="name", variable_value="ada"),
        a_node("work", "function", function_id=fails),
        a_node("done", "set_variable", variable_name="done", variable_value="yes"),
    )
    workflow_id = flows.started_by("retry.me", "Retried", line)
    (execution_id,) = flows.emit("retry.me")
    failed = flows.run(execution_id, "failed")
    assert [step["status"] for step in failed["steps"]] == ["succeeded", "succeeded", "failed"]
    assert failed["steps"][-1]["invocation_id"]
    assert failed["error"]["node_id"] == failed["node_id"] == "work"
    assert "not yet" in failed["steps"][-1]["error"]

    retry = f"/executions/{execution_id}/retry"
    assert "from" in flows.refused("POST", retry, {"from": "gone"})
    assert "graph" in flows.refused("POST", retry, {"graph": "newest"})
    flows.refused("POST", retry, {"from": "\ud800\x00" * 100})
    assert flows.client.put(f"{V1}/projects/{flows.project.slug}/kv/healed", content=b"1").status_code == 204
    assert flows("POST", retry, {"from": "work"}, status=202)["id"] == execution_id

    ended = flows.run(execution_id, "ended")
    assert ended["execution_context"]["vars"] == {
        **{"name": "ada", "done": "yes", "healed": True},
        "seen": {"name": "ada"},
    }
    kept = [step for step in ended["steps"] if not step["superseded"]]
    assert [step["node_id"] for step in kept] == ["start", "name", "work", "done"]
    svg = flows.client.get(f"{V1}/executions/{execution_id}/graph.svg")
    assert svg.text.count("· succeeded") >= 4
    assert svg.text.count('marker-end="url(#taken)"') == 3
    flows.refused("POST", f"/executions/{execution_id}/cancel", {})
    assert workflow_id == ended["workflow_id"]


def test_the_policy_of_a_node_says_where_a_run_goes_after_an_error(flows: Flows, fails: str) -> None:
    flows.client.delete(f"{V1}/projects/{flows.project.slug}/kv/healed")
    line = a_line(a_node("work", "function", function_id=fails))
    line["nodes"].append(a_node("sorry", "set_variable", variable_name="sorry", variable_value="yes"))
    workflow_id = flows.workflows.create("Led", line)["id"]
    flows(
        "PUT",
        f"/flows/{workflow_id}/policies",
        {"work": {"retries": 1, "backoff_s": 0, "on_error": {"go_to": "sorry"}}},
    )
    flows.workflows("PATCH", f"/workflows/{workflow_id}", {"workflow": {"status": "active"}})
    trigger = {"trigger_type": "project_event", "event_name": "lead.me"}
    flows.workflows("POST", f"/workflows/{workflow_id}/triggers", {"trigger": trigger}, status=201)

    (execution_id,) = flows.emit("lead.me")

    run = flows.run(execution_id, "ended")
    assert [(step["node_id"], step["attempts"]) for step in run["steps"]] == [("start", 1), ("work", 2), ("sorry", 1)]
    svg = flows.client.get(f"{V1}/executions/{execution_id}/graph.svg").text
    assert 'stroke-dasharray="6 5" marker-end="url(#taken)"' in svg


def test_a_run_is_paused_resumed_and_cancelled(flows: Flows) -> None:
    workflow_id = flows.started_by("wait.here", "Waits", a_line(a_node("wait", "wait_for_response")))
    (execution_id,) = flows.emit("wait.here")
    flows.run(execution_id, "waiting")

    assert flows("POST", f"/executions/{execution_id}/pause", status=202)["pause"] == "asked"
    assert flows("POST", f"/executions/{execution_id}/resume", status=202)["pause"] is None
    assert "neither paused" in flows.refused("POST", f"/executions/{execution_id}/resume", {})
    assert flows("POST", f"/executions/{execution_id}/cancel", status=202)["status"] == "ended"
    assert "ended" in flows.refused("POST", f"/executions/{execution_id}/pause", {})
    ended = flows("GET", f"/executions?project={flows.project.slug}&workflow=waits&status=ended")
    assert [(one["id"], one["workflow_id"]) for one in ended["data"]] == [(execution_id, workflow_id)]


def test_runs_are_listed_newest_first_and_by_pages(flows: Flows, root: httpx.Client) -> None:
    workflow_id = flows.started_by("list.me", "Listed", a_line(a_node("wait", "wait_for_response")))
    made = [flows.emit("list.me")[0] for _ in range(3)]
    here = f"/executions?project={flows.project.slug}&workflow={workflow_id}"

    first = flows("GET", f"{here}&limit=2")
    rest = flows("GET", f"{here}&limit=2&cursor={first['next_cursor']}")

    assert [one["id"] for one in first["data"] + rest["data"]] == made[::-1]
    assert rest["next_cursor"] is None
    for query in ("status=lost", "cursor=1", "limit=0", "workflow=%00", "workflow=" + "x" * 201):
        assert flows.client.get(f"{V1}/executions?project={flows.project.slug}&{query}").status_code == 422
    assert flows.client.get(f"{V1}/executions?workflow=gone").status_code == 404
    assert flows.client.get(f"{V1}/executions/{workflow_id}").status_code == 404
    assert flows.client.get(f"{V1}/executions/%00").status_code == 404


def test_messages_go_to_the_channel_of_the_project(flows: Flows, receiver: Receiver) -> None:
    path = f"/projects/{flows.project.slug}/channel"
    assert flows("GET", path) == {"url": None}
    for refused in (
        "ftp://a",
        "http://user:pass@a.example/",
        "https://169.254.169.254/",
        "https://a.example/ b",
        "x",
        7,
    ):
        assert "url" in flows.refused("PUT", path, {"url": refused})
    assert "url" in flows.refused("PUT", path, {})
    assert flows("GET", path) == {"url": None}

    flows.client.post(f"{V1}/projects/{flows.project.slug}/webhook-secrets")
    assert flows("PUT", path, {"url": receiver.url}) == {"url": receiver.url}
    flows.started_by(
        "say.hello", "Says", a_line(a_node("hello", "send_text", message="Hi {{context.event.properties.who}}"))
    )
    (execution_id,) = flows.emit("say.hello", who="ada")
    flows.run(execution_id, "ended")

    (delivery,) = receiver.deliveries
    assert json.loads(delivery.body)["message"]["message"] == "Hi ada"
    assert delivery.headers["webhook-signature"].startswith("v1,")
    assert flows("PUT", path, {"url": None}) == {"url": None} == flows("GET", path)


def test_what_belongs_to_another_project_is_not_there(flows: Flows, calling_server: Server) -> None:
    workflow_id = flows.started_by("mine.only", "Mine", a_line(a_node("wait", "wait_for_response")))
    (execution_id,) = flows.emit("mine.only")

    with calling_server.client() as root, new_project(calling_server, root) as other:
        stranger = Flows(other)
        for path in (
            f"/flows/{workflow_id}/graph.svg",
            f"/flows/{workflow_id}/policies",
            f"/executions/{execution_id}",
        ):
            assert other.client.get(V1 + path).status_code == 404
        assert stranger("GET", f"/executions?project={other.slug}&workflow={workflow_id}")["data"] == []
        assert stranger.emit("mine.only") == []


def test_a_schedule_starts_runs_of_a_workflow(flows: Flows) -> None:
    workflow_id = flows.started_by("not.used", "Nightly", a_line(a_node("wait", "wait_for_response")))
    path = f"/flows/{workflow_id}/schedules"
    made = flows("POST", path, {**_NIGHTLY, "overlap": "allow", "payload": {"tier": "vip\ud800"}}, status=201)
    assert (made["flow_id"], made["function_id"]) == (workflow_id, None)
    assert flows("GET", path)["data"] == [made] == flows("GET", f"/schedules?project={flows.project.slug}")["data"]

    ran = flows("POST", f"/schedules/{made['id']}/run", status=202)
    backfill = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T23:00:00Z"}
    assert flows("POST", f"/schedules/{made['id']}/backfill", backfill, status=202) == {"count": 2}

    run = flows.run(ran["execution_id"], "waiting")
    assert list(ran) == ["execution_id"]
    assert run["trigger"] == "schedule"
    assert run["execution_context"]["vars"] == {"tier": "vip\ud800"}
    assert run["execution_context"]["system"]["schedule_id"] == made["id"]

    def fired() -> Any:
        found = flows("GET", f"/schedules/{made['id']}/firings")["data"]
        return found if {one["status"] for one in found} == {"running"} else None

    firings = wait_until(fired, what="the firings")
    listed = flows("GET", f"/executions?project={flows.project.slug}&workflow={workflow_id}")["data"]
    assert len(firings) == 3
    assert {one["execution_id"] for one in firings} == {one["id"] for one in listed}
    assert {one["invocation_id"] for one in firings} == {None}
    begun = [flows.run(one["id"], "waiting")["execution_context"]["system"]["scheduled_time"] for one in listed[:2]]
    assert sorted(begun) == ["2026-01-01T03:00:00.000Z", "2026-01-02T03:00:00.000Z"]


_NIGHTLY = {"cron": "0 3 * * *", "name": "nightly"}


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace", "allow"])
def test_overlaps_of_runs_follow_their_policy(flows: Flows, overlap: str) -> None:
    workflow_id = flows.started_by("not.used", f"Overlap {overlap}", a_line(a_node("wait", "wait_for_response")))
    made = flows("POST", f"/flows/{workflow_id}/schedules", {**_NIGHTLY, "overlap": overlap}, status=201)
    run = f"/schedules/{made['id']}/run"
    first = flows("POST", run, status=202)["execution_id"]
    flows.run(first, "waiting")

    second = flows("POST", run, status=202)["execution_id"]

    if overlap == "queue":
        assert flows.client.get(f"{V1}/executions/{second}").status_code == 404
        flows("POST", f"/executions/{first}/cancel", status=202)
    if second is not None:
        wait_until(lambda: flows.client.get(f"{V1}/executions/{second}").status_code == 200, what="the second run")
        flows.run(second, "waiting")
    firings = {one["execution_id"]: one["status"] for one in flows("GET", f"/schedules/{made['id']}/firings")["data"]}
    assert (
        firings
        == {
            "skip": {first: "running", None: "skipped"},
            "queue": {first: "succeeded", second: "running"},
            "replace": {first: "failed", second: "running"},
            "allow": {first: "running", second: "running"},
        }[overlap]
    )
    assert flows.run(first, "waiting", "ended")["status"] == ("ended" if overlap in ("queue", "replace") else "waiting")


def test_a_schedule_shows_how_the_newest_run_ended(flows: Flows, fails: str) -> None:
    flows.client.delete(f"{V1}/projects/{flows.project.slug}/kv/healed")
    workflow_id = flows.started_by("not.used", "Fails often", a_line(a_node("work", "function", function_id=fails)))
    policies = {**_NIGHTLY, "pause_after_failures": 1}
    made = flows("POST", f"/flows/{workflow_id}/schedules", policies, status=201)
    flows.run(flows("POST", f"/schedules/{made['id']}/run", status=202)["execution_id"], "failed")

    asked_for = flows("GET", f"/schedules/{made['id']}")

    # Only firings of due times count for that.
    assert (asked_for["last_status"], asked_for["enabled"]) == ("failed", True)


def test_a_schedule_of_a_workflow_that_breaks_a_rule_starts_nothing(flows: Flows) -> None:
    workflow_id = flows.workflows.create("Asleep draft", a_line(a_node("wait", "wait_for_response")))["id"]
    path = f"/flows/{workflow_id}/schedules"
    for body in ({"cron": "* * *"}, {"cron": "0 3 * * *", "payload": [1]}, {"cron": "0 3 * * *", "flow_id": "x"}):
        flows.refused("POST", path, body)
    assert "payload" in flows.refused("POST", path, {"cron": "0 3 * * *", "payload": {"a": "x" * 70_000}})
    assert flows("GET", path)["data"] == []

    made = flows("POST", path, {"cron": "0 3 * * *", "name": "nightly"}, status=201)
    assert "name" in flows.refused("POST", path, {"cron": "0 3 * * *", "name": "nightly"}, status=409)
    assert "not active" in flows.refused("POST", f"/schedules/{made['id']}/run", {})
    assert flows("GET", f"/schedules/{made['id']}/firings")["data"] == []
    flows("POST", f"/schedules/{made['id']}/backfill", {"from": "2026-01-01", "to": "2026-01-02"}, status=202)

    def failed() -> bool:
        return [one["status"] for one in flows("GET", f"/schedules/{made['id']}/firings")["data"]] == ["failed"]

    wait_until(failed, what="the firing that failed")
    assert flows("GET", f"/executions?project={flows.project.slug}&workflow={workflow_id}")["data"] == []


@pytest.mark.parametrize(("tier", "taken"), [("VIP", "vip"), ("vip", "vip"), ("basic", "default"), (None, "default")])
def test_the_samples_of_function_and_decide_nodes_run_as_they_are_printed(
    flows: Flows, samples: str, tier: str | None, taken: str
) -> None:
    sent = {"phone_number": "+15550100", "variables": {"customer_tier": tier}}
    started = flows.workflows("POST", f"/workflows/{samples}/executions", {"workflow_execution": sent}, status=202)

    run = flows.run(started["id"], "ended")

    assert run["execution_context"]["vars"] == {
        "customer_tier": tier,
        "user": {"phoneNumber": "+15550100", "plan": "free"},
        "took": taken,
    }
    assert [step["node_id"] for step in run["steps"]] == ["start", "user", "tier", f"took_{taken}"]


@pytest.fixture(scope="module")
def samples(flows: Flows) -> str:
    """The id of an active workflow with both samples."""
    kapso = Kapso(flows.client)
    line = a_line(a_node("user", "function", function_id=kapso.deployed(_FUNCTION_SAMPLE, "User")))
    conditions = [{"label": label} for label in ("default", "vip")]
    decides = kapso.deployed(_DECIDE_SAMPLE, "Tier")
    line["nodes"].append(a_node("tier", "decide", decision_type="function", function_id=decides, conditions=conditions))
    line["edges"].append({"source": "user", "target": "tier"})
    for label in ("default", "vip"):
        line["nodes"].append(a_node(f"took_{label}", "set_variable", variable_name="took", variable_value=label))
        line["edges"].append({"source": "tier", "target": f"took_{label}", "label": label})
    return str(flows.workflows.create("Samples", line, active=True)["id"])
