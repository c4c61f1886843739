"""Servers are killed while they run workflows: runs go on from their last finished step, and no step is lost."""

from __future__ import annotations

import base64
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.flow_kills import CODE, WAYS, Killer, ended, run_killed, start
from tests.support.kapso import Kapso
from tests.support.postgres import Postgres
from tests.support.receiver import Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.workflows import WorkflowsApi, a_line, a_node

STEPS = 10
# Each death waits for a start and for the end of a lease.
pytestmark = pytest.mark.timeout(900)


def test_a_server_that_is_killed_at_every_step_runs_a_flow_to_its_end(tmp_path: Path, receiver: Receiver) -> None:
    """In either way at every other step; `make chaos ARGS="--flow-steps 10"` does so at each in both."""
    names = [f"n{number}" for number in range(STEPS)]
    execution, begun = run_killed(tmp_path, receiver, {name: [WAYS[n % 2]] for n, name in enumerate(names)})

    assert (execution["status"], execution["execution_context"]["vars"]) == ("ended", {"path": names})
    # Each ran once for its death, and once for good; and none after the one that follows it.
    assert begun == [f"{execution['id']}:{name}:1" for name in names for _ in range(2)]


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
