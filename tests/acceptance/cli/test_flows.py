"""`isolet flows`: workflows and their runs."""

from __future__ import annotations

from tests.support.isolet_command import Isolet
from tests.support.projects import Project
from tests.support.workflows import WorkflowsApi, a_line, a_node

# Fails until it is told to do better, and says things that a terminal would obey.
STUBBORN = """
export default (_, env) => {
  if (env.GOOD) return Response.json({ said: "\\u001b[2J" });
  throw new Error("not \\u001b]0;title\\u0007 yet");
};
"""


def test_a_run_is_started_shown_and_goes_on_after_it_failed(isolet: Isolet, own_project: Project) -> None:
    path = f"/isolet/v1/projects/{own_project.slug}/functions/stubborn?wait=120"
    function = own_project.client.put(path, json={"code": STUBBORN})
    assert function.status_code == 201, function.text
    node = a_node("ask", "function", function_id=function.json()["id"], save_response_to="answer")
    flow = WorkflowsApi(own_project.client).create("Or\u202eders", a_line(node), active=True)
    assert isolet("flows", "list").text.startswith(f"Or\\u202eders\t{flow['slug']}\tactive\t0\t-\t")

    failed = isolet.run("flows", "run", flow["slug"], "-d", '{"customer": "Ada"}', "--wait")
    assert (failed.code, "isolet flows retry" in failed.err) == (1, True)
    assert "\x1b" not in failed.text + failed.err
    assert 'vars\t{"customer": "Ada"' in failed.text
    (run,) = isolet("flows", "runs", flow["slug"], "--status", "failed", "--json").json
    assert [step["status"] for step in isolet("flows", "get", run["id"], "--json").json["steps"]][-1] == "failed"
    assert "title" in isolet("flows", "runs").text
    assert "\x1b" not in isolet("flows", "runs").text

    isolet("env", "set", "GOOD=yes", "--function", "stubborn")
    done = isolet("flows", "retry", run["id"], "--from", "ask", "--wait", "--json").json
    assert done["status"] == "ended"
    assert "answer" in done["execution_context"]["vars"]
    assert isolet("flows", "graph", flow["id"]).text.startswith("flowchart")

    assert isolet.run("flows", "cancel", run["id"]).code == 1
    assert isolet.run("flows", "run", flow["slug"], "-d", "[1]").code == 2
    assert isolet.run("flows", "run", flow["slug"], "-d", "{").code == 2
    assert isolet.run("flows", "run", "nothing").code == 4
    assert isolet.run("flows", "retry", run["id"], "--from", "nothing").code == 1


def test_a_run_that_waits_is_waited_for_no_longer(isolet: Isolet, own_project: Project) -> None:
    definition = a_line(a_node("wait", "wait_for_response"))
    flow = WorkflowsApi(own_project.client).create("Waits", definition, active=True)
    waits = isolet("flows", "run", flow["id"], "--wait", "--json").json
    assert waits["status"] == "waiting"
    assert isolet("flows", "pause", waits["id"], "--json").json["pause"]
    assert isolet("flows", "resume", waits["id"], "--json").json["pause"] is None
    assert isolet("flows", "cancel", waits["id"], "--json").json["status"] == "ended"
