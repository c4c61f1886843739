"""A kind of job for tests: steps of flows, which have a row each, and firings of schedules, which start a flow once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, String, Table, insert, select, update

from isolet.clock import SystemClock
from isolet.database import jobs as stored
from isolet.database.conclusions import JoinRefused, Outcome
from isolet.database.jobs import Kept
from isolet.database.unique import insert_once
from isolet.domain.jobs import Attempt, Job, JobEvent, JobKind, JobState, Result, concluded
from isolet.ids import FunctionId, JobId, ProjectId, new_id
from isolet.jobs.handler import Handler
from isolet.threads import account

STEP = JobKind("test_step")
CLOCK = SystemClock()
_tables = MetaData()
flows = Table(
    "test_flows",
    _tables,
    Column("id", String(36), primary_key=True),
    Column("steps", Integer, nullable=False, default=0),
    Column("state", String(20), nullable=False, default="open"),
)
firings = Table(
    "test_firings",
    _tables,
    Column("schedule_id", String(36), primary_key=True),
    Column("due_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("job_id", String(36), nullable=False),
)


def create_tables(connection: Connection, *flow_ids: str) -> None:
    _tables.create_all(connection)
    for flow_id in flow_ids:
        connection.execute(insert(flows).values(id=flow_id))


def flow_of(connection: Connection, flow_id: str) -> tuple[int, str]:
    steps, state = connection.execute(select(flows.c.steps, flows.c.state).where(flows.c.id == flow_id)).one()
    return steps, state


def a_step(flow: str, project: str = "p1", *, delay_ms: int = 0, body_bytes: int = 0, **payload: Any) -> Job:
    """`payload`: `adds` is how many steps the join adds, `follows` how many the handler gives, `fails` how many tries
    fail, `breaks` lets the join raise, `waits` lets the try wait for the test.
    """
    now_ms = CLOCK.now_ms()
    return Job(
        id=JobId(new_id()),
        kind=STEP,
        project_id=ProjectId(project),
        function_id=FunctionId(""),
        function_name="",
        payload=json.dumps({"flow": flow, **payload}),
        body_bytes=body_bytes,
        created_at_ms=now_ms,
        due_at_ms=now_ms + delay_ms,
    )


def fire_once(
    connection: Connection, job: Job, *, schedule_id: str, due_ms: int, instead_of: Sequence[JobId] = ()
) -> Kept:
    """The first server to write the firing keeps its job; the firings before are cancelled with it."""
    if insert_once(connection, firings, schedule_id=schedule_id, due_ms=due_ms, job_id=job.id):
        for before in instead_of:
            stored.cancel(connection, before, job.created_at_ms)
        return Kept(id=job.id, cancelled=instead_of)
    key = (firings.c.schedule_id == schedule_id) & (firings.c.due_ms == due_ms)
    return Kept(id=JobId(connection.execute(select(firings.c.job_id).where(key)).scalar_one()), new=False)


def set_state(connection: Connection, flow_id: str, state: str) -> None:
    connection.execute(update(flows).where(flows.c.id == flow_id).values(state=state))


@dataclass
class Steps(Handler):
    """`started` has when each try began, `cut` the jobs whose tries were cut short,
    `accounts` whose work the tries did."""

    started: list[tuple[JobId, int]] = field(default_factory=list)
    cut: list[JobId] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    accounts: set[str] = field(default_factory=set)
    at_once: int = 0
    most_at_once: int = 0

    def lane(self, job: Job) -> str:
        return str(json.loads(job.payload)["flow"])

    def lane_limit(self, lane: str) -> int:
        return 1

    async def run(self, job: Job) -> Outcome:
        asked = json.loads(job.payload)
        began_ms = CLOCK.now_ms()
        self.started.append((job.id, began_ms))
        self.accounts.add(account())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await (self.go.wait() if asked.get("waits") else asyncio.sleep(0))
        except asyncio.CancelledError:
            self.cut.append(job.id)
            raise
        finally:
            self.at_once -= 1
        attempt = Attempt(at_ms=began_ms, duration_ms=CLOCK.now_ms() - began_ms)
        now_ms = CLOCK.now_ms()
        if job.attempts < asked.get("fails", 0):
            return Outcome(job=concluded(job, JobEvent.RETRIED, now_ms, attempt=attempt, delay_ms=20))
        after = concluded(job, JobEvent.SUCCEEDED, now_ms, attempt=attempt, result=Result(payload="stepped"))
        follow_ups = [a_step(asked["flow"]) for _ in range(asked.get("follows", 0))]
        return Outcome(job=after, follow_ups=follow_ups, join=partial(_advance, asked=asked))

    def failed(self, job: Job, attempt: Attempt, now_ms: int) -> Outcome:
        return self._over(job, attempt, now_ms, JobEvent.FAILED, "failed")

    def cancelled(self, job: Job, attempt: Attempt, now_ms: int) -> Outcome:
        return self._over(job, attempt, now_ms, JobEvent.CANCELLED, "cancelled")

    def _over(self, job: Job, attempt: Attempt, now_ms: int, event: JobEvent, state: str) -> Outcome:
        flow = json.loads(job.payload)["flow"]

        def join(connection: Connection, _job: Job) -> Sequence[Job]:
            set_state(connection, flow, state)
            return ()

        return Outcome(job=concluded(job, event, now_ms, attempt=attempt), join=join)


def _advance(connection: Connection, job: Job, *, asked: dict[str, Any]) -> Sequence[Job]:
    open_flow = (flows.c.id == asked["flow"]) & (flows.c.state == "open")
    connection.execute(update(flows).where(open_flow).values(steps=flows.c.steps + 1))
    if flow_of(connection, asked["flow"])[1] != "open":
        raise JoinRefused("the flow is closed")
    if asked.get("breaks"):
        raise ZeroDivisionError
    return [a_step(asked["flow"]) for _ in range(asked.get("adds", 0))] if job.state is JobState.SUCCEEDED else ()
