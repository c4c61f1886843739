"""How runs begin: the run, its first steps and the job of the first one that does something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from isolet.clock import iso
from isolet.database.executions import Draft
from isolet.domain.flows.executions import (
    TRACKING_ID_MAX_CHARS,
    Execution,
    NewEvent,
    Spaces,
    State,
    Step,
    event_payload,
)
from isolet.domain.flows.flow_jobs import flow_job
from isolet.domain.flows.graph import Graph, Node
from isolet.domain.flows.run_variables import check_variables
from isolet.domain.flows.runs import CONTEXT_MAX_BYTES, RunStatus, StepStatus
from isolet.domain.flows.workflows import Workflow
from isolet.domain.invocations import storable
from isolet.domain.json_bounds import bounded_json
from isolet.errors import InvalidInput
from isolet.flows.snapshots import snapshot_id, snapshot_text
from isolet.ids import ExecutionId, StepId, new_id


class Start(Struct, frozen=True, kw_only=True):
    """With what a run begins. `trigger` is what started it, such as `api_call`; `metadata` is about the request.

    `id` is that of the run, a new one without it. `parent` is the run that calls this one, and `callers` the workflows
    above it, outermost first.
    """

    variables: Any = None
    context: Any = None
    metadata: Any = None
    whatsapp_context: Any = None
    tracking_id: Any = None
    trigger: str = "api_call"
    parent: Execution | None = None
    callers: Sequence[Mapping[str, str]] = ()
    system: Mapping[str, Any] = field(default_factory=dict)
    id: ExecutionId | None = None


def draft_of(workflow: Workflow, policies: Mapping[str, Any], start: Start, now_ms: int) -> Draft:
    """A run of a workflow whose graph was read. Raises InvalidInput. Large ones take a while: not on the event loop."""
    if workflow.graph is None:
        raise LookupError("the graph of this workflow was not read")
    execution_id = start.id or ExecutionId(new_id())
    tracking_id = _tracking_id(start.tracking_id)
    state = State(
        spaces=_spaces(workflow, start, execution_id, tracking_id, now_ms),
        whatsapp_context=_object("whatsapp_context", start.whatsapp_context),
        callers=start.callers,
    )
    text = snapshot_text(workflow.graph, policies)
    steps, node = _first_steps(workflow.graph, now_ms)
    state = replace(state, visits={step.node_id: step.visit for step in steps})
    job = None if node is None else flow_job(workflow.project_id, workflow.id, execution_id, now_ms)
    execution = Execution(
        id=execution_id,
        project_id=workflow.project_id,
        workflow_id=workflow.id,
        workflow_name=storable(workflow.name),
        status=RunStatus.ENDED if node is None else RunStatus.RUNNING,
        trigger=start.trigger,
        tracking_id=tracking_id,
        graph_id=snapshot_id(workflow.project_id, text),
        started_at_ms=now_ms,
        last_event_at_ms=now_ms,
        ended_at_ms=now_ms if node is None else None,
        conversation_id=_conversation(state.whatsapp_context),
        parent_id=None if start.parent is None else start.parent.id,
        depth=0 if start.parent is None else start.parent.depth + 1,
        job_id=None if job is None else job.id,
        step_id=steps[-1].id,
        node_id=steps[-1].node_id,
        node_type=steps[-1].node_type,
        steps=len(steps),
    )
    return Draft(execution=execution, state=state, graph=text, steps=steps, events=_events(execution, steps), job=job)


def _spaces(workflow: Workflow, start: Start, execution_id: ExecutionId, tracking_id: str, now_ms: int) -> Spaces:
    channel = "api" if start.whatsapp_context is None else "whatsapp"
    return Spaces(
        vars=dict(check_variables(start.variables)),
        system={
            **start.system,
            "trigger_type": start.trigger,
            "flow_id": workflow.id,
            "workflow_id": workflow.id,
            "flow_name": workflow.name,
            "started_at": iso(now_ms),
            "tracking_id": tracking_id,
            "workflow_execution_id": execution_id,
        },
        context={"channel": channel, **(_object("context", start.context) or {})},
        metadata=_object("metadata", start.metadata) or {"request": {"timestamp": iso(now_ms)}},
    )


def _object(label: str, value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{label} must be an object")
    return dict(bounded_json(label, value, most=CONTEXT_MAX_BYTES))


def _tracking_id(value: Any) -> str:
    if value is None:
        return new_id()
    if not isinstance(value, str) or not 0 < len(value) <= TRACKING_ID_MAX_CHARS:
        raise InvalidInput(f"tracking_id must be text of 1 to {TRACKING_ID_MAX_CHARS} characters")
    return storable(value)


def _conversation(whatsapp_context: Mapping[str, Any] | None) -> str | None:
    conversation = (whatsapp_context or {}).get("conversation")
    found = conversation.get("id") if isinstance(conversation, Mapping) else None
    return storable(found[:TRACKING_ID_MAX_CHARS]) if isinstance(found, str) else None


def _first_steps(graph: Graph, now_ms: int) -> tuple[list[Step], Node | None]:
    """The start, which is done at once, and the node behind it; None when the run ends there."""
    edge = graph.following(graph.start.id)
    begun = Step(
        id=StepId(new_id()),
        number=1,
        node_id=graph.start.id,
        node_type=graph.start.kind,
        visit=1,
        status=StepStatus.SUCCEEDED,
        started_at_ms=now_ms,
        attempts=1,
        ended_at_ms=now_ms,
        edge_label=None if edge is None else edge.label,
    )
    node = None if edge is None else graph.node(edge.target)
    if node is None:
        return [begun], None
    return [begun, new_step(node, number=2, visit=2 if node.id == begun.node_id else 1, now_ms=now_ms)], node


def new_step(node: Node, *, number: int, visit: int, now_ms: int) -> Step:
    """A step that begins."""
    return Step(
        id=StepId(new_id()),
        number=number,
        node_id=node.id,
        node_type=node.kind,
        visit=visit,
        status=StepStatus.RUNNING,
        started_at_ms=now_ms,
    )


def _events(execution: Execution, steps: Sequence[Step]) -> list[NewEvent]:
    begun = {"trigger_type": execution.trigger, "tracking_id": execution.tracking_id}
    at_ms, first = execution.started_at_ms, steps[0]
    events = [NewEvent(id=new_id(), type="execution_started", at_ms=at_ms, payload=event_payload(begun))]
    for name in ("step_entered", "step_completed"):
        events.append(
            NewEvent(
                id=new_id(),
                type=name,
                at_ms=at_ms,
                edge_label=first.edge_label if name == "step_completed" else None,
                step_id=first.id,
                node_id=first.node_id,
                node_type=first.node_type,
            )
        )
    if execution.ended_at_ms is not None:
        events.append(NewEvent(id=new_id(), type="execution_ended", at_ms=at_ms))
    return events
