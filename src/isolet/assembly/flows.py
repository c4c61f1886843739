"""Workflows: what their owners do with them, and the doors for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from isolet.assembly import kapso_flows
from isolet.assembly.agents import add_agents
from isolet.assembly.core import Core
from isolet.assembly.feature import Feature
from isolet.assembly.flow_runs import open_runs
from isolet.database import agent_models, workflow_policies
from isolet.domain.schedules import Schedule
from isolet.flows.activation import Activation
from isolet.flows.channels import Channels
from isolet.flows.performer import StepContext
from isolet.flows.policies import WorkflowPolicies
from isolet.flows.project_events import ProjectEvents
from isolet.flows.scheduled import ScheduledRuns
from isolet.flows.service import Executions
from isolet.flows.workflows import Workflows
from isolet.ids import JobId
from isolet.schedules.flow_starts import FlowStart


def open_flows(core: Core) -> Feature:
    database, clock, routes = core.persistence.database, core.host.clock, core.registry.routes
    activation = Activation(
        routes=routes, has_model=agent_models.has_model, policy_targets=workflow_policies.policy_targets
    )
    workflows = Workflows(database=database, routes=routes, activation=activation, clock=clock)

    policies = WorkflowPolicies(database=database, activation=activation)
    channels = Channels(
        database=database,
        routes=routes,
        own=lambda: core.runtime.addresses.current,
        http=core.host.settings.callback_http,
    )

    async def emit(step: StepContext, name: str, properties: Mapping[str, Any], occurred_at: str | None) -> None:
        await events.emit_from(step, name, properties, occurred_at)

    runs = open_runs(core, workflows, policies_of=policies.get, channel=channels.get, emit=emit)
    events = ProjectEvents(database=database, workflows=workflows, executions=runs.executions, clock=clock)
    add_agents(core, runs, emit, channels.get)
    _let_schedules_start(core, ScheduledRuns(workflows=workflows, executions=runs.executions), runs.executions)

    def doors() -> Sequence[object]:
        # They load the web framework.
        from isolet.api.native.executions import ExecutionsDoor  # noqa: PLC0415
        from isolet.api.native.flows import FlowsDoor  # noqa: PLC0415

        return [
            FlowsDoor(workflows=workflows, policies=policies, channels=channels, events=events),
            ExecutionsDoor(executions=runs.executions, workflows=workflows),
        ]

    return Feature(doors=doors, kapso_doors=kapso_flows.doors_of(core, workflows, runs.executions, events))


def _let_schedules_start(core: Core, runs: ScheduledRuns, executions: Executions) -> None:
    async def draft(schedule: Schedule, due_ms: int, firing_id: JobId) -> FlowStart:
        drafted = await runs.draft(schedule, due_ms, firing_id)
        return FlowStart(
            execution_id=drafted.execution.id,
            jobs=[] if drafted.job is None else [drafted.job],
            write=partial(executions.write, draft=drafted),
            check=partial(executions.check_room, project_id=schedule.project_id),
        )

    core.registry.flow_starts.set(draft)
