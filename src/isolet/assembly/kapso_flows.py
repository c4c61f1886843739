"""Workflows and their runs on Kapso's routes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from isolet.api.kapso.calls import OLDER
from isolet.assembly.core import Core
from isolet.database import agent_models
from isolet.database.executions import Filter
from isolet.domain.flows.variables import Seen
from isolet.domain.flows.workflows import Workflow
from isolet.flows.bursts import Bursts
from isolet.flows.project_events import ProjectEvents
from isolet.flows.service import Executions
from isolet.flows.triggers import WorkflowTriggers
from isolet.flows.workflows import Workflows
from isolet.ids import ProjectId

# Runs whose variables are shown with those of a workflow's graph.
_LATEST = 10


def doors_of(
    core: Core, workflows: Workflows, runs: Executions, events: ProjectEvents
) -> Callable[[str], Sequence[object]]:
    """The doors below each of Kapso's bases."""
    database, clock, routes = core.persistence.database, core.host.clock, core.registry.routes
    settings = core.host.settings
    bursts = Bursts(time.monotonic)

    async def model(project_id: ProjectId) -> str | None:
        found = await database.read(agent_models.get_model, project_id)
        return None if found is None else found.model.model

    async def latest(workflow: Workflow) -> Sequence[Seen]:
        newest = await runs.list(Filter(workflow_id=workflow.id), limit=_LATEST)
        states = [(await runs.state(run.id), run) for run in newest]
        return [Seen(values=state.spaces.vars, at_ms=run.last_event_at_ms) for state, run in states]

    def doors(prefix: str) -> Sequence[object]:
        # They load the web framework.
        from isolet.api.kapso.events import EventsDoor  # noqa: PLC0415
        from isolet.api.kapso.executions import ExecutionsDoor, OlderExecutionsDoor, Starts  # noqa: PLC0415
        from isolet.api.kapso.providers import ProvidersDoor  # noqa: PLC0415
        from isolet.api.kapso.workflow_variables import WorkflowVariablesDoor  # noqa: PLC0415
        from isolet.api.kapso.workflows import (  # noqa: PLC0415
            OlderWorkflowsDoor,
            WorkflowsDoor,
            WorkflowTriggersDoor,
        )

        door = WorkflowsDoor(workflows=workflows, settings=settings)
        starts = Starts(executions=runs, bursts=bursts, routes=routes, clock=clock, own_keys=core.invoker.own_keys)
        if prefix == OLDER:
            older = OlderExecutionsDoor(workflows=workflows, starts=starts, settings=settings)
            return [OlderWorkflowsDoor(workflows=door), older]
        triggers = WorkflowTriggers(database=database, clock=clock)
        return [
            door,
            WorkflowTriggersDoor(workflows=workflows, triggers=triggers, settings=settings),
            ExecutionsDoor(workflows=workflows, executions=runs, starts=starts, settings=settings),
            WorkflowVariablesDoor(workflows=workflows, latest=latest),
            ProvidersDoor(model=model),
            EventsDoor(events=events, settings=settings),
        ]

    return doors
