"""A workflow whose server is killed while its steps run, and between a step's answer and its record."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.kapso import Kapso
from tests.support.receiver import Answer, Delivery, Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.workflows import WorkflowsApi, a_line, a_node

WHILE_IT_RUNS, AFTER_ITS_ANSWER = WAYS = ("while it runs", "after its answer")
# A start, the end of a dead server's lease and a step take a minute on a machine with much other work.
_PATIENCE_S = 240
SETTINGS = {"egress_allow": "127.0.0.0/8"}
# It tells of its beginning, and a moment after its answer of that.
CODE = """async function handler(request, env) {
  const key = request.headers.get("x-isolet-step-key");
  const { execution_context, flow_info } = await request.json();
  await fetch("URL/begun", { method: "POST", body: key });
  env.waitUntil(new Promise((done) => setTimeout(done, 100)).then(() => (
    fetch("URL/answered", { method: "POST", body: key }).then((reply) => reply.text())
  )));
  return Response.json({ vars: { path: [...(execution_context.vars.path ?? []), flow_info.step_id] } });
}"""


class Killer:
    """Says when the server is to be killed: while a step runs, or between the step's answer and its record."""

    def __init__(self, plan: Mapping[str, Sequence[str]]) -> None:
        """`plan` has the deaths of the server by the steps that meet them, in order."""
        self._plan = {node: list(ways) for node, ways in plan.items()}
        self.begun: list[str] = []
        self.now: queue.Queue[str] = queue.Queue()
        self.pid = 0
        self._killed = threading.Event()

    def __call__(self, delivery: Delivery) -> Answer:
        node = delivery.body.decode().split(":")[1]
        if delivery.path.endswith("/begun"):
            self.begun.append(delivery.body.decode())
            if self._next(node) == WHILE_IT_RUNS:
                self._kill(node)
            elif self._next(node) == AFTER_ITS_ANSWER:
                # The function goes on, and nobody takes its answer.
                os.kill(self.pid, signal.SIGSTOP)
        elif self._next(node) == AFTER_ITS_ANSWER:
            self._kill(node)
        return Answer()

    def _next(self, node: str) -> str | None:
        return next(iter(self._plan.get(node, ())), None)

    def _kill(self, node: str) -> None:
        del self._plan[node][0]
        self._killed.clear()
        self.now.put(node)
        assert self._killed.wait(_PATIENCE_S)

    def killed(self) -> None:
        self._killed.set()


def start(api: WorkflowsApi, workflow: Any) -> str:
    sent = {"workflow_execution": {"phone_number": "1"}}
    return str(api("POST", f"/workflows/{workflow['id']}/executions", sent, status=202)["id"])


def ended(api: WorkflowsApi, run: str) -> Any:
    """The run once it has ended: a lease of a server that died lasts for some seconds."""

    def found() -> Any:
        execution = api("GET", f"/workflow_executions/{run}")
        return execution if execution["status"] in ("ended", "failed") else None

    return wait_until(found, timeout_s=_PATIENCE_S, what="the end of the run")


def run_killed(folder: Path, receiver: Receiver, plan: Mapping[str, Sequence[str]]) -> tuple[Any, list[str]]:
    """A run whose steps are those of the plan, and their keys as often as they began."""
    receiver.answer = killer = Killer(plan)
    with Server(folder / "data", **SETTINGS) as server, server.client() as client:
        function_id = Kapso(client).deployed(CODE.replace("URL", receiver.url))
        api = WorkflowsApi(client)
        line = a_line(*(a_node(name, "function", function_id=function_id) for name in plan))
        workflow = api.create("killed", line, active=True)
        killer.pid = server.process.pid
        run = start(api, workflow)
        killer.now.get(timeout=_PATIENCE_S)
        server.kill()
        killer.killed()
    for _ in range(sum(map(len, plan.values())) - 1):
        with Server(folder / "data", **SETTINGS) as server:
            killer.pid = server.process.pid
            killer.now.get(timeout=_PATIENCE_S)
            server.kill()
            killer.killed()
    with Server(folder / "data", **SETTINGS) as server, server.client() as client:
        return ended(WorkflowsApi(client), run), killer.begun
