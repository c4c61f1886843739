"""Runs of workflows: their kind of jobs, what each node type does, and the use cases of runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isolet.assembly.core import Core
from isolet.domain.flows.flow_jobs import FLOW
from isolet.domain.flows.nodes import NodeType
from isolet.domain.flows.templates import as_text
from isolet.domain.flows.workflows import Workflow
from isolet.flows.engine import Means, Performers, Runs
from isolet.flows.functions import FunctionCalls
from isolet.flows.performers.calls import CallNode
from isolet.flows.performers.functions import DecideByFunction, FunctionNode
from isolet.flows.performers.plain import HandoffNode, SetVariable, StartNode, WaitForResponse
from isolet.flows.service import Executions
from isolet.flows.workflows import Workflows
from isolet.ids import ProjectId


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRuns:
    """Further node types are added to `performers`. `calls` is how a step calls a function."""

    executions: Executions
    performers: Performers
    calls: FunctionCalls


def open_runs(core: Core, workflows: Workflows) -> FlowRuns:
    database, clock, routes, engine = core.persistence.database, core.host.clock, core.registry.routes, core.jobs.engine

    async def policies_of(workflow_id: str) -> Mapping[str, Any]:
        return {}

    async def workflow_of(workflow_id: str) -> Workflow:
        return await workflows.get(None, workflow_id, with_graph=True)

    async def environment(project_id: ProjectId) -> Mapping[str, str]:
        found = await core.functions.environments.of_project(project_id)
        return {name: as_text(value) for name, value in found.values.items()}

    executions = Executions(
        database=database,
        engine=engine,
        clock=clock,
        limits_of=routes.limits_of,
        policies_of=policies_of,
        workflow_of=workflow_of,
    )
    calls = FunctionCalls(routes=routes, invoker=core.invoker, find=core.projects.follower.find)
    performers = Performers()
    performers.add(NodeType.START, StartNode())
    performers.add(NodeType.FUNCTION, FunctionNode(calls))
    performers.add(NodeType.DECIDE, DecideByFunction(calls))
    performers.add(NodeType.SET_VARIABLE, SetVariable())
    performers.add(NodeType.WAIT_FOR_RESPONSE, WaitForResponse())
    performers.add(NodeType.HANDOFF, HandoffNode())
    performers.add(NodeType.CALL, CallNode(find=workflows.find, read=executions.outcome))

    capacity = core.host.settings.job_concurrency
    means = Means(environment=environment, call=executions.child)
    runs = Runs(database=database, clock=clock, performers=performers, means=means, lane_limit=max(1, capacity // 2))
    engine.register(FLOW, runs, capacity=capacity)
    return FlowRuns(executions=executions, performers=performers, calls=calls)
