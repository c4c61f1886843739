"""Agents and decisions of models in running workflows, against a scripted model server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.kapso import Kapso
from tests.support.model_server import ModelServer, Raw, Says
from tests.support.projects import Project, new_project
from tests.support.receiver import Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.workflows import START, WorkflowsApi, a_line, a_node

CHECK_ORDER = """
export default {
  async fetch(request) {
    const { input, execution_context } = await request.json();
    return Response.json({ status: "shipped", id: input.order_id, vars: { shop: execution_context.vars.shop + "!" } });
  }
}
"""
STEP_KEY = "export default { fetch: (request) => new Response(request.headers.get('x-isolet-step-key')) }"
SCHEMA = {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}


# As Kapso's page prints it.
SAMPLE = """async function handler(request, env) {
const body = await request.json();
const input = body.input || {};
const vars = body.execution_context?.vars || {};
return new Response(JSON.stringify({
vars: {
last_lookup_email: input.email || null
}
}), {
headers: { "Content-Type": "application/json" }
});
}"""
KEYS = "export default { fetch: async (request) => Response.json(Object.keys(await request.json()).sort()) }"


class Agents(WorkflowsApi):
    def run(self, workflow_id: str, status: str, **variables: Any) -> Any:
        """A run, once it has that status."""
        sent = {"workflow_execution": {"phone_number": "+15550100", "variables": variables}}
        run_id = self("POST", f"/workflows/{workflow_id}/executions", sent, status=202)["id"]
        return self.reached(run_id, status)

    def reached(self, run_id: str, status: str) -> Any:
        def found() -> Any:
            run = self("GET", f"/workflow_executions/{run_id}")
            assert run["status"] in (status, "running", "waiting"), run["error_details"]
            return run if run["status"] == status else None

        return wait_until(found, timeout_s=120, what=f"the run to be {status}")


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(scope="module")
def home(calling_server: Server, model: ModelServer) -> Iterator[Project]:
    with calling_server.client() as root, new_project(calling_server, root) as project:
        yield project


@pytest.fixture(scope="module")
def agents(home: Project, model: ModelServer) -> Agents:
    api = Agents(home.client)
    line = a_line(a_node("helper", "agent", system_prompt="Help."))
    workflow = api.create("Early", line)
    said = api.refused("PATCH", f"/workflows/{workflow['id']}", {"workflow": {"status": "active"}})
    assert "node helper: the project has no model for agents" in said
    settings = {"base_url": model.url, "model": "test-model", "api_key_secret": "sk-of-the-test"}
    assert home.client.put(f"/isolet/v1/projects/{home.slug}/model", json=settings).status_code == 200
    return api


@pytest.fixture(scope="module")
def function_id(home: Project) -> str:
    return Kapso(home.client).deployed(CHECK_ORDER, "Check order")


def events(run: Any, name: str) -> list[Any]:
    return [event["payload"] for event in run["events"] if event["event_type"] == name]


def test_an_agent_calls_functions_and_the_run_goes_on(agents: Agents, model: ModelServer, function_id: str) -> None:
    tool = {"name": "check_order", "description": "Where is it", "function_id": function_id, "input_schema": SCHEMA}
    agent = a_node(
        "helper",
        "agent",
        system_prompt="Help customers of {{vars.shop}}.",
        flow_agent_function_tools=[tool],
        save_response_to="answer",
    )
    after = a_node("after", "set_variable", variable_name="last", variable_value="{{vars.answer}}")
    workflow = agents.create("Helper", a_line(agent, after), active=True)
    model.says(
        Says(calls=[("check_order", {"order_id": "7"}), ("check_order", "{nonsense")]), Says(text="It was shipped.")
    )
    run = agents.run(workflow["id"], "ended", shop="Oil")
    assert run["execution_context"]["vars"] == {"shop": "Oil!", "answer": "It was shipped.", "last": "It was shipped."}
    assert model.headers["authorization"] == "Bearer sk-of-the-test"
    assert model.asked[0]["messages"][0]["content"].startswith("Help customers of Oil.")
    good, bad = events(run, "agent_tool_called")
    assert (good["is_error"], bad["is_error"], bad["kind"]) == (False, True, "function")
    record = agents.client.get(f"/isolet/v1/invocations/{good['invocation_id']}").json()
    assert (record["kind"], record["status"]) == ("flow", "succeeded")
    assert [one["usage"]["total_tokens"] for one in events(run, "agent_model_called")] == [15, 15]


def test_the_sample_of_an_agent_tool_runs_as_printed(agents: Agents, model: ModelServer, home: Project) -> None:
    kapso = Kapso(home.client)
    tools = [
        {"name": "lookup", "description": "", "function_id": kapso.deployed(SAMPLE)},
        {"name": "keys", "description": "", "function_id": kapso.deployed(KEYS)},
    ]
    line = a_line(a_node("helper", "agent", system_prompt="Help.", flow_agent_function_tools=tools))
    workflow = agents.create("Sample", line, active=True)
    model.says(Says(calls=[("lookup", {"email": "a@b.example"}), ("keys", {})]), Says(text="done"))
    run = agents.run(workflow["id"], "ended")
    assert run["execution_context"]["vars"] == {"last_lookup_email": "a@b.example"}
    _, keys = events(run, "agent_tool_called")
    assert json.loads(keys["result"]) == ["execution_context", "flow_events", "flow_info", "input"]


def test_an_agent_waits_for_an_answer(agents: Agents, model: ModelServer) -> None:
    workflow = agents.create("Asks", a_line(a_node("asks", "agent", system_prompt="Ask.")), active=True)
    model.says(Says(calls=[("enter_waiting", {})]), Says(calls=[("complete_task", {"summary": "blue it is"})]))
    run = agents.run(workflow["id"], "waiting")
    answer = {"message": {"data": {"text": "blue"}}}
    agents("POST", f"/workflow_executions/{run['id']}/resume", answer)
    run = agents.reached(run["id"], "ended")
    assert model.asked[-1]["messages"][-1] == {"role": "user", "content": "blue"}
    assert run["execution_context"]["vars"]["last_user_input"] == {"text": "blue"}


def test_what_an_agent_says_goes_to_the_channel(
    agents: Agents, model: ModelServer, home: Project, receiver: Receiver
) -> None:
    """As text: braces that a model writes are no templates."""
    channel = f"/isolet/v1/projects/{home.slug}/channel"
    assert home.client.put(channel, json={"url": receiver.url}).status_code == 200
    workflow = agents.create("Says", a_line(a_node("says", "agent", system_prompt="Greet.")), active=True)
    model.says(Says(text="Hi {{vars.shop}} ${ENV:KEY}"))
    run = agents.run(workflow["id"], "ended", shop="Oil")
    (delivery,) = receiver.wait()
    told = json.loads(delivery.body)
    assert (told["type"], told["message"], told["to"]) == (
        "send_text",
        {"message": "Hi {{vars.shop}} ${ENV:KEY}"},
        "+15550100",
    )
    assert delivery.headers["webhook-id"].startswith(f"{run['id']}:says:1:")
    assert home.client.put(channel, json={"url": None}).status_code == 200


def test_a_model_decides(agents: Agents, model: ModelServer) -> None:
    conditions = [{"label": "vip", "description": "spends much"}, {"label": "other"}]
    nodes = [
        START,
        a_node("decides", "decide", decision_type="ai", conditions=conditions),
        *(a_node(name, "set_variable", variable_name="took", variable_value=name) for name in ("vip", "other")),
    ]
    edges = [
        {"source": "start", "target": "decides"},
        *({"source": "decides", "target": name, "label": name} for name in ("vip", "other")),
    ]
    workflow = agents.create("Decides", {"nodes": nodes, "edges": edges}, active=True)
    model.says(Says(calls=[("choose_edge", {"label": "other", "reasoning": "spent nothing"})]))
    run = agents.run(workflow["id"], "ended", spent=0)
    assert run["execution_context"]["vars"]["took"] == "other"
    model.says(Says(text="Both, I would say."))
    run = agents.run(workflow["id"], "failed")
    assert "named no edge of the node: Both, I would say." in run["error_details"]["message"]
    assert "decides" in json.dumps(run["error_details"])


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (Raw(body=b"<h1>Welcome</h1>", headers={"content-type": "text/html"}), "no JSON object: <h1>Welcome</h1>"),
        (Raw(status=401, body=b'{"error": {"message": "bad key sk-of-the-test"}}'), "bad key ***"),
        (Says(calls=[("get_execution_metadata", {})]), "was not done after 3 iterations"),
    ],
)
def test_a_model_that_goes_wrong_fails_the_run_and_no_other(
    agents: Agents, model: ModelServer, said: Says | Raw, text: str
) -> None:
    line = a_line(a_node("helper", "agent", system_prompt="Help.", max_iterations=3))
    workflow = agents.create(f"Goes wrong: {text}", line, active=True)
    line = a_line(a_node("set", "set_variable", variable_name="a", variable_value="b"))
    plain = agents.create(f"Plain: {text}", line, active=True)
    model.says(said)
    run = agents.run(workflow["id"], "failed")
    assert text in run["error_details"]["message"]
    assert agents.run(plain["id"], "ended")["execution_context"]["vars"] == {"a": "b"}


def test_a_run_that_waits_for_a_model_is_cancelled_at_once(agents: Agents, model: ModelServer) -> None:
    line = a_line(a_node("helper", "agent", system_prompt="Help."))
    workflow = agents.create("Cancelled", line, active=True)
    model.free.clear()
    model.says(Raw(hold=True))
    sent = {"workflow_execution": {"phone_number": "+15550100"}}
    run_id = agents("POST", f"/workflows/{workflow['id']}/executions", sent, status=202)["id"]
    wait_until(lambda: model.asked, timeout_s=60, what="the question")
    assert agents.client.post(f"/isolet/v1/executions/{run_id}/cancel").status_code == 202
    # The server of the model holds its answer all the while.
    run = agents.reached(run_id, "ended")
    assert events(run, "agent_model_called") == []
    model.free.set()


def test_an_agent_is_a_client_of_this_servers_own_tools(
    agents: Agents, model: ModelServer, home: Project, function_id: str
) -> None:
    tool = {"description": "Where is it", "input_schema": SCHEMA}
    assert home.client.patch(f"/isolet/v1/functions/{function_id}", json={"tool": tool}).status_code == 200
    server = {
        "name": "shop",
        "url": f"{home.server.url}/isolet/v1/projects/{home.slug}/mcp",
        "headers": {"Authorization": f"Bearer {home.key('invoke')}"},
    }
    line = a_line(a_node("helper", "agent", system_prompt="Help.", flow_agent_mcp_servers=[server]))
    workflow = agents.create("Speaks MCP", line, active=True)
    model.says(Says(calls=[("check-order", {"order_id": "7"}), ("check-order", {})]), Says(text="done"))
    run = agents.run(workflow["id"], "ended")
    good, bad = events(run, "agent_tool_called")
    assert (good["kind"], good["is_error"], bad["is_error"]) == ("mcp", False, True)
    assert json.loads(good["result"])["status"] == "shipped"
    assert "'order_id' is a required property" in bad["result"]
    assert not httpx.codes.is_error(home.client.get(f"/isolet/v1/projects/{home.slug}/tools").status_code)


def test_runs_that_wait_for_a_model_leave_room_for_other_projects(tmp_path: Path, model: ModelServer) -> None:
    settings = {"egress_allow": "127.0.0.0/8", "job_concurrency": "4", "drain_timeout_s": "1"}
    with (
        Server(tmp_path / "data", **settings) as server,
        server.client() as root,
        new_project(server, root) as slow,
        new_project(server, root) as quick,
    ):
        chat = {"base_url": model.url, "model": "m"}
        assert slow.client.put(f"/isolet/v1/projects/{slow.slug}/model", json=chat).status_code == 200
        model.free.clear()
        model.says(Raw(hold=True))
        waiting, api = Agents(slow.client), Agents(quick.client)
        for number in range(3):
            line = a_line(a_node("helper", "agent", system_prompt="Help."))
            workflow = waiting.create(f"Waits {number}", line, active=True)
            for _ in range(2):
                sent = {"workflow_execution": {"phone_number": "+15550100"}}
                waiting("POST", f"/workflows/{workflow['id']}/executions", sent, status=202)
        wait_until(lambda: len(model.asked) == 3, timeout_s=60, what="three questions to be asked")
        line = a_line(a_node("set", "set_variable", variable_name="a", variable_value="b"))
        plain = api.create("Plain", line, active=True)
        assert api.run(plain["id"], "ended")["execution_context"]["vars"] == {"a": "b"}
        assert len(model.asked) == 3
        model.free.set()


def test_a_turn_begins_again_after_the_server_was_killed(tmp_path: Path, model: ModelServer) -> None:
    """Functions that it called get the same key again, so that they can tell."""
    model.free.clear()
    with Server(tmp_path / "data", egress_allow="127.0.0.0/8") as server, server.client() as client:
        chat = {"base_url": model.url, "model": "m"}
        assert client.put("/isolet/v1/projects/default/model", json=chat).status_code == 200
        function_id = Kapso(client).deployed(STEP_KEY)
        tool = {"name": "key", "description": "", "function_id": function_id}
        line = a_line(a_node("helper", "agent", system_prompt="Help.", flow_agent_function_tools=[tool]))
        workflow = Agents(client).create("Killed", line, active=True)
        model.says(Says(calls=[("key", {})]), Raw(hold=True))
        sent = {"workflow_execution": {"phone_number": "+15550100"}}
        run_id = Agents(client)("POST", f"/workflows/{workflow['id']}/executions", sent, status=202)["id"]
        wait_until(lambda: len(model.asked) == 2, timeout_s=60, what="the second question")
        first_key = model.asked[1]["messages"][-1]["content"]
        server.kill()
    model.says(Says(calls=[("key", {})]), Says(text="done"))
    model.free.set()
    with Server(tmp_path / "data", egress_allow="127.0.0.0/8") as server, server.client() as client:
        run = Agents(client).reached(run_id, "ended")
        (called,) = events(run, "agent_tool_called")
        assert called["result"] == first_key
        assert first_key == f"{run_id}:helper:1"
