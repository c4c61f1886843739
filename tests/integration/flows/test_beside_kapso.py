"""Policies, events and schedules of workflows over both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from isolet.clock import SystemClock
from isolet.database import channels, projects
from isolet.database import schedules as stored_schedules
from isolet.database import workflow_policies as stored_policies
from isolet.database.conclusions import JoinRefused
from isolet.database.connection import Connection, Database
from isolet.database.due_times import deal
from isolet.database.executions import Filter
from isolet.domain.cron import read_cron
from isolet.domain.flows.runs import RunStatus
from isolet.domain.flows.workflows import Workflow
from isolet.domain.jobs import Job, JobState
from isolet.domain.projects import Project
from isolet.domain.schedules import Policies, Schedule, in_ms, started
from isolet.errors import Conflict, InvalidInput, LimitReached, NotFound
from isolet.flows.activation import Activation
from isolet.flows.policies import WorkflowPolicies
from isolet.flows.project_events import STARTS_MAX, ProjectEvents
from isolet.flows.scheduled import ScheduledRuns
from isolet.flows.triggers import WorkflowTriggers
from isolet.flows.workflows import Workflows
from isolet.ids import JobId, ScheduleId, new_id
from isolet.routing.routes import Routes
from isolet.schedules.firings import Firings
from isolet.schedules.flow_starts import FlowStart, FlowStarts
from tests.integration.database.rows import a_project
from tests.integration.flows.running import Flows, running

_BEGIN = in_ms(datetime(2027, 3, 1, 12, tzinfo=UTC))
_WAITS: dict[str, Any] = {
    "nodes": [
        {"id": "start", "data": {"node_type": "start", "config": {}}},
        {"id": "wait", "data": {"node_type": "wait_for_response", "config": {}}},
        {"id": "sorry", "data": {"node_type": "handoff", "config": {}}},
    ],
    "edges": [{"source": "start", "target": "wait"}, {"source": "wait", "target": "sorry"}],
}


class World(Struct, kw_only=True):
    project: Project
    flows: Flows
    workflows: Workflows
    triggers: WorkflowTriggers
    policies: WorkflowPolicies
    events: ProjectEvents

    async def waiting(self, name: str, event: str | None = None) -> Workflow:
        """An active workflow, which an event starts."""
        made = await self.workflows.create(self.project.id, {"name": name, "definition": _WAITS})
        if event is not None:
            await self.triggers.create(made, {"trigger_type": "project_event", "event_name": event})
        return await self.workflows.update(self.project.id, made.id, {"status": "active"})

    async def runs(self, workflow: Workflow) -> list[str]:
        found = await self.flows.executions.list(Filter(workflow_id=workflow.id), limit=100)
        return [one.id for one in found]


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    project = a_project()
    await database.write(projects.insert_project, project)
    routes = Routes("root")
    routes.load(functions=[], projects=[project], keys=[])
    targets = stored_policies.policy_targets
    activation = Activation(routes=routes, has_model=lambda *_: False, policy_targets=targets)
    clock = SystemClock()
    workflows = Workflows(database=database, routes=routes, activation=activation, clock=clock)
    async with running(database, runs=3) as flows:
        yield World(
            project=project,
            flows=flows,
            workflows=workflows,
            triggers=WorkflowTriggers(database=database, clock=clock),
            policies=WorkflowPolicies(database=database, activation=activation),
            events=ProjectEvents(database=database, workflows=workflows, executions=flows.executions, clock=clock),
        )


async def test_policies_go_with_their_workflow(world: World, database: Database) -> None:
    made = await world.waiting("Orders")
    sent = {"wait": {"retries": 1, "on_error": {"go_to": "sorry"}}}

    assert await world.policies.get(made.id) == {}
    assert await world.policies.put(made.id, sent) == sent
    assert await world.policies.put(made.id.upper(), {"wait": {}}) == {"wait": {}}
    assert await world.policies.get(made.id) == {"wait": {}}
    with pytest.raises(InvalidInput, match=r"policies\.gone"):
        await world.policies.put(made.id, {"gone": {}})
    with pytest.raises(NotFound):
        await world.policies.put(new_id(), {})
    await world.workflows.delete(world.project.id, made.id)
    assert await world.policies.get(made.id) == {}


async def test_an_active_workflow_keeps_the_node_that_a_policy_leads_to(world: World) -> None:
    made = await world.waiting("Orders")
    await world.policies.put(made.id, {"wait": {"on_error": {"go_to": "sorry"}}})
    less = {"nodes": _WAITS["nodes"][:2], "edges": _WAITS["edges"][:1]}

    with pytest.raises(InvalidInput, match="node wait: its policy leads to sorry, which is not there"):
        await world.workflows.update(world.project.id, made.id, {"definition": less})


async def test_a_channel_is_put_replaced_and_removed(world: World, database: Database) -> None:
    for url in ("https://a.example/", "https://b.example/", None, None):
        await database.write(channels.put_channel, world.project.id, url)
        assert await database.read(channels.get_channel, world.project.id) == url


async def test_an_event_starts_all_of_its_workflows_or_none(world: World) -> None:
    first, second = await world.waiting("One", "order.paid"), await world.waiting("Two", "order.paid")
    await world.triggers.create(first, {"trigger_type": "project_event", "event_name": "order.paid"})

    event = await world.events.emit(world.project.id, "order.paid", {"amount": 1})

    assert [one.workflow_id for one in event.executions] == [first.id, second.id]
    with pytest.raises(LimitReached, match="runs"):
        await world.events.emit(world.project.id, "order.paid", {})
    assert (len(await world.runs(first)), len(await world.runs(second))) == (1, 1)


async def test_an_event_starts_no_more_workflows_than_it_may(world: World, database: Database) -> None:
    made = [await world.waiting(f"Flow {number}", "order.paid") for number in range(STARTS_MAX + 1)]

    with pytest.raises(LimitReached, match=f"{STARTS_MAX} are the most"):
        await world.events.emit(world.project.id, "order.paid", {})

    assert [await world.runs(one) for one in made[:3]] == [[], [], []]


async def _due(world: World, database: Database, workflow: Workflow, **policies: Any) -> tuple[Schedule, Job]:
    """A schedule, and the job of its first due time, as a worker has it."""
    made = Schedule(
        id=ScheduleId(new_id()),
        project_id=world.project.id,
        workflow_id=workflow.id,
        name="each minute",
        cron=read_cron("* * * * *"),
        payload={"tier": "vip"},
        policies=Policies().changed(policies),
        seen_ms=_BEGIN,
        created_at_ms=_BEGIN,
        updated_at_ms=_BEGIN,
    )
    await database.write(stored_schedules.insert_schedule, started(made, _BEGIN))
    work = partial(deal, schedule_id=made.id, now_ms=_BEGIN + 60_000, since_ms=_BEGIN, new_id=new_id)
    dealt = await database.write(work)
    assert dealt is not None
    (job,) = dealt.jobs
    return made, replace(job, state=JobState.RUNNING)


def _firings(world: World, database: Database) -> Firings:
    runs = ScheduledRuns(workflows=world.workflows, executions=world.flows.executions)

    async def draft(schedule: Schedule, due_ms: int, firing_id: JobId) -> FlowStart:
        drafted = await runs.draft(schedule, due_ms, firing_id)
        jobs = [] if drafted.job is None else [drafted.job]
        write = partial(world.flows.executions.write, draft=drafted)
        check = partial(world.flows.executions.check_room, project_id=world.project.id)
        return FlowStart(execution_id=drafted.execution.id, jobs=jobs, write=write, check=check)

    starts = FlowStarts()
    starts.set(draft)
    # Only functions are looked for and called.
    nothing: Any = None
    return Firings(database=database, routes=nothing, find=nothing, invoker=nothing, flows=starts, clock=SystemClock())


async def test_a_run_begins_with_the_end_of_its_firing_or_not_at_all(world: World, database: Database) -> None:
    workflow = await world.waiting("Nightly")
    schedule, job = await _due(world, database, workflow)
    outcome = await _firings(world, database).run(job)
    assert outcome.join is not None
    join = outcome.join

    class _Died(Exception):
        pass

    def dies(connection: Connection) -> None:
        join(connection, outcome.job)
        raise _Died

    with pytest.raises(_Died):
        await database.write(dies)
    assert await world.runs(workflow) == []

    following = await database.write(lambda connection: join(connection, outcome.job))

    (execution_id,) = await world.runs(workflow)
    (firing,) = await database.read(partial(stored_schedules.list_firings, schedule_id=schedule.id, limit=10))
    assert [one.target for one in following] == [execution_id]
    assert (firing.status, firing.attempt, firing.run_id) == ("running", 1, execution_id)
    assert execution_id == firing.id
    assert (await world.flows.executions.state(execution_id)).spaces.vars == {"tier": "vip"}


@pytest.mark.parametrize(("status", "enabled"), [(RunStatus.FAILED, False), (RunStatus.ENDED, True)])
async def test_a_firing_ends_with_its_run(world: World, database: Database, status: RunStatus, enabled: bool) -> None:
    workflow = await world.waiting("Nightly")
    schedule, job = await _due(world, database, workflow, pause_after_failures=1)
    outcome = await _firings(world, database).run(job)
    assert outcome.join is not None
    join = outcome.join
    await database.write(lambda connection: join(connection, outcome.job))

    await world.flows.executions.change_status(job.id, status)

    (firing,) = await database.read(partial(stored_schedules.list_firings, schedule_id=schedule.id, limit=10))
    after = await database.read(stored_schedules.get_schedule, schedule.id)
    expected = "succeeded" if enabled else "failed"
    assert (firing.status, after.last_status, after.enabled) == (expected, expected, enabled)


async def test_a_firing_whose_run_is_not_there_holds_nothing_up(world: World, database: Database) -> None:
    workflow = await world.waiting("Nightly")
    schedule, job = await _due(world, database, workflow)
    await database.write(partial(stored_schedules.change_firing, firing_id=job.id, status="running"))

    work = partial(deal, schedule_id=schedule.id, now_ms=_BEGIN + 120_000, since_ms=_BEGIN, new_id=new_id)
    dealt = await database.write(work)

    assert dealt is not None
    assert len(dealt.jobs) == 1
    found = await database.read(partial(stored_schedules.list_firings, schedule_id=schedule.id, limit=10))
    assert [one.status for one in found] == ["queued", "failed"]
    assert not await database.read(stored_schedules.has_open_run, schedule.id)


async def test_a_firing_without_room_for_a_run_is_refused(world: World, database: Database) -> None:
    workflow = await world.waiting("Nightly")
    _, job = await _due(world, database, workflow, retries=1)
    outcome = await _firings(world, database).run(job)
    for _ in range(3):
        await world.flows.executions.start(await world.workflows.get(None, workflow.id, with_graph=True))
    assert outcome.join is not None
    join = outcome.join

    with pytest.raises(JoinRefused, match="runs"):
        await database.write(lambda connection: join(connection, outcome.job))

    assert len(await world.runs(workflow)) == 3
    again = (await _firings(world, database).run(job)).job
    last = (await _firings(world, database).run(replace(job, attempts=1))).job
    assert [one.state for one in (again, last)] == [JobState.QUEUED, JobState.FAILED], "it has one retry"
    assert "runs" in (again.error or "")


async def test_names_of_schedules_are_taken_once_in_a_workflow(world: World, database: Database) -> None:
    first, second = await world.waiting("One"), await world.waiting("Two")
    made, _ = await _due(world, database, first)
    again = replace(made, id=ScheduleId(new_id()))

    with pytest.raises(Conflict, match="the workflow has a schedule 'each minute' already"):
        await database.write(stored_schedules.insert_schedule, again)
    await database.write(stored_schedules.insert_schedule, replace(again, workflow_id=second.id))

    await world.workflows.delete(world.project.id, second.id)
    with pytest.raises(NotFound):
        await database.read(stored_schedules.get_schedule, again.id)
