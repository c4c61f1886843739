"""Runs of a workflow of five steps: steps per second beside Restate, and what a step adds to its function."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from msgspec import Struct

from tests.bench.jobs import Side, measure, restate
from tests.bench.report import Figure, single
from tests.bench.sides import isolet_server
from tests.support.kapso import Kapso
from tests.support.waiting import wait_until
from tests.support.workflows import WorkflowsApi, a_line, a_node

_RUNS = 1_000
_STEPS = 5
_ROUNDS = 3
_IDLE_RUNS = 50
_CODE = """async function handler(request) {
  const { execution_context } = await request.json();
  return Response.json({ vars: { n: execution_context.vars.n + 1 } });
}"""
# What a run took beside its calls, by step.
_ADDED = """
    SELECT (e.ended_at_ms - e.started_at_ms - sum(i.duration_us) / 1000.0) / ? FROM executions e
    JOIN execution_steps s ON s.execution_id = e.id JOIN invocations i ON i.id = s.invocation_id
    WHERE e.id > ? GROUP BY e.id HAVING count(*) = ?
"""


class _Ours(Struct, frozen=True, kw_only=True):
    side: Side
    database: sqlite3.Connection

    def start_and_wait(self) -> None:
        measure(self.side, 1)

    def newest(self) -> str:
        return str(self.database.execute("SELECT max(id) FROM executions").fetchone()[0])

    def added_ms(self, after: str) -> list[float]:
        return [value for (value,) in self.database.execute(_ADDED, (_STEPS, after, _STEPS))]


def run() -> Sequence[Figure]:
    rates: dict[str, list[float]] = {"isolet": [], "restate": []}
    with _isolet() as ours, restate("restate_flow.mjs") as theirs:
        sides = [("isolet", ours.side)] + ([("restate", theirs)] if theirs is not None else [])
        for _, side in sides:
            measure(side, 100)
        before = ours.newest()
        for _ in range(_IDLE_RUNS):
            ours.start_and_wait()
        # Records of calls are written in batches.
        added = wait_until(lambda: _all(ours.added_ms(before), _IDLE_RUNS), what="the records of calls") or []
        for _ in range(_ROUNDS):
            for name, side in sides:
                rates[name].append(measure(side, _RUNS)[1] * _STEPS)
    figures = [single(f"steps, {name}", "steps/s", rounds) for name, rounds in rates.items() if rounds]
    return [*figures, single("what a step adds to its function, idle, median", "ms", added)]


def _all(values: list[float], count: int) -> list[float] | None:
    return values if len(values) >= count else None


@contextmanager
def _isolet() -> Iterator[_Ours]:
    with isolet_server() as server, server.client() as root:
        function_id = Kapso(root).deployed(_CODE)
        nodes = [a_node(f"step{number}", "function", function_id=function_id) for number in range(_STEPS)]
        workflow = WorkflowsApi(root).create("five steps", a_line(*nodes), active=True)
        with closing(sqlite3.connect(server.data_dir / "isolet.db", isolation_level=None)) as database:

            def completed() -> int:
                query = "SELECT count(*) FROM executions WHERE ended_at_ms IS NOT NULL"
                return int(database.execute(query).fetchone()[0])

            sent = {"workflow_execution": {"phone_number": "1", "variables": {"n": 0}}}
            side = Side(
                port=int(server.url.rpartition(":")[2]),
                path=f"/platform/v1/workflows/{workflow['id']}/executions",
                headers={"x-api-key": server.root_key},
                body=json.dumps(sent).encode(),
                completed=completed,
            )
            yield _Ours(side=side, database=database)
