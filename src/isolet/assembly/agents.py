"""Agents: the model of each project, and what asks it."""

from __future__ import annotations

from collections.abc import Sequence

from isolet.agents.addresses import OutgoingAddresses
from isolet.agents.agent import AgentPerformer
from isolet.agents.ai_fields import WithAiFields
from isolet.agents.chat import Chat
from isolet.agents.decisions import AiDecision
from isolet.agents.models import AgentModels
from isolet.agents.toolbox import Toolboxes
from isolet.assembly.core import Core
from isolet.assembly.feature import Feature
from isolet.assembly.flow_runs import FlowRuns
from isolet.domain.flows.nodes import NodeType
from isolet.flows.engine import DECIDE_AI
from isolet.flows.performers.events import Emit
from isolet.runtime.outgoing import Requests

# Of these, a model may write fields.
_WRITTEN = (NodeType.SEND_TEXT, NodeType.SEND_TEMPLATE, NodeType.SEND_INTERACTIVE, NodeType.WEBHOOK)


def open_agents(core: Core) -> Feature:
    models = _models(core)

    def doors() -> Sequence[object]:
        from isolet.api.native.agent_model import AgentModelDoor  # noqa: PLC0415

        return [AgentModelDoor(models=models)]

    return Feature(doors=doors)


def _models(core: Core) -> AgentModels:
    return AgentModels(
        database=core.persistence.database, vault=core.persistence.vault, addresses=_outgoing_addresses(core)
    )


def add_agents(core: Core, runs: FlowRuns, emit: Emit) -> None:
    """What asks a model, for the nodes of runs: after those nodes' own performers were added."""
    requests = Requests(core.runtime.egresses)
    chat = Chat(model_of=_models(core).opened, requests=requests, clock=core.host.clock)
    toolboxes = Toolboxes(calls=runs.calls, requests=requests, addresses=_outgoing_addresses(core), emit=emit)
    runs.performers.add(NodeType.AGENT, AgentPerformer(chat=chat, toolboxes=toolboxes))
    runs.performers.add(DECIDE_AI, AiDecision(chat=chat))
    for kind in _WRITTEN:
        runs.performers.wrap(kind, lambda performer: WithAiFields(performer, chat=chat))


def _outgoing_addresses(core: Core) -> OutgoingAddresses:
    return OutgoingAddresses(routes=core.registry.routes, own=lambda: core.runtime.addresses.current)
