"""Runs of workflows on a real engine and database, with function nodes that a test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

from msgspec import Struct, field

from isolet.clock import SystemClock
from isolet.database.connection import Database
from isolet.domain.flows.executions import Event, Execution, Step
from isolet.domain.flows.flow_jobs import FLOW
from isolet.domain.flows.graph import read_graph
from isolet.domain.flows.nodes import NodeType
from isolet.domain.flows.runs import RunStatus
from isolet.domain.flows.workflows import Workflow, WorkflowStatus
from isolet.domain.project_limits import ProjectLimits
from isolet.errors import NotFound
from isolet.flows.engine import Means, Performers, Runs
from isolet.flows.performer import Next, StepContext, StepResult
from isolet.flows.performers.calls import CallNode
from isolet.flows.performers.functions import decided
from isolet.flows.performers.plain import HandoffNode, SetVariable, StartNode, WaitForResponse
from isolet.flows.retention import RunRetention
from isolet.flows.service import Executions
from isolet.ids import ProjectId, WorkflowId, new_id
from isolet.jobs.engine import Engine
from isolet.tasks import Tasks

PROJECT = ProjectId(new_id())
NodeSpec = tuple[str, str, dict[str, Any]]
Script = Callable[[StepContext], Awaitable[StepResult]]


class Scripted(Struct):
    """What nodes that call functions do, by node id; others go on at once. `keys` are the steps that it performed."""

    scripts: dict[str, Script] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)

    async def perform(self, step: StepContext) -> StepResult:
        self.keys.append(step.step_key)
        script = self.scripts.get(step.node.id)
        if script is not None:
            return await script(step)
        return decided(step, "yes", None) if step.node.kind is NodeType.DECIDE else Next()


class Flows(Struct):
    executions: Executions
    engine: Engine
    scripted: Scripted
    database: Database
    policies: dict[str, Mapping[str, Any]]
    workflows: dict[str, Workflow]
    retention: RunRetention

    def workflow(
        self, *nodes: tuple[str, str, dict[str, Any]], edges: list[Any] | None = None, **values: Any
    ) -> Workflow:
        """An active workflow; without `edges` its nodes follow each other. An edge is `source target [label]`."""
        given = [{"id": "start", "data": {"node_type": "start", "config": {}}}]
        given += [{"id": name, "data": {"node_type": kind, "config": config}} for name, kind, config in nodes]
        names = [str(node["id"]) for node in given]
        pairs = [f"{a} {b}" for a, b in pairwise(names)] if edges is None else edges
        lines = [dict(zip(("source", "target", "label"), text.split(), strict=False)) for text in pairs]
        workflow = Workflow(
            id=WorkflowId(values.pop("id", new_id())),
            project_id=PROJECT,
            name=values.pop("name", "a flow"),
            slug=values.pop("slug", "a-flow"),
            status=values.pop("status", WorkflowStatus.ACTIVE),
            graph=read_graph({"nodes": given, "edges": lines}, new_id),
        )
        self.workflows[workflow.id] = workflow
        return workflow

    async def find(self, project_id: ProjectId, id_or_slug: str) -> Workflow:
        for workflow in self.workflows.values():
            if workflow.project_id == project_id and id_or_slug in (workflow.id, workflow.slug):
                return workflow
        raise NotFound("Workflow not found")

    async def until(self, execution_id: str, *statuses: RunStatus) -> Execution:
        async with asyncio.timeout(60):
            while True:
                found = await self.executions.get(execution_id)
                if found.status in statuses:
                    return found
                await asyncio.sleep(0.01)

    async def run(self, workflow: Workflow, *statuses: RunStatus, **start: Any) -> Execution:
        execution = await self.executions.start(workflow, **start)
        return await self.until(execution.id, *(statuses or (RunStatus.ENDED, RunStatus.FAILED)))

    async def vars(self, execution: Execution) -> Mapping[str, Any]:
        return (await self.executions.state(execution.id)).spaces.vars

    async def steps(self, execution: Execution) -> list[Step]:
        return list(await self.executions.steps(execution.id))

    async def events(self, execution: Execution, event_type: str | None = None) -> list[Event]:
        return list(await self.executions.events(execution.id, event_type=event_type, limit=10_000))


def function(name: str) -> tuple[str, str, dict[str, Any]]:
    return name, "function", {"function_slug": name}


def variable(name: str, value: Any, **more: Any) -> tuple[str, str, dict[str, Any]]:
    return f"set_{name}", "set_variable", {"variable_name": name, "variable_value": value, **more}


def decide(name: str, *labels: str) -> tuple[str, str, dict[str, Any]]:
    conditions = [{"label": label} for label in labels]
    return name, "decide", {"decision_type": "function", "function_slug": name, "conditions": conditions}


@asynccontextmanager
async def running(database: Database, *, at_once: int = 8, **limits: int) -> AsyncIterator[Flows]:
    clock, loops, scripted = SystemClock(), Tasks(), Scripted()
    policies: dict[str, Mapping[str, Any]] = {}
    project_limits = ProjectLimits(**limits)
    engine = Engine(
        database=database,
        clock=clock,
        owner="one",
        retention_ms=3_600_000,
        limits_of=lambda _: project_limits,
        memory_bytes=100_000_000,
        crash_limit=3,
    )

    async def policies_of(workflow_id: str) -> Mapping[str, Any]:
        return policies.get(workflow_id, {})

    async def workflow_of(workflow_id: str) -> Workflow:
        return flows.workflows[workflow_id]

    async def environment(_: ProjectId) -> Mapping[str, str]:
        return {"NAME": "value of the project"}

    executions = Executions(
        database=database,
        engine=engine,
        clock=clock,
        limits_of=lambda _: project_limits,
        policies_of=policies_of,
        workflow_of=workflow_of,
    )
    retention = RunRetention(database=database, clock=clock, retention_ms=10**10, limits_of=lambda _: project_limits)
    flows = Flows(executions, engine, scripted, database, policies, {}, retention)
    performers = Performers()
    for kind, performer in {
        NodeType.START: StartNode(),
        NodeType.FUNCTION: scripted,
        NodeType.DECIDE: scripted,
        NodeType.SET_VARIABLE: SetVariable(),
        NodeType.WAIT_FOR_RESPONSE: WaitForResponse(),
        NodeType.HANDOFF: HandoffNode(),
        NodeType.CALL: CallNode(find=flows.find, read=executions.outcome),
    }.items():
        performers.add(kind, performer)
    means = Means(environment=environment, call=executions.child)
    runs = Runs(
        database=database,
        clock=clock,
        performers=performers,
        means=means,
        lane_limit=at_once,
        is_full=retention.is_full,
    )
    engine.register(FLOW, runs, capacity=8)
    await engine.start(loops)
    try:
        yield flows
    finally:
        await engine.drain(0)
        await loops.close()
