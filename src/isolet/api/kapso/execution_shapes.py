"""Kapso's JSON of runs and their events: what requests say and how objects look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isolet.api.asgi import dumps
from isolet.api.kapso.queries import chosen, moment, plain
from isolet.api.kapso.shapes import envelope
from isolet.api.reply import joined
from isolet.clock import iso
from isolet.database.executions import Filter
from isolet.domain.flows.executions import Event, Execution, State
from isolet.domain.flows.nodes import NodeType
from isolet.domain.flows.runs import RunStatus
from isolet.domain.flows.workflows import WorkflowStatus
from isolet.errors import InvalidInput

# What PATCH may ask for.
STATUSES = (RunStatus.ENDED, RunStatus.HANDOFF, RunStatus.WAITING)
_STEP_TYPES = {
    NodeType.WAIT_FOR_RESPONSE: "FlowWaitStep",
    NodeType.DECIDE: "FlowDecideStep",
    NodeType.AGENT: "FlowAgentStep",
}
# Whom a run is about, and where it stands in the context. The last one counts.
_WHOM = {"recipient": "phone_number", "phone_number": "phone_number", "phone_number_id": "phone_number_id"}


def start_values(sent: Mapping[str, Any]) -> dict[str, Any]:
    """What a start sets, without where it came from. Raises InvalidInput."""
    initial, variables = (_object_or_none(sent, name) for name in ("initial_data", "variables"))
    context = _object_or_none(sent, "context") or {}
    for theirs, ours in _WHOM.items():
        if sent.get(theirs) is not None:
            context = {**context, ours: _text(theirs, sent[theirs])}
    return {
        "variables": {**(initial or {}), **(variables or {})},
        "context": context,
        "whatsapp_context": sent.get("whatsapp_context"),
        "tracking_id": sent.get("tracking_id"),
    }


def _object_or_none(sent: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = sent.get(name)
    if value is not None and not isinstance(value, dict):
        raise InvalidInput(f"{name} must be an object")
    return value


def _text(label: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 256:
        raise InvalidInput(f"{label} must be text of 1 to 256 characters")
    return value


def sent_status(body: Any) -> RunStatus:
    """Of a `{"workflow_execution": {"status": …}}`. Raises InvalidInput."""
    status = envelope(body, "workflow_execution").get("status")
    if not isinstance(status, str) or status not in STATUSES:
        raise InvalidInput(f"status must be one of {', '.join(STATUSES)}")
    return RunStatus(status)


def execution_filter(query: Mapping[str, str], **known: Any) -> Filter:
    """Raises InvalidInput."""
    return Filter(
        status=chosen(query, "status", RunStatus),
        waiting_reason=plain(query, "waiting_reason"),
        conversation_id=plain(query, "whatsapp_conversation_id"),
        tracking_id=plain(query, "tracking_id"),
        created_from_ms=moment(query, "created_after"),
        created_to_ms=moment(query, "created_before"),
        **known,
    )


def execution_object(execution: Execution, status: WorkflowStatus | None) -> dict[str, Any]:
    """The summary that lists have. `status` is that of its workflow; None when it is gone, since a run outlives it."""
    shown = (status or WorkflowStatus.ARCHIVED).value
    return {
        "id": execution.id,
        "status": execution.status.value,
        "started_at": iso(execution.started_at_ms),
        "ended_at": _time(execution.ended_at_ms),
        "last_event_at": iso(execution.last_event_at_ms),
        "tracking_id": execution.tracking_id,
        "whatsapp_conversation_id": execution.conversation_id,
        "waiting_reason": execution.waiting_reason,
        "workflow": {"id": execution.workflow_id, "name": execution.workflow_name, "status": shown},
        "current_step": _step(execution.step_id, execution.node_id, execution.node_type),
    }


def failure_of(execution: Execution) -> dict[str, Any] | None:
    """`error_details`."""
    error = execution.error
    if error is None:
        return None
    return {**error, "step_identifier": error.get("node_id")}


def whole(summary: dict[str, Any], execution: Execution, state: State, events: Sequence[Event]) -> bytes:
    """The JSON of a reply with everything of a run."""
    context = {"error_details": failure_of(execution), "execution_context": state.spaces.to_json()}
    head = dumps({"data": {**summary, **context, "events": []}})
    return head[: -len(b"]}}")] + joined(event_object, events) + b"]}}"


def event_object(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "event_type": event.type,
        "direction": event.direction,
        "edge_label": event.edge_label,
        "created_at": iso(event.created_at_ms),
        "payload": dict(event.payload),
        "step": _step(event.step_id, event.node_id, event.node_type),
    }


def _step(step_id: str | None, node_id: str | None, kind: NodeType | None) -> dict[str, Any] | None:
    if step_id is None:
        return None
    name = None if kind is None else _STEP_TYPES.get(kind, "FlowActionStep")
    return {"id": step_id, "identifier": node_id, "stepable_type": name, "position": None}


def _time(ms: int | None) -> str | None:
    return None if ms is None else iso(ms)
