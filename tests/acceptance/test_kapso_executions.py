"""Runs of workflows through Kapso's API, with the requests that its published clients send."""

from __future__ import annotations

import base64
import json
import re
import uuid
from typing import Any

import pytest

from tests.support.kapso import SharedKapso
from tests.support.projects import Project
from tests.support.waiting import wait_until
from tests.support.workflows import START, WorkflowsApi, a_line, a_node

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
CODE = """async function handler(request, env) {
  const body = await request.json();
  return new Response(JSON.stringify({ vars: { customer_tier: "VIP", seen: Object.keys(body).sort() } }), {
    headers: { "Content-Type": "application/json" },
  });
}"""


class Runs(WorkflowsApi):
    def start(self, workflow_id: str, **sent: Any) -> str:
        data = self("POST", f"/workflows/{workflow_id}/executions", {"workflow_execution": sent}, status=202)
        assert set(data) == {"message", "workflow_id", "id", "tracking_id"}
        assert (data["message"], data["workflow_id"]) == ("Workflow execution initiated", workflow_id)
        return str(data["id"])

    def run(self, execution_id: str) -> Any:
        return self("GET", f"/workflow_executions/{execution_id}")

    def reached(self, execution_id: str, status: str) -> Any:
        def found() -> Any:
            run = self.run(execution_id)
            return run if run["status"] == status else None

        return wait_until(found, timeout_s=120, what=f"the run to be {status}")


@pytest.fixture(scope="module")
def kapso(common_home: Project) -> Runs:
    return Runs(common_home.client)


@pytest.fixture(scope="module")
def waiting(kapso: Runs) -> str:
    """An active workflow that waits for an answer, then hands over."""
    line = a_line(a_node("wait", "wait_for_response", save_response_to="answer"), a_node("hand", "handoff", reason="r"))
    return str(kapso.create("Waiting", line, active=True)["id"])


def test_a_function_changes_variables_and_the_run_ends(kapso: Runs, common_platform: SharedKapso) -> None:
    function_id = common_platform.deployed(CODE)
    line = a_line(a_node("f", "function", function_id=function_id, save_response_to="whole"))
    workflow = kapso.create("Function", line, active=True)
    started = kapso.start(workflow["id"], phone_number="+15550100", variables={"a": 1}, context={"b": 2})
    run = kapso.reached(started, "ended")
    assert run["execution_context"]["vars"] == {
        "a": 1,
        "customer_tier": "VIP",
        "seen": ["available_edges", "execution_context", "flow_events", "flow_info"],
        "whole": {
            "vars": {
                "customer_tier": "VIP",
                "seen": ["available_edges", "execution_context", "flow_events", "flow_info"],
            }
        },
    }
    context = run["execution_context"]["context"]
    assert (context["phone_number"], context["b"], context["channel"]) == ("+15550100", 2, "api")
    assert run["execution_context"]["metadata"]["request"]["ip"] == "127.0.0.1"
    assert run["execution_context"]["metadata"]["request"]["user_agent"] == kapso.client.headers["user-agent"]
    assert run["workflow"] == {"id": workflow["id"], "name": "Function", "status": "active"}
    assert run["error_details"] is None
    assert run["resumable_execution_id"] is None
    assert all(TIME.fullmatch(run[name]) for name in ("started_at", "ended_at", "last_event_at"))
    events = [event["event_type"] for event in run["events"]]
    assert (events[0], events[-1]) == ("execution_started", "execution_ended")
    path = f"{kapso.base}/workflows/{workflow['id']}/executions"
    telling = {"User-Agent": f"tool/1 ({kapso.client.headers['X-API-Key']})"}
    told = kapso.client.post(path, json={"workflow_execution": {}}, headers=telling).json()["data"]
    assert kapso.run(told["id"])["execution_context"]["metadata"]["request"]["user_agent"] == ""
    again = kapso("GET", f"/workflows/{workflow['id']}")
    assert (again["execution_count"], again["lock_version"]) == (2, workflow["lock_version"])
    assert TIME.fullmatch(again["last_executed_at"])


def test_a_run_waits_is_answered_and_ended(kapso: Runs, waiting: str) -> None:
    run_id = kapso.start(waiting, recipient="+15550101", initial_data={"a": 1, "b": 1}, variables={"b": 2})
    path = f"/workflow_executions/{run_id}"
    run = kapso.reached(run_id, "waiting")
    assert run["execution_context"]["vars"] == {"a": 1, "b": 2}
    assert run["execution_context"]["context"]["phone_number"] == "+15550101"
    assert run["resumable_execution_id"] == run_id
    step = run["current_step"]
    assert (step["identifier"], step["stepable_type"]) == ("wait", "FlowWaitStep")
    assert uuid.UUID(step["id"])

    resumed = kapso("POST", path + "/resume", {"message": {"data": {"text": "hi"}}, "variables": {"b": 3}})
    assert (resumed["id"], resumed["requested_execution_id"]) == (run_id, run_id)
    assert resumed["parent_flow_execution_id"] is None
    run = kapso.reached(run_id, "handoff")
    assert run["execution_context"]["vars"]["answer"] == {"text": "hi"}
    assert run["execution_context"]["vars"]["b"] == 3
    told = kapso.refused("POST", path + "/resume", {"message": {"data": 1}})
    assert told == "Execution is not waiting (it is handoff)"

    ended = kapso("PATCH", path, {"workflow_execution": {"status": "ended"}})
    assert (ended["status"], ended["error_details"]) == ("ended", None)
    assert {"execution_context", "events"}.isdisjoint(ended)
    told = kapso.refused("PATCH", path, {"workflow_execution": {"status": "waiting"}})
    assert told == "Invalid transition from ended to waiting"


def test_an_answer_goes_to_the_deepest_run_that_waits(kapso: Runs, waiting: str) -> None:
    outer = kapso.create("Outer", a_line(a_node("c", "call", workflow_id=waiting)), active=True)
    run_id = kapso.start(outer["id"])
    inner_id = wait_until(lambda: _deepest(kapso, run_id), timeout_s=120, what="the inner run to wait")
    resumed = kapso("POST", f"/workflow_executions/{run_id}/resume", {"message": {"data": "yes"}})
    assert resumed["id"] == inner_id
    assert resumed["requested_execution_id"] == resumed["parent_flow_execution_id"] == run_id
    kapso("PATCH", f"/workflow_executions/{run_id}", {"workflow_execution": {"status": "ended"}})


def _deepest(kapso: Runs, run_id: str) -> str | None:
    found = kapso.run(run_id)["resumable_execution_id"]
    return None if found in (None, run_id) else str(found)


def test_lists_of_runs_are_filtered_and_paged(kapso: Runs) -> None:
    line = a_line(a_node("wait", "wait_for_response"))
    workflow = kapso.create("Listed", line, active=True)
    path = f"/workflows/{workflow['id']}/executions"
    made = [kapso.start(workflow["id"], variables={"n": n}) for n in range(5)][::-1]
    for run_id in made:
        kapso.reached(run_id, "waiting")

    def page(**query: Any) -> tuple[list[str], dict[str, Any]]:
        reply = kapso.client.get("/platform/v1" + path, params=query)
        assert reply.status_code == 200, reply.text
        return [one["id"] for one in reply.json()["data"]], reply.json()["paging"]

    everything, paging = page()
    assert everything == made
    assert (paging["next"], paging["previous"]) == (None, None)
    first, paging = page(limit=2)
    assert (first, paging["previous"]) == (made[:2], None)
    assert base64.urlsafe_b64decode(paging["cursors"]["after"] + "===").decode() == made[1]
    second, paging = page(limit=2, after=paging["next"])
    assert second == made[2:4]
    third, last = page(limit=2, after=paging["next"])
    assert (third, last["next"]) == (made[4:], None)
    back, newest = page(limit=2, before=paging["previous"])
    assert (back, newest["previous"]) == (made[:2], None)
    assert page(after=last["cursors"]["after"]) == (
        [],
        {"cursors": {"before": None, "after": None}, "next": None, "previous": None},
    )

    kapso("PATCH", f"/workflow_executions/{made[0]}", {"workflow_execution": {"status": "ended"}})
    assert page(status="waiting")[0] == made[1:]
    assert page(status="ended", created_after="2020-01-01T00:00:00Z", created_before="2999-01-01")[0] == made[:1]
    assert page(waiting_reason="wait_for_response")[0] == made[1:]
    assert page(waiting_reason="nothing", whatsapp_conversation_id="☂")[0] == []
    tracked = kapso.run(made[2])["tracking_id"]
    assert [one["id"] for one in kapso("GET", "/workflow_executions", params={"tracking_id": tracked})] == [made[2]]
    nul = [{name: "a\x00"} for name in ("waiting_reason", "whatsapp_conversation_id", "tracking_id")]
    for query in (
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "x"},
        {"status": "paused"},
        {"created_after": "\x00"},
        *nul,
    ):
        assert kapso.refused("GET", path, params=query)
    for cursor in ("!", "☂", "\x00", "a" * 5000, "AA", base64.b64encode(b"\xff").decode()):
        assert "is not a cursor" in kapso.refused("GET", path, params={"after": cursor})
    assert kapso.refused("GET", path, params={"after": last["cursors"]["after"], "before": last["cursors"]["after"]})
    for run_id in made[1:]:
        kapso("PATCH", f"/workflow_executions/{run_id}", {"workflow_execution": {"status": "ended"}})


def test_events_are_newest_first_and_one_is_read_by_its_id(kapso: Runs, waiting: str) -> None:
    run_id = kapso.start(waiting)
    kapso.reached(run_id, "waiting")
    path = f"/workflow_executions/{run_id}/events"

    def page(**query: Any) -> tuple[list[Any], dict[str, Any]]:
        reply = kapso.client.get("/platform/v1" + path, params=query)
        assert reply.status_code == 200, reply.text
        return reply.json()["data"], reply.json()["paging"]

    everything, _ = page()
    oldest_first = kapso.run(run_id)["events"]
    assert everything == oldest_first[::-1]
    assert set(everything[0]) == {"id", "event_type", "direction", "edge_label", "created_at", "payload", "step"}
    first, paging = page(limit=1)
    rest, older = page(limit=100, after=paging["next"])
    assert [*first, *rest] == everything
    assert older["next"] is None
    assert page(limit=1, before=older["previous"])[0] == first
    assert [one["event_type"] for one in page(event_type="execution_started")[0]] == ["execution_started"]
    assert "cannot be stored" in kapso.refused("GET", path, params={"event_type": "\x00"})
    assert "is not a cursor" in kapso.refused("GET", path, params={"after": base64.b64encode(b"abc").decode()})
    assert kapso("GET", f"/workflow_events/{first[0]['id']}") == first[0]
    assert kapso.refused("GET", f"/workflow_events/{uuid.uuid4()}", status=404) == "Event not found"
    kapso("PATCH", f"/workflow_executions/{run_id}", {"workflow_execution": {"status": "ended"}})


def test_variables_of_a_workflow_show_what_its_runs_held(kapso: Runs) -> None:
    workflow = kapso.create("Sampled", a_line(a_node("wait", "wait_for_response", save_response_to="a")), active=True)
    long, odd = "x" * 1_000, "\x00\ud800"
    sent = json.dumps({"workflow_execution": {"variables": {"a": {"b": [odd]}, "long": long, "none": None, "n": 1}}})
    started = kapso("POST", f"/workflows/{workflow['id']}/executions", content=sent, status=202)
    kapso.reached(started["id"], "waiting")
    found = {one["name"]: one for one in kapso("GET", f"/workflows/{workflow['id']}/variables")["discovered"]["vars"]}
    assert {name: (one["type"], one["sample_values"], one["usage_count"]) for name, one in found.items()} == {
        "a": ("object", [{"b": [odd]}], 1),
        "long": (None, [], 0),
        "n": ("number", [1], 0),
        "none": (None, [], 0),
    }
    assert TIME.fullmatch(found["n"]["last_seen_at"])
    kapso("PATCH", f"/workflow_executions/{started['id']}", {"workflow_execution": {"status": "ended"}})


def test_what_cannot_start_is_refused(kapso: Runs, waiting: str) -> None:
    path = f"/workflows/{waiting}/executions"
    count = kapso("GET", f"/workflows/{waiting}")["execution_count"]
    for sent, text in (
        ({"variables": []}, "variables must be an object"),
        ({"context": "x"}, "context must be an object"),
        ({"initial_data": 3}, "initial_data must be an object"),
        ({"phone_number": 5}, "phone_number must be text"),
        ({"phone_number": "1" * 300}, "phone_number must be text"),
        ({"variables": {"a": "x" * 2_000_000}}, "variables"),
        ({"whatsapp_context": "x"}, "whatsapp_context must be an object"),
        ({"tracking_id": ""}, "tracking_id must be text"),
    ):
        assert text in kapso.refused("POST", path, {"workflow_execution": sent})
    large = json.dumps({"workflow_execution": {"variables": {"a": "x" * 10_485_760}}})
    assert kapso.refused("POST", path, content=large, status=413)
    assert kapso.refused("POST", path, content='{"variables": {}}') == (
        'the request must be a JSON object with "workflow_execution"'
    )
    draft = kapso.create("Not active", a_line(a_node("h", "handoff")))
    told = kapso.refused("POST", f"/workflows/{draft['id']}/executions", {"workflow_execution": {"phone_number": "1"}})
    assert told == "The workflow is not active: its status is draft"
    assert kapso("GET", f"/workflows/{waiting}")["execution_count"] == count


def test_what_cannot_change_a_run_is_refused(kapso: Runs, waiting: str) -> None:
    run_id = kapso.start(waiting)
    path = f"/workflow_executions/{run_id}"
    kapso.reached(run_id, "waiting")
    for body in ("", "{}", "[]", '{"workflow_execution": 3}', "{"):
        assert kapso.refused("PATCH", path, content=body, status=400)
    for status in ("running", "failed", "", None, [], "\ud800"):
        sent = json.dumps({"workflow_execution": {"status": status}})
        assert kapso.refused("PATCH", path, content=sent) == "status must be one of ended, handoff, waiting"
    for body in ("{}", "[]", '{"message": "hi"}', '{"message": {"data": 1}, "variables": []}'):
        assert kapso.refused("POST", path + "/resume", content=body)
    for odd in (str(uuid.uuid4()), "x", "%00", "%ED%A0%80"):
        for method, where in (("GET", ""), ("GET", "/events"), ("PATCH", ""), ("POST", "/resume")):
            assert kapso.refused(method, f"/workflow_executions/{odd}{where}", {}, status=404)
    assert kapso.run(run_id)["status"] == "waiting"
    kapso("PATCH", path, {"workflow_execution": {"status": "ended"}})


def test_starts_tell_what_is_left_of_the_second(home: Project, stranger: Project) -> None:
    kapso = Runs(home.client)
    workflow = kapso.create(
        "Often", {"nodes": [START, a_node("h", "handoff")], "edges": [{"source": "start", "target": "h"}]}, active=True
    )
    reply = home.client.post(f"/platform/v1/workflows/{workflow['id']}/executions", json={"workflow_execution": {}})
    assert reply.headers["x-burst-ratelimit-limit"] == "1000"
    assert int(reply.headers["x-burst-ratelimit-remaining"]) == 999
    for path in (f"workflows/{workflow['id']}/executions", f"workflow_executions/{reply.json()['data']['id']}"):
        assert stranger.client.get(f"/platform/v1/{path}").status_code == 404


def test_the_older_base_starts_runs_without_envelopes(kapso: Runs, waiting: str) -> None:
    sent = {"phone_number": "+15550102", "variables": {"a": 1}}
    reply = kapso.client.post(f"/api/v1/flows/{waiting}/executions", json=sent)
    assert reply.status_code == 202
    assert (reply.json()["message"], reply.json()["flow_id"]) == ("Flow execution queued", waiting)
    run = kapso.reached(reply.json()["id"], "waiting")
    assert run["tracking_id"] == reply.json()["tracking_id"]
    assert run["execution_context"]["context"]["phone_number"] == "+15550102"
    kapso("PATCH", f"/workflow_executions/{run['id']}", {"workflow_execution": {"status": "ended"}})
    assert kapso.client.post(f"/api/v1/flows/{waiting}/executions", json=[]).status_code == 422


def test_on_the_older_base_a_key_may_be_a_bearer_token(common_home: Project, waiting: str) -> None:
    with common_home.server.client("") as nobody:
        headers = {"Authorization": f"Bearer {common_home.key()}"}
        started = nobody.post(f"/api/v1/flows/{waiting}/executions", json={"phone_number": "+1"}, headers=headers)
        assert started.status_code == 202
        path = f"/platform/v1/workflow_executions/{started.json()['id']}"
        assert nobody.get(path, headers=headers).status_code == 401
        ended = {"workflow_execution": {"status": "ended"}}
        wait_until(lambda: common_home.client.patch(path, json=ended).is_success, what="the run to be ended")
