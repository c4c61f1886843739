"""The requests of Kapso's published workflow scripts, one after the other, and what each script reads of the reply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.projects import Project
from tests.support.waiting import wait_until
from tests.support.workflows import a_line, a_node


class Script:
    """As their client: no content type without a body, ids in the path as they are, empty parameters left out.

    Success is any 2xx; then the result is the member `data`, else the whole body.
    """

    def __init__(self, home: Project) -> None:
        self.http = httpx.Client(
            base_url=home.server.url + "/platform/v1",
            headers={"X-API-Key": home.key(), "Accept": "application/json"},
            timeout=60,
            trust_env=False,
        )
        self.paging: Any = None

    def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        headers = {} if body is None else {"Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        reply = self.http.request(method, path, content=content, headers=headers, params=query)
        assert reply.is_success, (method, path, reply.status_code, reply.text)
        whole = reply.json() if reply.content else None
        self.paging = whole.get("paging") if isinstance(whole, dict) else None
        return whole["data"] if isinstance(whole, dict) and "data" in whole else whole

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The status, and the body that it shows as details."""
        reply = self.http.request(method, path, json=body)
        assert not reply.is_success, reply.text
        return reply.status_code, reply.json()


@pytest.fixture
def script(home: Project) -> Iterator[Script]:
    made = Script(home)
    yield made
    made.http.close()


GRAPH = a_line(
    a_node("wait_for_response_1710000000000", "wait_for_response", save_response_to="reply"),
    a_node("handoff_1710000000001", "handoff", reason="asked"),
)


def test_the_scripts_of_graphs_and_settings(script: Script) -> None:
    made = script("POST", "/workflows", {"workflow": {"name": "Support", "description": "d", "definition": GRAPH}})
    one = f"/workflows/{made['id']}"
    listed = script("GET", "/workflows", status="draft", name_contains="supp", created_after="2020-01-01T00:00:00Z")
    assert [workflow["id"] for workflow in listed] == [made["id"]]
    assert script("GET", one)["lock_version"] == 0

    read = script("GET", one + "/definition")
    shown = (
        "id",
        "name",
        "description",
        "status",
        "lock_version",
        "message_debounce_seconds",
        "project_id",
        "updated_at",
    )
    assert set(shown) <= set(read)
    text = json.dumps(read["definition"], indent=2)
    edited = json.loads(text.replace('"asked"', '"asked twice"'))
    patched = script("PATCH", one, {"workflow": {"definition": edited}})
    assert {"id", "name", "status", "lock_version", "updated_at"} <= set(patched)
    assert (type(patched["lock_version"]), patched["lock_version"]) == (int, 1)
    assert script("GET", one + "/definition")["definition"] == edited

    settings = {"lock_version": 1, "name": "Helpdesk", "description": "e", "status": "active"}
    settings |= {"message_debounce_seconds": 3, "inbound_message_read_mode": "read_only"}
    after = script("PATCH", one, {"workflow": settings})
    assert {name: after[name] for name in settings} == {**settings, "lock_version": 2}
    status, details = script.refused("PATCH", one, {"workflow": settings})
    assert (status, list(details)) == (409, ["error"])


def test_the_scripts_of_triggers_and_of_what_stands_around(script: Script) -> None:
    made = script("POST", "/workflows", {"workflow": {"name": "Triggers"}})
    path = f"/workflows/{made['id']}/triggers"
    attributes = {"event": "whatsapp.message.received", "phone_number_id": "1"}
    sent = [
        {"trigger_type": "api_call", "active": True},
        {"trigger_type": "inbound_message", "phone_number_id": "1"},
        {"trigger_type": "whatsapp_event", "event": "whatsapp.message.received", "triggerable_attributes": attributes},
    ]
    ids = [script("POST", path, {"trigger": one})["id"] for one in sent]
    assert [trigger["id"] for trigger in script("GET", path)] == ids
    assert script("PATCH", f"/triggers/{ids[1]}", {"trigger": {"active": False}})["active"] is False
    assert script("DELETE", f"/triggers/{ids[0]}") is None
    assert len(script("GET", path)) == 2
    assert set(script("GET", f"/workflows/{made['id']}/variables")) == {"fixed", "discovered"}
    assert script("GET", "/provider_models") == []
    assert script("GET", "/whatsapp/phone_numbers", per_page="20", page="1") == []


def test_the_scripts_of_runs(script: Script) -> None:
    made = script("POST", "/workflows", {"workflow": {"name": "Runs", "definition": GRAPH}})
    one = f"/workflows/{made['id']}"
    script("PATCH", one, {"workflow": {"lock_version": 0, "status": "active"}})
    started = script(
        "POST", one + "/executions", {"workflow_execution": {"phone_number": "+1", "variables": {"a": [1]}}}
    )
    run = f"/workflow_executions/{started['id']}"
    wait_until(lambda: script("GET", run)["status"] == "waiting", timeout_s=120, what="the run to wait")
    query = {"status": "waiting", "waiting_reason": "wait_for_response", "limit": "10"}
    assert [execution["id"] for execution in script("GET", one + "/executions", **query)] == [started["id"]]
    assert set(script.paging) == {"cursors", "next", "previous"}

    script("POST", run + "/resume", {"message": {"data": {"text": "hi"}}, "variables": {"b": 2}})
    wait_until(lambda: script("GET", run)["status"] == "handoff", timeout_s=120, what="the run to be handed over")
    context = script("GET", run)["execution_context"]
    assert (context["vars"]["reply"], context["vars"]["a"], context["vars"]["b"]) == ({"text": "hi"}, [1], 2)
    events = script("GET", run + "/events", event_type="step_completed", limit="1")
    assert set(script.paging) == {"cursors", "next", "previous"}
    older = script("GET", run + "/events", event_type="step_completed", limit="1", after=script.paging["next"])
    assert events[0]["created_at"] >= older[0]["created_at"]
    assert script("GET", f"/workflow_events/{events[0]['id']}") == events[0]
    assert script("PATCH", run, {"workflow_execution": {"status": "ended"}})["status"] == "ended"
    status, details = script.refused("PATCH", run, {"workflow_execution": {"status": "waiting"}})
    assert (status, details) == (422, {"error": "Invalid transition from ended to waiting"})


def test_a_run_goes_on_when_its_workflow_is_deleted(script: Script) -> None:
    made = script("POST", "/workflows", {"workflow": {"name": "Gone", "definition": GRAPH}})
    one = f"/workflows/{made['id']}"
    script("PATCH", one, {"workflow": {"status": "active"}})
    started = script("POST", one + "/executions", {"workflow_execution": {}})
    run = f"/workflow_executions/{started['id']}"
    wait_until(lambda: script("GET", run)["status"] == "waiting", timeout_s=120, what="the run to wait")
    script("DELETE", one)
    script("POST", run + "/resume", {"message": {"data": "hi"}})
    wait_until(lambda: script("GET", run)["status"] == "handoff", timeout_s=120, what="the run to go on")
    assert script("GET", run)["workflow"] == {"id": made["id"], "name": "Gone", "status": "archived"}
    assert [execution["id"] for execution in script("GET", "/workflow_executions")] == [started["id"]]
