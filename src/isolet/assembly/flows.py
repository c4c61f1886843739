"""Workflows: what their owners do with them, and the doors for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isolet.api.kapso.calls import OLDER
from isolet.assembly.agents import add_agents
from isolet.assembly.core import Core
from isolet.assembly.feature import Feature
from isolet.assembly.flow_runs import open_runs
from isolet.database import agent_models
from isolet.domain.flows.variables import Seen
from isolet.domain.flows.workflows import Workflow
from isolet.flows.activation import Activation
from isolet.flows.triggers import WorkflowTriggers
from isolet.flows.workflows import Workflows
from isolet.ids import ProjectId


def open_flows(core: Core) -> Feature:
    database, clock, routes = core.persistence.database, core.host.clock, core.registry.routes
    activation = Activation(routes=routes, has_model=agent_models.has_model)
    workflows = Workflows(database=database, routes=routes, activation=activation, clock=clock)
    triggers = WorkflowTriggers(database=database, clock=clock)

    async def policies_of(_workflow_id: str) -> Mapping[str, Any]:
        return {}

    async def channel(_project_id: ProjectId) -> str | None:
        return None

    async def emit(*_event: object) -> None:
        pass

    runs = open_runs(core, workflows, policies_of=policies_of, channel=channel, emit=emit)
    add_agents(core, runs, emit)

    async def model(project_id: ProjectId) -> str | None:
        found = await database.read(agent_models.get_model, project_id)
        return None if found is None else found.model.model

    async def latest(_workflow: Workflow) -> Sequence[Seen]:
        return ()

    def kapso_doors(prefix: str) -> Sequence[object]:
        # They load the web framework.
        from isolet.api.kapso.providers import ProvidersDoor  # noqa: PLC0415
        from isolet.api.kapso.workflow_variables import WorkflowVariablesDoor  # noqa: PLC0415
        from isolet.api.kapso.workflows import (  # noqa: PLC0415
            OlderWorkflowsDoor,
            WorkflowsDoor,
            WorkflowTriggersDoor,
        )

        door = WorkflowsDoor(workflows=workflows, settings=core.host.settings)
        if prefix == OLDER:
            return [OlderWorkflowsDoor(workflows=door)]
        return [
            door,
            WorkflowTriggersDoor(workflows=workflows, triggers=triggers, settings=core.host.settings),
            WorkflowVariablesDoor(workflows=workflows, latest=latest),
            ProvidersDoor(model=model),
        ]

    return Feature(kapso_doors=kapso_doors)
