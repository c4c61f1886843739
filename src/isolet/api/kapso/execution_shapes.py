"""Kapso's JSON of runs and their events: what requests say, how objects look, and pages of both."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from isolet.api.kapso.shapes import envelope
from isolet.api.kapso.workflow_shapes import moment, plain
from isolet.clock import iso
from isolet.database.executions import Filter
from isolet.domain.flows.executions import Event, Execution, State
from isolet.domain.flows.nodes import NodeType
from isolet.domain.flows.runs import RunStatus
from isolet.domain.flows.workflows import WorkflowStatus
from isolet.errors import InvalidInput

T = TypeVar("T")
LIMIT = 20
LIMIT_MAX = 100
# What PATCH may ask for.
STATUSES = (RunStatus.ENDED, RunStatus.HANDOFF, RunStatus.WAITING)
_STEP_TYPES = {
    NodeType.WAIT_FOR_RESPONSE: "FlowWaitStep",
    NodeType.DECIDE: "FlowDecideStep",
    NodeType.AGENT: "FlowAgentStep",
}
# Whom a run is about, and where it stands in the context. The last one counts.
_WHOM = {"recipient": "phone_number", "phone_number": "phone_number", "phone_number_id": "phone_number_id"}
_CURSOR_MAX_CHARS = 100


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
    status = query.get("status") or None
    if status is not None and status not in list(RunStatus):
        raise InvalidInput(f"status must be one of {', '.join(RunStatus)}")
    return Filter(
        status=None if status is None else RunStatus(status),
        waiting_reason=plain(query, "waiting_reason"),
        conversation_id=plain(query, "whatsapp_conversation_id"),
        tracking_id=plain(query, "tracking_id"),
        created_from_ms=moment(query, "created_after"),
        created_to_ms=moment(query, "created_before"),
        **known,
    )


# Objects.


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


def whole(summary: dict[str, Any], execution: Execution, state: State, events: Sequence[Event]) -> dict[str, Any]:
    return {
        **summary,
        "error_details": failure_of(execution),
        "execution_context": state.spaces.to_json(),
        "events": [event_object(event) for event in events],
    }


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


# Pages. A cursor `after` leads to what is older, `before` to what is newer.


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a request asks for: at most one of `older_than` and `newer_than`, as a cursor holds them."""

    limit: int
    older_than: str | None = None
    newer_than: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paged(Generic[T]):
    """`items` are newest first."""

    items: Sequence[T]
    has_older: bool
    has_newer: bool

    def paging(self, mark: Callable[[T], str]) -> dict[str, Any]:
        before = _cursor(mark(self.items[0])) if self.items else None
        after = _cursor(mark(self.items[-1])) if self.items else None
        return {
            "cursors": {"before": before, "after": after},
            "next": after if self.has_older else None,
            "previous": before if self.has_newer else None,
        }


def page_of(query: Mapping[str, str]) -> Page:
    """Raises InvalidInput."""
    text = query.get("limit") or str(LIMIT)
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= LIMIT_MAX or len(text) > 9:
        raise InvalidInput(f"limit must be a whole number from 1 to {LIMIT_MAX}")
    after, before = query.get("after") or None, query.get("before") or None
    if after is not None and before is not None:
        raise InvalidInput("after and before cannot be given together")
    return Page(
        limit=int(text),
        older_than=None if after is None else _mark("after", after),
        newer_than=None if before is None else _mark("before", before),
    )


def cut(page: Page, found: Sequence[T]) -> Paged[T]:
    """Of one more than a page, newest first, if there were so many."""
    more = len(found) > page.limit
    if page.newer_than is not None:
        return Paged(items=found[1:] if more else found, has_older=True, has_newer=more)
    return Paged(items=found[: page.limit], has_older=more, has_newer=page.older_than is not None)


def _cursor(mark: str) -> str:
    return base64.urlsafe_b64encode(mark.encode()).decode().rstrip("=")


def _mark(name: str, cursor: str) -> str:
    try:
        if len(cursor) > _CURSOR_MAX_CHARS or not cursor.isascii():
            raise ValueError("not one of ours")
        mark = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (ValueError, binascii.Error):
        raise InvalidInput(f"{name} is not a cursor of a list") from None
    if not mark or not all(char.isalnum() or char == "-" for char in mark):
        raise InvalidInput(f"{name} is not a cursor of a list")
    return mark


def event_number(name: str, mark: str | None) -> int | None:
    """What a cursor of events holds. Raises InvalidInput."""
    if mark is None:
        return None
    if not mark.isdigit() or len(mark) > 9:
        raise InvalidInput(f"{name} is not a cursor of this list")
    return int(mark)
