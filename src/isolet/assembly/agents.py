"""Agents: the model of each project, and what asks it.

Their code is loaded with the first request or step that needs it: a server without agents starts without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from isolet.assembly.core import Core
from isolet.assembly.feature import Feature
from isolet.assembly.flow_runs import FlowRuns
from isolet.domain.flows.nodes import NodeType
from isolet.flows.engine import DECIDE_AI
from isolet.flows.performer import Performer, StepContext, StepResult
from isolet.flows.performers.events import Emit
from isolet.flows.performers.sends import SendNode
from isolet.ids import ProjectId
from isolet.runtime.outgoing import Requests

if TYPE_CHECKING:
    from isolet.agents.addresses import OutgoingAddresses
    from isolet.agents.chat import Chat
    from isolet.agents.models import AgentModels

# Of these, a model may write fields.
_WRITTEN = (NodeType.SEND_TEXT, NodeType.SEND_TEMPLATE, NodeType.SEND_INTERACTIVE, NodeType.WEBHOOK)


def open_agents(core: Core) -> Feature:
    def doors() -> Sequence[object]:
        from isolet.api.native.agent_model import AgentModelDoor  # noqa: PLC0415

        return [AgentModelDoor(models=_models(core))]

    return Feature(doors=doors)


def add_agents(core: Core, runs: FlowRuns, emit: Emit, channel: Callable[[ProjectId], Awaitable[str | None]]) -> None:
    """What asks a model, for the nodes of runs: after those nodes' own performers were added."""
    runs.performers.add(NodeType.AGENT, _Later(lambda: _agent(core, runs, emit, channel)))
    runs.performers.add(DECIDE_AI, _Later(lambda: _decision(core)))
    for kind in _WRITTEN:
        runs.performers.wrap(kind, lambda performer: _Later(partial(_with_fields, core, performer)))


class _Later:
    """A performer that is made, in a thread, when a step needs it."""

    def __init__(self, make: Callable[[], Performer]) -> None:
        self._make = make
        self._made: Performer | None = None

    async def perform(self, step: StepContext) -> StepResult:
        if self._made is None:
            self._made = await asyncio.to_thread(self._make)
        return await self._made.perform(step)


def _agent(core: Core, runs: FlowRuns, emit: Emit, channel: Callable[[ProjectId], Awaitable[str | None]]) -> Performer:
    from isolet.agents.agent import AgentPerformer  # noqa: PLC0415
    from isolet.agents.toolbox import Toolboxes  # noqa: PLC0415

    requests = Requests(core.runtime.egresses)
    toolboxes = Toolboxes(calls=runs.calls, requests=requests, checks=core.functions.checks, emit=emit)
    sends = SendNode(requests=requests, channel=channel, keys=core.jobs.webhook_secrets.keys)
    return AgentPerformer(chat=_chat(core), toolboxes=toolboxes, tell=sends.say)


def _decision(core: Core) -> Performer:
    from isolet.agents.decisions import AiDecision  # noqa: PLC0415

    return AiDecision(chat=_chat(core))


def _with_fields(core: Core, performer: Performer) -> Performer:
    from isolet.agents.ai_fields import WithAiFields  # noqa: PLC0415

    return WithAiFields(performer, chat=_chat(core))


def _chat(core: Core) -> Chat:
    from isolet.agents.chat import Chat  # noqa: PLC0415

    requests = Requests(core.runtime.egresses)
    return Chat(model_of=_models(core).opened, requests=requests, clock=core.host.clock)


def _models(core: Core) -> AgentModels:
    from isolet.agents.models import AgentModels  # noqa: PLC0415

    vault = core.persistence.vault
    return AgentModels(database=core.persistence.database, vault=vault, addresses=_addresses(core))


def _addresses(core: Core) -> OutgoingAddresses:
    from isolet.agents.addresses import OutgoingAddresses  # noqa: PLC0415

    return OutgoingAddresses(routes=core.registry.routes, own=lambda: core.runtime.addresses.current)
