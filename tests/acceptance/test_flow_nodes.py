"""What nodes do on a real server: functions and their payloads, webhooks, messages, and hostile twins of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.kapso import Kapso
from tests.support.projects import Project, new_project
from tests.support.receiver import Answer, Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.workflows import START, WorkflowsApi, a_line, a_node

ECHO = """async function handler(request, env) {
  const body = await request.json();
  const key = request.headers.get("x-isolet-step-key");
  return Response.json({ vars: { body, key }, next_edge: body.execution_context.vars.edge });
}"""
HOSTILE = """async function handler(request, env) {
  const { kind, url } = (await request.json()).execution_context.vars;
  if (kind === "large") return Response.json({ vars: { x: "x".repeat(1_500_000) } });
  if (kind === "huge") return Response.json({ vars: { x: "x".repeat(10_000_000) } });
  if (kind === "deep") return new Response('{"vars":{"x":' + "[".repeat(100_000) + "]".repeat(100_000) + "}}");
  if (kind === "levels") return new Response('{"vars":{"x":' + "[".repeat(200) + "]".repeat(200) + "}}");
  if (kind === "throws") throw new Error("\\ud800 \\0 out of luck");
  if (kind === "says") return Response.json({ error: "no \\ud800 luck" }, { status: 409 });
  if (kind === "html") return new Response("<p>", { headers: { "content-type": "text/html" } });
  if (kind === "texts") return new Response('{"vars":{"x":"\\\\ud800\\\\u0000"}}');
  if (kind === "array") return Response.json([1]);
  if (kind === "vars") return Response.json({ vars: [1] });
  await fetch(url);
  await new Promise((done) => setTimeout(done, 600_000));
}"""


class Runs(WorkflowsApi):
    def run(self, workflow: Any, status: str | None = None, **sent: Any) -> Any:
        """A run that has come to this status, or to its end."""
        begun = {"workflow_execution": {"phone_number": "1", **sent}}
        started = self("POST", f"/workflows/{workflow['id']}/executions", begun, status=202)
        return self.reached(started["id"], status)

    def reached(self, run_id: str, status: str | None = None) -> Any:
        def found() -> Any:
            run = self("GET", f"/workflow_executions/{run_id}")
            return run if run["status"] in ((status,) if status else ("ended", "failed")) else None

        return wait_until(found, timeout_s=120, what=f"the run to be {status or 'over'}")

    def line(self, name: str, *nodes: Any) -> Any:
        return self.create(name, a_line(*nodes), active=True)


def events(run: Any, kind: str) -> list[Any]:
    return [event["payload"] for event in run["events"] if event["event_type"] == kind]


@pytest.fixture(scope="module")
def project(calling_server: Server) -> Iterator[Project]:
    with calling_server.client() as root, new_project(calling_server, root) as made:
        yield made


@pytest.fixture(scope="module")
def runs(project: Project) -> Runs:
    return Runs(project.client)


@pytest.fixture(scope="module")
def echo(project: Project) -> str:
    return Kapso(project.client).deployed(ECHO, "echo")


@pytest.fixture(scope="module")
def hostile(project: Project) -> str:
    return Kapso(project.client).deployed(HOSTILE, "hostile")


def test_a_function_gets_the_run_and_its_last_ten_events(runs: Runs, echo: str) -> None:
    sets = [a_node(f"set{n}", "set_variable", variable_name=f"v{n}", variable_value=n) for n in range(4)]
    workflow = runs.line("Payload", *sets, a_node("f", "function", function_id=echo))
    run = runs.run(workflow, context={"contact": {"wa_id": "1"}})
    told = run["execution_context"]["vars"]["body"]

    assert set(told) == {"execution_context", "flow_info", "flow_events", "available_edges"}
    assert told["flow_info"] == {"id": workflow["id"], "name": "Payload", "step_id": "f"}
    assert set(told["execution_context"]) == {"vars", "system", "context", "metadata"}
    assert told["execution_context"]["vars"] == {f"v{n}": n for n in range(4)}
    assert told["execution_context"]["system"]["workflow_execution_id"] == run["id"]
    assert told["execution_context"]["context"]["contact"] == {"wa_id": "1"}
    assert len(told["flow_events"]) == 10
    assert told["flow_events"][-1] == {"event_type": "step_entered", "payload": {}}
    assert run["execution_context"]["vars"]["key"] == f"{run['id']}:f:1"
    called = events(run, "action_performed")[0]["invocation_id"]
    assert runs.client.get(f"/isolet/v1/invocations/{called}").json()["kind"] == "flow"


def test_a_function_decides_and_must_name_an_edge(runs: Runs, echo: str) -> None:
    decide = a_node(
        "pick",
        "decide",
        decision_type="function",
        function_id=echo,
        conditions=[{"label": "vip", "description": "d"}, {"label": "plain \ud800"}],
    )
    ends = [a_node(name, "set_variable", variable_name="way", variable_value=name) for name in ("one", "two")]
    edges = [
        {"source": "start", "target": "pick"},
        {"source": "pick", "target": "one", "label": "vip"},
        {"source": "pick", "target": "two", "label": "plain \ud800"},
    ]
    workflow = runs.create("Decide", {"nodes": [START, decide, *ends], "edges": edges}, active=True)

    for edge, way in (("vip", "one"), ("plain \ud800", "two")):
        run = runs.run(workflow, variables={"edge": edge})
        assert (run["status"], run["execution_context"]["vars"]["way"]) == ("ended", way)
        assert run["execution_context"]["vars"]["body"]["available_edges"] == ["vip", "plain \ud800"]
    for edge in ("VIP", "", None, ["vip"], "x" * 100_000):
        run = runs.run(workflow, variables={"edge": edge})
        assert (run["status"], run["error_details"]["code"]) == ("failed", "unknown_edge")
        assert run["error_details"]["node_id"] == "pick"
        assert events(run, "step_failed")[0]["error"].startswith("next_edge is ")


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("large", "variables is too large (maximum is 1048576 bytes of JSON)"),
        ("huge", "The reply is larger than 2097152 bytes"),
        ("levels", "variables is nested too deeply (maximum is 64 levels)"),
        ("throws", "\ufffd \ufffd out of luck"),
        ("says", "the function answered 409: no \ufffd luck"),
    ],
)
def test_what_a_function_does_wrong_fails_its_own_run(runs: Runs, hostile: str, kind: str, error: str) -> None:
    run = runs.run(_hostile_line(runs, hostile), variables={"kind": kind, "kept": 1})
    assert run["status"] == "failed"
    assert error in run["error_details"]["message"]
    assert run["execution_context"]["vars"] == {"kind": kind, "kept": 1}


@pytest.mark.parametrize(
    ("kind", "saved"),
    [("html", "<p>"), ("texts", {"vars": {"x": "\ud800\0"}}), ("array", [1]), ("vars", {"vars": [1]})],
)
def test_odd_replies_are_kept_as_they_are(runs: Runs, hostile: str, kind: str, saved: Any) -> None:
    run = runs.run(_hostile_line(runs, hostile), variables={"kind": kind})
    assert (run["status"], run["execution_context"]["vars"]["saved"]) == ("ended", saved)


def test_json_that_nothing_reads_is_kept_as_text(runs: Runs, hostile: str) -> None:
    run = runs.run(_hostile_line(runs, hostile), variables={"kind": "deep"})
    assert (run["status"], len(run["execution_context"]["vars"]["saved"])) == ("ended", 200_015)


def _hostile_line(runs: Runs, hostile: str) -> Any:
    for workflow in runs("GET", "/workflows"):
        if workflow["name"] == "Hostile":
            return workflow
    return runs.line("Hostile", a_node("f", "function", function_id=hostile, save_response_to="saved"))


def test_the_end_of_a_run_ends_the_call_that_it_makes(runs: Runs, receiver: Receiver) -> None:
    hanging = Kapso(runs.client).deployed(HOSTILE, "hanging")
    workflow = runs.line("Hanging", a_node("f", "function", function_id=hanging))
    begun = {"workflow_execution": {"phone_number": "1", "variables": {"kind": "hangs", "url": receiver.url}}}
    run_id = runs("POST", f"/workflows/{workflow['id']}/executions", begun, status=202)["id"]
    wait_until(lambda: receiver.deliveries, what="the call to begin")
    path = f"/workflow_executions/{run_id}"
    assert runs("PATCH", path, {"workflow_execution": {"status": "ended"}})["status"] == "ended"

    def ended_calls() -> list[Any]:
        found = runs.client.get("/isolet/v1/invocations", params={"function": hanging}).json()["data"]
        return [one for one in found if one["outcome"] == "disconnected"]

    assert len(wait_until(ended_calls, what="the record of the call") or ()) == 1


def test_a_webhook_sends_what_its_templates_say(runs: Runs, receiver: Receiver) -> None:
    receiver.answer = lambda _: Answer(status=200, body=b'{"ok": [1]}')
    hook = a_node(
        "hook",
        "webhook",
        url=receiver.url + "/{{vars.name}}",
        method="PUT",
        headers={"X-Name": "{{vars.name}}"},
        body_template={"who": "{{vars.who}}", "text": "n={{vars.n}}"},
        save_response_to="reply",
    )
    run = runs.run(runs.line("Webhook", hook), variables={"name": "a b", "who": {"x": 1}, "n": 5})
    sent = receiver.deliveries[0]

    assert run["execution_context"]["vars"]["reply"] == {"ok": [1]}
    assert (sent.method, sent.path) == ("PUT", "/callback/a%20b")
    assert json.loads(sent.body) == {"who": {"x": 1}, "text": "n=5"}
    assert (sent.headers["x-name"], sent.headers["content-type"]) == ("a b", "application/json")
    assert sent.headers["x-isolet-step-key"] == f"{run['id']}:hook:1"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://10.0.0.1:1/", "the address is refused"),
        ("{{vars.nothing}}", "no http or https address"),
        ("RECEIVER/500", "the webhook answered 500"),
        ("RECEIVER/302", "the webhook answered 302; redirects are not followed"),
        ("RECEIVER/large", "the reply is larger than 1048576 bytes"),
    ],
)
def test_a_webhook_that_fails_says_why(runs: Runs, receiver: Receiver, url: str, error: str) -> None:
    answers = {"500": Answer(status=500), "302": Answer(status=302), "large": Answer(body=b"x" * 2_000_000)}
    receiver.answer = lambda delivery: answers[delivery.path.rpartition("/")[2]]
    workflow = runs.line(f"Webhook {url}", a_node("hook", "webhook", url=url.replace("RECEIVER", receiver.url)))
    run = runs.run(workflow)
    assert run["status"] == "failed"
    assert error in run["error_details"]["message"]


def test_headers_of_a_webhook_change_no_frame(runs: Runs, receiver: Receiver) -> None:
    hook = a_node("hook", "webhook", url=receiver.url, headers={"X-A": "{{vars.text}}"})
    workflow = runs.line("Headers", hook)
    for text in ("a\r\nX-B: 1", "\0", "\ud800", "é\n"):
        run = runs.run(workflow, variables={"text": text})
        assert run["status"] == "failed"
    assert receiver.deliveries == []


def test_a_message_without_a_channel_is_recorded_and_skipped(runs: Runs) -> None:
    workflow = runs.line("Message", a_node("say", "send_text", message="hi {{vars.name}}"))
    run = runs.run(workflow)
    assert run["status"] == "ended"
    assert events(run, "message_not_sent") == [{"reason": "the project has no channel for messages"}]


SHAPES = (
    "async function handler(request, env) { BODY }",
    "export default async (request, env) => { BODY };",
    "export default { async fetch(request, env) { BODY } };",
    """import { WorkerEntrypoint } from "cloudflare:workers";
    export default class extends WorkerEntrypoint { async fetch(request) { const env = this.env; BODY } }""",
)
START_IT = """const { workflow, options } = await request.json();
  try { return Response.json(await env.flows.start(workflow, options)); }
  catch (error) { return Response.json({ error: String(error) }); }"""


def test_functions_of_every_shape_start_runs(runs: Runs, project: Project) -> None:
    workflow = runs.line("Started", a_node("set", "set_variable", variable_name="sum", variable_value="{{vars.a}}"))
    kapso = Kapso(project.client)
    ids = [kapso.deployed(shape.replace("BODY", START_IT), f"shape {n}") for n, shape in enumerate(SHAPES)]
    for number, function_id in enumerate(ids):
        asked = workflow["id"] if number % 2 else workflow["slug"]
        options = {"variables": {"a": number}, "context": {"b": "\ud800"}, "tracking_id": f"t{number}"}
        told = kapso.invoke(function_id, content=json.dumps({"workflow": asked, "options": options})).json()
        assert set(told) == {"id", "tracking_id"}, told
        run = runs.reached(told["id"])
        assert (run["status"], run["tracking_id"]) == ("ended", f"t{number}")
        context = run["execution_context"]
        assert (context["vars"]["sum"], context["context"]["b"]) == (number, "\ud800")
        assert context["system"]["trigger_type"] == "function"

    draft = runs.create("Never active", a_line(a_node("w", "wait_for_response")))
    for asked, options, error in (
        ("nothing", None, "Workflow not found"),
        (None, None, "The id or the slug of a workflow is needed"),
        (draft["slug"], {}, "The workflow is not active (it is draft)"),
        (workflow["slug"], {"variables": [1]}, "variables must be an object"),
        (workflow["slug"], {"variables": {"x": "x" * 900_000}}, "What is sent is larger than 262144 bytes"),
    ):
        told = kapso.invoke(ids[0], {"workflow": asked, "options": options}).json()
        assert told["error"].startswith("Error: ctx.flows.start: "), told
        assert error in told["error"]


def test_runs_whose_functions_start_them_again_end(runs: Runs, project: Project) -> None:
    again = """async function handler(request, env) {
      const { execution_context } = await request.json();
      await env.flows.start("again", { tracking_id: execution_context.system.tracking_id });
      return Response.json({});
    }"""
    workflow = runs.line("Again", a_node("f", "function", function_id=Kapso(project.client).deployed(again, "again")))
    runs.run(workflow)
    path = f"/workflows/{workflow['id']}/executions"
    failed = wait_until(lambda: runs("GET", path, params={"status": "failed"}), what="the last run")
    assert failed is not None
    message = runs("GET", f"/workflow_executions/{failed[0]['id']}")["error_details"]["message"]
    assert "may start each other's runs 10 deep" in message
    assert len(runs("GET", path)) == 11


def test_a_run_of_another_project_is_not_reached(runs: Runs, calling_server: Server) -> None:
    workflow = runs.line("Own", a_node("set", "set_variable", variable_name="a", variable_value=1))
    with calling_server.client() as root, new_project(calling_server, root) as other:
        kapso = Kapso(other.client)
        function_id = kapso.deployed(SHAPES[0].replace("BODY", START_IT))
        told = kapso.invoke(function_id, {"workflow": workflow["id"]}).json()
        assert told == {"error": "Error: ctx.flows.start: Workflow not found"}
