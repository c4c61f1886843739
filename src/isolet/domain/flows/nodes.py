"""The types of the nodes of a workflow, and what each is told to do.

The names and bounds are those of Kapso's API. A member that is not listed is refused, except in agents, whose clients
write members that the API's own description lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from isolet.domain.flows.configs import agents, calls, decisions, events, messages, waits
from isolet.domain.flows.configs.checks import Config, ConfigCheck, members


class NodeType(StrEnum):
    START = "start"
    SEND_TEXT = "send_text"
    SEND_TEMPLATE = "send_template"
    SEND_INTERACTIVE = "send_interactive"
    WAIT_FOR_RESPONSE = "wait_for_response"
    DECIDE = "decide"
    FUNCTION = "function"
    WEBHOOK = "webhook"
    AGENT = "agent"
    CALL = "call"
    HANDOFF = "handoff"
    SET_VARIABLE = "set_variable"
    EMIT_EVENT = "emit_event"


SENDS = frozenset({NodeType.SEND_TEXT, NodeType.SEND_TEMPLATE, NodeType.SEND_INTERACTIVE})

_CONFIGS: Mapping[NodeType, ConfigCheck] = {
    NodeType.START: members({}),
    NodeType.SEND_TEXT: messages.send_text,
    NodeType.SEND_TEMPLATE: messages.send_template,
    NodeType.SEND_INTERACTIVE: messages.send_interactive,
    NodeType.WAIT_FOR_RESPONSE: waits.wait_for_response,
    NodeType.DECIDE: decisions.decide,
    NodeType.FUNCTION: calls.function,
    NodeType.WEBHOOK: calls.webhook,
    NodeType.AGENT: agents.agent,
    NodeType.CALL: calls.call,
    NodeType.HANDOFF: waits.handoff,
    NodeType.SET_VARIABLE: events.set_variable,
    NodeType.EMIT_EVENT: events.emit_event,
}


def check_config(kind: NodeType, label: str, value: object) -> Config:
    """The config of a node; JSON that was sent as text is read. Raises InvalidInput, whose text begins with `label`."""
    return _CONFIGS[kind](label, {} if value is None else value)
