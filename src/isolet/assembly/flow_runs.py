"""Runs of workflows: their kind of jobs, what each node type does, and the use cases of runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct

from isolet.api.butterbase.loopback import Service
from isolet.assembly.core import Core
from isolet.domain.flows.flow_jobs import FLOW
from isolet.domain.flows.nodes import SENDS, NodeType
from isolet.domain.flows.templates import as_text
from isolet.domain.flows.workflows import Workflow
from isolet.domain.origins import Origin
from isolet.errors import NotFound, RequestError
from isolet.flows.engine import Means, Performers, Runs
from isolet.flows.functions import FunctionCalls
from isolet.flows.performers.calls import CallNode
from isolet.flows.performers.events import Emit, EmitEvent
from isolet.flows.performers.functions import DecideByFunction, FunctionNode
from isolet.flows.performers.plain import HandoffNode, SetVariable, StartNode, WaitForResponse
from isolet.flows.performers.sends import SendNode
from isolet.flows.performers.webhook import WebhookNode
from isolet.flows.retention import RunRetention
from isolet.flows.service import Executions
from isolet.flows.workflows import Workflows
from isolet.ids import ProjectId
from isolet.runtime.outgoing import Requests

_DAY_MS = 86_400_000


class FlowRuns(Struct, frozen=True, kw_only=True):
    """Further node types are added to `performers`. `calls` is how a step calls a function."""

    executions: Executions
    performers: Performers
    calls: FunctionCalls


def open_runs(
    core: Core,
    workflows: Workflows,
    *,
    policies_of: Callable[[str], Awaitable[Mapping[str, Any]]],
    channel: Callable[[ProjectId], Awaitable[str | None]],
    emit: Emit,
) -> FlowRuns:
    """`policies_of` gives the policies of a workflow as they are stored; `channel` where a project's messages go."""
    database, clock, routes, engine = core.persistence.database, core.host.clock, core.registry.routes, core.jobs.engine

    async def workflow_of(workflow_id: str) -> Workflow:
        return await workflows.get(None, workflow_id, with_graph=True)

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
    _add_performers(core, performers, calls, channel=channel, emit=emit)
    performers.add(NodeType.CALL, CallNode(find=workflows.find, read=executions.outcome))
    capacity = core.host.settings.job_concurrency
    retention = _keep_runs(core)
    runs = Runs(
        database=database,
        clock=clock,
        performers=performers,
        means=Means(environment=_environment(core), call=executions.child),
        # The rest is for others.
        lane_limit=max(1, capacity * 3 // 4),
        is_full=retention.is_full,
    )
    engine.register(FLOW, runs, capacity=capacity)
    core.loopback.services[b"/flows/start"] = _starter(workflows, executions)
    return FlowRuns(executions=executions, performers=performers, calls=calls)


def _add_performers(
    core: Core,
    performers: Performers,
    calls: FunctionCalls,
    *,
    channel: Callable[[ProjectId], Awaitable[str | None]],
    emit: Emit,
) -> None:
    requests = Requests(core.runtime.egresses)
    performers.add(NodeType.START, StartNode())
    performers.add(NodeType.FUNCTION, FunctionNode(calls))
    performers.add(NodeType.DECIDE, DecideByFunction(calls))
    performers.add(NodeType.SET_VARIABLE, SetVariable())
    performers.add(NodeType.WAIT_FOR_RESPONSE, WaitForResponse())
    performers.add(NodeType.HANDOFF, HandoffNode())
    performers.add(NodeType.WEBHOOK, WebhookNode(requests))
    performers.add(NodeType.EMIT_EVENT, EmitEvent(emit))
    sends = SendNode(requests=requests, channel=channel, keys=core.jobs.webhook_secrets.keys)
    for kind in SENDS:
        performers.add(kind, sends)


def _environment(core: Core) -> Callable[[ProjectId], Awaitable[Mapping[str, str]]]:
    """What `${ENV:NAME}` finds: the variables of the project."""

    async def environment(project_id: ProjectId) -> Mapping[str, str]:
        found = await core.functions.environments.of_project(project_id)
        return {name: as_text(value) for name, value in found.values.items()}

    return environment


def _keep_runs(core: Core) -> RunRetention:
    """Runs are kept as long as records of calls are."""
    retention = RunRetention(
        database=core.persistence.database,
        clock=core.host.clock,
        retention_ms=round(core.host.settings.retention_days * _DAY_MS),
        limits_of=core.registry.routes.limits_of,
    )
    core.host.loops.loop(retention.run(), name="old runs of workflows")
    core.registry.cleanup.add(retention.delete_project)
    return retention


def _starter(workflows: Workflows, executions: Executions) -> Service:
    """`ctx.flows.start`."""

    async def start(project_id: ProjectId, asked: Any, origin: Origin) -> dict[str, str]:
        if not isinstance(asked, Mapping) or not isinstance(asked.get("workflow"), str):
            raise RequestError("The id or the slug of a workflow is needed")
        try:
            workflow = await workflows.find(project_id, asked["workflow"])
        except NotFound as exc:
            # The dialect of these replies would speak of functions.
            raise RequestError(exc.message) from exc
        execution = await executions.start(
            workflow,
            variables=asked.get("variables"),
            context=asked.get("context"),
            tracking_id=asked.get("tracking_id"),
            trigger="function",
            start_depth=origin.run_depth + 1,
        )
        return {"id": execution.id, "tracking_id": execution.tracking_id}

    return start
