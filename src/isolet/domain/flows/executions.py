"""Runs of workflows as they are stored: the execution, its steps and its events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from isolet.domain.flows.nodes import NodeType
from isolet.domain.flows.run_variables import dump
from isolet.domain.flows.runs import RunStatus, StepStatus
from isolet.domain.flows.templates import SPACES
from isolet.domain.own_keys import without_keys
from isolet.domain.strict_json import write_readable
from isolet.ids import ExecutionId, JobId, ProjectId, StepId

TRACKING_ID_MAX_CHARS = 256
# Of a run, all its retries counted.
# Graphs that runs of a project began with, each kept once: the oldest runs make room for more than are kept, and no run
# begins with one more than there may be.
GRAPHS_KEPT = 2_000
GRAPHS_MAX = 2 * GRAPHS_KEPT
ROWS_MAX = 10_000
EVENTS_MAX = 10_000
EVENT_MAX_BYTES = 65_536
EVENTS_MAX_BYTES = 8 * 1_048_576
UNDO_MAX_BYTES = 4 * 1_048_576
# What a row of each kind takes besides its texts.
ROW_BYTES = 400
_BEGINNING_CHARS = 2_000


class Pause(StrEnum):
    """`ASKED`: the step that runs may end. `PARKED`: the next one waits in the store."""

    ASKED = "asked"
    PARKED = "parked"


class Spaces(Struct, frozen=True, kw_only=True):
    """What templates and functions see of a run: `execution_context` of Kapso's payloads. All of it is JSON."""

    vars: Mapping[str, Any] = field(default_factory=dict)
    system: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"vars": self.vars, "system": self.system, "context": self.context, "metadata": self.metadata}


class State(Struct, frozen=True, kw_only=True):
    """The part of a run that may be large. `memory` is what a node that waits remembers.

    `visits` counts the steps of each node. `callers` are the workflows that this one was called by, outermost first.
    `since` is how many steps were made before the newest retry.
    """

    spaces: Spaces = field(default_factory=Spaces)
    whatsapp_context: Mapping[str, Any] | None = None
    memory: Any = None
    visits: Mapping[str, int] = field(default_factory=dict)
    callers: Sequence[Mapping[str, str]] = ()
    since: int = 0


class Execution(Struct, frozen=True, kw_only=True):
    """A run, without what may be large. Times are milliseconds since 1970.

    `step_id`, `node_id` and `node_type` are of the newest step. `child_id` is the run that a `call` waits for. `job_id`
    is the one job that may move the run on. `error` says why it failed: `{message, code, node_id, step_id}`.
    """

    id: ExecutionId
    project_id: ProjectId
    workflow_id: str
    workflow_name: str
    status: RunStatus
    trigger: str
    tracking_id: str
    graph_id: str
    started_at_ms: int
    last_event_at_ms: int
    ended_at_ms: int | None = None
    waiting_reason: str | None = None
    pause: Pause | None = None
    conversation_id: str | None = None
    parent_id: ExecutionId | None = None
    child_id: ExecutionId | None = None
    depth: int = 0
    job_id: JobId | None = None
    step_id: StepId | None = None
    node_id: str | None = None
    node_type: NodeType | None = None
    steps: int = 0
    events: int = 0
    events_bytes: int = 0
    undo_bytes: int = 0
    size_bytes: int = 0
    error: Mapping[str, Any] | None = None


class Step(Struct, frozen=True, kw_only=True):
    """One visit of a node. `number` counts the steps of the run from 1, `attempts` the tries that ended.

    `superseded`: a retry of the run began before it.
    """

    id: StepId
    number: int
    node_id: str
    node_type: NodeType
    visit: int
    status: StepStatus
    started_at_ms: int
    attempts: int = 0
    ended_at_ms: int | None = None
    invocation_id: str | None = None
    error: str | None = None
    edge_label: str | None = None
    superseded: bool = False


class Event(Struct, frozen=True, kw_only=True):
    """Something that a run did. `payload` is JSON; `number` counts the events of the run from 1."""

    id: str
    execution_id: ExecutionId
    number: int
    type: str
    created_at_ms: int
    payload: Mapping[str, Any]
    direction: str | None = None
    edge_label: str | None = None
    step_id: StepId | None = None
    node_id: str | None = None
    node_type: NodeType | None = None


def step_key(execution_id: str, node_id: str, visit: int) -> str:
    """What each attempt of a step carries, so that a function can tell that it did the work already."""
    return f"{execution_id}:{node_id}:{visit}"


class NewEvent(Struct, frozen=True, kw_only=True):
    """An event before it is stored. `payload` is JSON in ASCII, as `event_payload` makes it."""

    id: str
    type: str
    at_ms: int
    payload: str = "{}"
    direction: str | None = None
    edge_label: str | None = None
    step_id: StepId | None = None
    node_id: str | None = None
    node_type: NodeType | None = None


def event_payload(payload: Mapping[str, Any]) -> str:
    """JSON of a payload without keys of ours; its beginning stands for one that is too large."""
    try:
        text = without_keys(write_readable(payload))
    except (RecursionError, ValueError, TypeError):
        return dump({"truncated": True})
    if len(text) <= EVENT_MAX_BYTES:
        return text
    return dump({"truncated": True, "bytes": len(text), "beginning": text[:_BEGINNING_CHARS]})


def dump_state(state: State) -> str:
    return dump(
        {
            **state.spaces.to_json(),
            "whatsapp_context": state.whatsapp_context,
            "memory": state.memory,
            "visits": state.visits,
            "callers": list(state.callers),
            "since": state.since,
        }
    )


def read_state(text: str) -> State:
    stored = json.loads(text)
    spaces = Spaces(**{name: stored.pop(name) for name in SPACES})
    return State(spaces=spaces, **stored)
