"""Kapso's JSON of workflows and their triggers: what requests say and how objects look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isolet.api.kapso.queries import chosen, moment, plain
from isolet.api.kapso.shapes import envelope
from isolet.clock import iso
from isolet.database.workflows import WorkflowFilter
from isolet.domain.flows.workflows import Trigger, TriggerType, Workflow, WorkflowStatus

_MEMBERS = (
    "name",
    "slug",
    "description",
    "status",
    "definition",
    "message_debounce_seconds",
    "inbound_message_read_mode",
    "agent_default_tools_version",
)


def sent_workflow(body: Any) -> tuple[dict[str, Any], object]:
    """What a `{"workflow": {…}}` or `{"flow": {…}}` sets, and the `lock_version` that the caller read, if it says.

    Members this API does not know are passed over.
    """
    sent = envelope(body, "workflow", "flow")
    return {name: sent[name] for name in _MEMBERS if name in sent}, sent.get("lock_version")


def workflow_filter(query: Mapping[str, str]) -> WorkflowFilter:
    """Raises InvalidInput."""
    return WorkflowFilter(
        status=chosen(query, "status", WorkflowStatus),
        name_contains=plain(query, "name_contains"),
        created_after_ms=moment(query, "created_after"),
        created_before_ms=moment(query, "created_before"),
    )


def workflow_object(workflow: Workflow) -> dict[str, Any]:
    """Without the graph."""
    return {
        "id": workflow.id,
        "name": workflow.name,
        "slug": workflow.slug,
        "description": workflow.description,
        "status": workflow.status.value,
        "lock_version": workflow.lock_version,
        "message_debounce_seconds": workflow.message_debounce_seconds,
        "inbound_message_read_mode": workflow.inbound_message_read_mode.value,
        "agent_default_tools_version": workflow.agent_default_tools_version,
        "project_id": workflow.project_id,
        "execution_count": workflow.execution_count,
        "last_executed_at": None if workflow.last_executed_at_ms is None else iso(workflow.last_executed_at_ms),
        "created_at": iso(workflow.created_at_ms),
        "updated_at": iso(workflow.updated_at_ms),
    }


def with_definition(workflow: Workflow) -> dict[str, Any]:
    return {**workflow_object(workflow), "definition": workflow.definition}


def trigger_object(trigger: Trigger) -> dict[str, Any]:
    return {
        "id": trigger.id,
        "workflow_id": trigger.workflow_id,
        "trigger_type": trigger.type.value,
        "active": trigger.active,
        "display_name": _display_name(trigger),
        "triggerable": dict(trigger.settings),
        "created_at": iso(trigger.created_at_ms),
        "updated_at": iso(trigger.updated_at_ms),
    }


def _display_name(trigger: Trigger) -> str | None:
    match trigger.type:
        case TriggerType.API_CALL:
            return "API Call Trigger"
        case TriggerType.INBOUND_MESSAGE:
            return f"WhatsApp: {trigger.settings['phone_number_id']}"
        case TriggerType.PROJECT_EVENT:
            return f"Event: {trigger.settings['event_name']}"
        case TriggerType.WHATSAPP_EVENT:
            return None
