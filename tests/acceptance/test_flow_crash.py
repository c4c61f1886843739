"""Servers are killed while they run workflows: runs go on from their last finished step, and no step is lost."""

from __future__ import annotations

import base64
import os
import queue
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support.kapso import Kapso
from tests.support.postgres import Postgres
from tests.support.receiver import Answer, Delivery, Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.workflows import WorkflowsApi, a_line, a_node

STEPS = 10
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

    def __init__(self, plan: dict[str, str]) -> None:
        self.plan = plan
        self.begun: list[str] = []
        self.now: queue.Queue[str] = queue.Queue()
        self.pid = 0
        self._killed = threading.Event()

    def __call__(self, delivery: Delivery) -> Answer:
        node = delivery.body.decode().split(":")[1]
        if delivery.path.endswith("/begun"):
            self.begun.append(delivery.body.decode())
            if self.plan.get(node) == "while it runs":
                self._kill(node)
            elif self.plan.get(node) == "after its answer":
                # The function goes on, and nobody takes its answer.
                os.kill(self.pid, signal.SIGSTOP)
        elif self.plan.get(node) == "after its answer":
            self._kill(node)
        return Answer()

    def _kill(self, node: str) -> None:
        del self.plan[node]
        self._killed.clear()
        self.now.put(node)
        assert self._killed.wait(60)

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

    return wait_until(found, timeout_s=120, what="the end of the run")


def test_a_server_that_is_killed_at_every_step_runs_a_flow_to_its_end(tmp_path: Path, receiver: Receiver) -> None:
    names = [f"n{number}" for number in range(STEPS)]
    ways = ("while it runs", "after its answer")
    killer = Killer({name: ways[number % 2] for number, name in enumerate(names)})
    settings = {"egress_allow": "127.0.0.0/8"}
    with Server(tmp_path / "data", **settings) as server, server.client() as client:
        function_id = Kapso(client).deployed(CODE.replace("URL", receiver.url))
        api = WorkflowsApi(client)
        line = a_line(*(a_node(name, "function", function_id=function_id) for name in names))
        workflow = api.create("ten steps", line, active=True)
        receiver.answer, killer.pid = killer, server.process.pid
        run = start(api, workflow)
        killer.now.get(timeout=60)
        server.kill()
        killer.killed()
    for left in range(STEPS - 1, 0, -1):
        with Server(tmp_path / "data", **settings) as server:
            killer.pid = server.process.pid
            killer.now.get(timeout=60)
            server.kill()
            killer.killed()
            assert len(killer.plan) == left - 1

    with Server(tmp_path / "data", **settings) as server, server.client() as client:
        execution = ended(WorkflowsApi(client), run)
    assert execution["status"] == "ended"
    assert execution["execution_context"]["vars"] == {"path": names}
    # Each ran once for its death, and once for good; and none after the one that follows it.
    assert killer.begun == [f"{run}:{name}:1" for name in names for _ in range(2)]


def test_runs_of_two_servers_survive_the_death_of_each(tmp_path: Path, postgres: Postgres, receiver: Receiver) -> None:
    names = ["a", "b", "c", "d", "e"]
    receiver.answer = killer = Killer({})
    with postgres.temporary() as url, ExitStack() as stack:
        shared = {
            "database_url": url,
            "master_key": base64.b64encode(bytes(32)).decode(),
            "egress_allow": "127.0.0.0/8",
            "job_concurrency": 4,
        }

        def start_server(name: str) -> Server:
            return stack.enter_context(Server(tmp_path / name, **shared))

        pair = [start_server("one"), start_server("two")]
        with pair[0].client() as client:
            function_id = Kapso(client).deployed(CODE.replace("URL", receiver.url))
            line = a_line(*(a_node(name, "function", function_id=function_id) for name in names))
            workflow = WorkflowsApi(client).create("five steps", line, active=True)
        runs = []
        for number in range(4):
            for server in pair:
                with server.client() as client:
                    runs += [start(WorkflowsApi(client), workflow) for _ in range(3)]
            seen = len(killer.begun)
            wait_until(lambda seen=seen: len(killer.begun) > seen, what="some steps")  # type: ignore[misc]
            pair[number % 2].kill()
            if number < 3:
                # The last one that dies is followed by none: the other takes what it had.
                pair[number % 2] = start_server(("one", "two")[number % 2])
        with pair[0].client() as client:
            for run in runs:
                execution = ended(WorkflowsApi(client), run)
                assert (execution["status"], execution["execution_context"]["vars"]) == ("ended", {"path": names})

    for run in runs:
        own = [key.split(":")[1] for key in killer.begun if key.startswith(run)]
        # Each ran at least once, and none after one that follows it.
        assert (set(own), own) == (set(names), sorted(own))
