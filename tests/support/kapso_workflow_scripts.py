"""Drives Kapso's published workflow scripts against a server: each command, and each graph beside them.

The scripts exit 0 whatever happens, so what counts is the member `ok` of what they print.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.kapso import Kapso
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.workflows import WorkflowsApi, a_line, a_node

GRAPHS = (
    "workflow-linear",
    "workflow-decision",
    "workflow-interactive-buttons-decide-function",
    "workflow-interactive-buttons-decide-ai",
    "workflow-agent-simple",
    "workflow-customer-support-intake-agent",
    "workflow-api-template-wait-agent",
)
ROUTING = """async function handler(request) {
  const { execution_context: { vars } } = await request.json();
  const next_edge = String(vars.user_reply?.text ?? vars.user_reply).toLowerCase().startsWith("y") ? "yes" : "no";
  return new Response(JSON.stringify({ next_edge, vars: { routed: next_edge } }));
}"""


class Scripts:
    """`folder` has `scripts` and `assets`. Each call is one command; `failures` collects what was not as expected."""

    def __init__(self, folder: Path, server: Server, work: Path) -> None:
        self.folder = folder
        self.work = work
        self.failures: list[str] = []
        self._environment = {
            **os.environ,
            "KAPSO_API_BASE_URL": server.url,
            "KAPSO_API_KEY": server.root_key,
            "KAPSO_API_ALLOW_LOCALHOST": "true",
        }

    def __call__(self, name: str, *arguments: str, ok: bool = True) -> Any:
        """What the command says: its data, or its error where `ok` is false."""
        command = ["node", f"scripts/{name}.js", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=60, check=False
        )
        try:
            said = json.loads(done.stdout)
        except ValueError:
            said = {"ok": None, "error": done.stdout + done.stderr}
        self.expect(said["ok"] is ok, f"{name} {' '.join(arguments)[:80]}", said)
        return said.get("data") if ok else said.get("error")

    def expect(self, holds: bool, what: str, seen: object = "") -> None:
        _say(f"{'ok  ' if holds else 'FAIL'} {what}")
        if not holds:
            self.failures.append(what)
            _say(f"     {str(seen)[:1_000]}")

    def file(self, value: Any) -> str:
        path = self.work / f"{uuid.uuid4()}.json"
        path.write_text(json.dumps(value))
        return str(path)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def drive(scripts: Scripts, kapso: WorkflowsApi, function_id: str, model_id: str) -> None:
    for name in GRAPHS:
        text = (scripts.folder / "assets" / f"{name}.json").read_text()
        filled = text.replace("FUNCTION_ID_HERE", function_id).replace("PROVIDER_MODEL_ID_HERE", model_id)
        _graph(scripts, name, json.loads(filled))
    _settings_and_triggers(scripts)
    _run(scripts, kapso, function_id)


def _graph(scripts: Scripts, name: str, definition: Any) -> None:
    """Create, read, validate, edit one text, read again: only that text is another."""
    made = scripts("create-workflow", "--name", name, "--definition-file", scripts.file(definition))
    workflow_id = _id(made)
    before = scripts("get-graph", workflow_id)
    valid = scripts("validate-graph", "--workflow-id", workflow_id)
    scripts.expect(valid.get("valid", True) is True and not valid.get("warnings"), f"{name} is valid", valid)
    shown = json.dumps(before["definition"], indent=2, ensure_ascii=False)
    old = _text_in(shown)
    version = str(before.get("lock_version", 0))
    scripts("edit-graph", workflow_id, "--expected-lock-version", version, "--old", old, "--new", old + "!")
    after = scripts("get-graph", workflow_id)
    same = json.dumps(after["definition"], indent=2, ensure_ascii=False).replace(old + "!", old, 1) == shown
    scripts.expect(same, f"{name}: the edit changed that text only")
    again = str(int(version) + 1)
    scripts(
        "update-graph", workflow_id, "--expected-lock-version", again, "--definition-file", scripts.file(definition)
    )
    stale = ("--expected-lock-version", again, "--definition-file", scripts.file(definition))
    scripts("update-graph", workflow_id, *stale, ok=False)


def _text_in(shown: str) -> str:
    """A longer text of the graph that stands in it once."""
    texts = re.findall(r'"(?:message|body_text|system_prompt|template_id)": "([A-Za-z][A-Za-z _]{4,40})', shown)
    return next(text for text in texts if shown.count(text) == 1)


def _settings_and_triggers(scripts: Scripts) -> None:
    workflow_id = _id(scripts("create-workflow", "--name", "Settings", "--description", "d"))
    changes = ("--name", "Set", "--message-debounce-seconds", "5", "--inbound-message-read-mode", "read_only")
    scripts("update-workflow-settings", workflow_id, "--lock-version", "0", *changes)
    scripts("update-workflow-settings", workflow_id, "--lock-version", "0", "--name", "Late", ok=False)
    scripts("get-workflow", workflow_id)
    scripts("list-workflows", "--status", "draft", "--name-contains", "set", "--created-after", "2020-01-01T00:00:00Z")
    scripts("validate-graph", "--definition-json", json.dumps(a_line(a_node("h", "handoff"))))
    triggers = [
        ("api_call",),
        ("inbound_message", "--phone-number-id", "1"),
        ("whatsapp_event", "--event", "whatsapp.message.sent", "--active", "false"),
    ]
    made = [_id(scripts("create-trigger", workflow_id, "--trigger-type", *one)) for one in triggers]
    scripts("create-trigger", workflow_id, "--trigger-type", "whatsapp_event", "--event", "nothing", ok=False)
    scripts("update-trigger", "--trigger-id", made[0], "--active", "false")
    scripts("delete-trigger", "--trigger-id", made[0])
    scripts("delete-trigger", "--trigger-id", made[0], ok=False)
    scripts.expect(len(_list(scripts("list-triggers", workflow_id))) == 2, "two triggers are left")
    scripts("list-provider-models")
    scripts("list-whatsapp-phone-numbers", "--per-page", "5", "--page", "1")


def _run(scripts: Scripts, kapso: WorkflowsApi, function_id: str) -> None:
    conditions = [{"label": "yes", "description": ""}, {"label": "no", "description": ""}]
    decide = a_node("route", "decide", decision_type="function", function_id=function_id, conditions=conditions)
    line = a_line(a_node("wait", "wait_for_response", save_response_to="user_reply"), decide)
    line["nodes"] += [
        a_node("hand", "handoff", reason="yes"),
        a_node("set", "set_variable", variable_name="a", variable_value="b"),
    ]
    line["edges"] += [
        {"source": "route", "target": to, "label": label} for label, to in (("yes", "hand"), ("no", "set"))
    ]
    workflow_id = _id(scripts("create-workflow", "--name", "Run", "--definition-file", scripts.file(line)))
    scripts("update-workflow-settings", workflow_id, "--lock-version", "0", "--status", "active")
    sent = {"workflow_execution": {"phone_number": "+15550100", "variables": {"first": [{"b": 1}]}}}
    run_id = kapso("POST", f"/workflows/{workflow_id}/executions", sent, status=202)["id"]

    def is_(status: str) -> None:
        run = f"/workflow_executions/{run_id}"
        wait_until(lambda: kapso("GET", run)["status"] == status, timeout_s=120, what=f"the run to be {status}")

    is_("waiting")
    scripts.expect(
        [one["id"] for one in _list(scripts("list-executions", workflow_id, "--status", "waiting", "--limit", "5"))]
        == [run_id],
        "the run is listed",
    )
    scripts("resume-execution", run_id, "--message", '{"data": {"text": "yes"}}', "--variables", '{"more": 1}')
    is_("handoff")
    for path, value in (
        ("vars.user_reply.text", "yes"),
        ("execution_context.vars.first.0.b", 1),
        ("vars.routed", "yes"),
    ):
        found = scripts("get-context-value", run_id, "--variable-path", path)
        scripts.expect(found.get("value") == value, f"{path} is {value}", found)
    scripts("get-context-value", run_id, "--variable-path", "vars.nothing", ok=False)
    scripts("get-execution", run_id)
    events = _list(scripts("list-execution-events", run_id, "--event-type", "step_completed", "--limit", "2"))
    scripts.expect(len(events) == 2, "two events", events)
    scripts("get-execution-event", events[0]["id"])
    scripts("update-execution-status", run_id, "--status", "ended")
    refused = scripts("update-execution-status", run_id, "--status", "waiting", ok=False)
    scripts.expect(
        "Invalid transition from ended to waiting" in json.dumps(refused), "the transition is named", refused
    )
    scripts("resume-execution", run_id, "--message", '{"data": 1}', ok=False)
    scripts("variables-list", workflow_id)
    for name in ("variables-set", "variables-delete"):
        scripts(name, workflow_id, "--name", "a", "--value", "b", ok=False)


def _id(made: Any) -> str:
    """Of what a command made, wherever it shows it."""
    if isinstance(made, dict):
        for inner in (made, *(value for value in made.values() if isinstance(value, dict))):
            if "id" in inner:
                return str(inner["id"])
    raise AssertionError(f"there is no id in {made}")


def _list(said: Any) -> list[Any]:
    if isinstance(said, list):
        return said
    return next((value for value in said.values() if isinstance(value, list)), [])


@contextmanager
def _prepared(work: Path) -> Iterator[tuple[Server, WorkflowsApi, str, str]]:
    """A server with a deployed function that routes, and a model that is never asked."""
    with Server(work / "data", forked=False) as server, server.client() as client:
        function_id = Kapso(client).deployed(ROUTING, name="Routing")
        model = {"base_url": "https://models.example/v1", "model": "small"}
        assert client.put("/isolet/v1/projects/default/model", json=model).is_success
        kapso = WorkflowsApi(client)
        yield server, kapso, function_id, kapso("GET", "/provider_models")[0]["id"]


def main(folder: str) -> int:
    with tempfile.TemporaryDirectory() as work, _prepared(Path(work)) as (server, kapso, function_id, model_id):
        scripts = Scripts(Path(folder), server, Path(work))
        drive(scripts, kapso, function_id, model_id)
    _say(f"failures: {len(scripts.failures)}")
    return 1 if scripts.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
