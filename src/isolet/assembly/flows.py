"""Workflows: what their owners do with them, and the doors for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isolet.assembly import kapso_flows
from isolet.assembly.agents import add_agents
from isolet.assembly.core import Core
from isolet.assembly.feature import Feature
from isolet.assembly.flow_runs import open_runs
from isolet.database import agent_models
from isolet.flows.activation import Activation
from isolet.flows.workflows import Workflows
from isolet.ids import ProjectId


def open_flows(core: Core) -> Feature:
    database, clock, routes = core.persistence.database, core.host.clock, core.registry.routes
    activation = Activation(routes=routes, has_model=agent_models.has_model)
    workflows = Workflows(database=database, routes=routes, activation=activation, clock=clock)

    async def policies_of(_workflow_id: str) -> Mapping[str, Any]:
        return {}

    async def channel(_project_id: ProjectId) -> str | None:
        return None

    async def emit(*_event: object) -> None:
        pass

    runs = open_runs(core, workflows, policies_of=policies_of, channel=channel, emit=emit)
    add_agents(core, runs, emit)

    return Feature(kapso_doors=kapso_flows.doors_of(core, workflows, runs.executions))
