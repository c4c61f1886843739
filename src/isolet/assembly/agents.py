"""Agents: the model of each project, and what asks it."""

from __future__ import annotations

from collections.abc import Sequence

from isolet.agents.addresses import OutgoingAddresses
from isolet.agents.models import AgentModels
from isolet.assembly.core import Core
from isolet.assembly.feature import Feature


def open_agents(core: Core) -> Feature:
    addresses = OutgoingAddresses(routes=core.registry.routes, own=lambda: core.runtime.addresses.current)
    models = AgentModels(
        database=core.persistence.database,
        vault=core.persistence.vault,
        addresses=addresses,
    )

    def doors() -> Sequence[object]:
        from isolet.api.native.agent_model import AgentModelDoor  # noqa: PLC0415

        return [AgentModelDoor(models=models)]

    return Feature(doors=doors)
