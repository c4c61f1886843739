"""What people change of runs: an answer to one that waits, its end, a pause, another try from one of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, select, update

from isolet.database import executions as stored
from isolet.database import jobs as stored_jobs
from isolet.database.run_steps import end, write_run
from isolet.database.tables.executions import execution_steps
from isolet.domain.flows.executions import (
    ROWS_MAX,
    Execution,
    NewEvent,
    Pause,
    State,
    Step,
    dump_state,
    event_payload,
)
from isolet.domain.flows.flow_jobs import Resumed, flow_job
from isolet.domain.flows.graph import Graph
from isolet.domain.flows.run_variables import both_undone, check_variables, dump, undo_of, undone
from isolet.domain.flows.runs import DELAY, FINAL, RunStatus, StepStatus, moved
from isolet.domain.jobs import Job, JobState, asked_again
from isolet.errors import Conflict, InvalidInput
from isolet.ids import JobId, StepId, new_id

RESUMING = "resuming"


class Changed(Struct, frozen=True, kw_only=True):
    """The run after a change, and what the engine is to know: jobs that were added, and such that are to end."""

    execution: Execution
    added: Sequence[Job] = ()
    cancelled: Sequence[JobId] = ()


class Graphs(Struct, frozen=True, kw_only=True):
    """A graph to go on with: the run's own where `text` is None."""

    id: str
    graph: Graph
    text: str | None = None


def deepest(connection: Connection, execution_id: str) -> Execution:
    """The run that an answer to this one is for: down the chain of runs that were called. Raises NotFound."""
    execution = stored.get_execution(connection, execution_id)
    while execution.child_id is not None and execution.status is RunStatus.WAITING:
        execution = stored.get_execution(connection, execution.child_id)
    return execution


def answer(
    connection: Connection, execution_id: str, *, resumed: Resumed, variables: Mapping[str, Any], now_ms: int
) -> Changed:
    """Let a run that waits go on, or the one that it waits for. Raises NotFound, InvalidInput, Conflict."""
    before = stored.get_execution(connection, deepest(connection, execution_id).id, for_update=True)
    if before.status is RunStatus.RUNNING and before.waiting_reason == RESUMING:
        raise Conflict("A resume of this execution is being processed")
    waits = before.status is RunStatus.WAITING and before.child_id is None and before.waiting_reason != DELAY
    if not waits:
        raise InvalidInput(f"Execution is not waiting (it is {before.status})")
    values: dict[str, Any] = {}
    if variables:
        values = _with_variables(connection, before, variables)
    return _go_on(connection, before, resumed, values, [_answered(before, resumed, now_ms)], now_ms)


def _answered(before: Execution, resumed: Resumed, now_ms: int) -> NewEvent:
    told = {"message": resumed.message} if isinstance(resumed.message, Mapping) else {}
    return _event(before, "user_input_received", told, now_ms, direction="inbound")


def _with_variables(connection: Connection, before: Execution, variables: Mapping[str, Any]) -> dict[str, Any]:
    state = stored.get_state(connection, before.id)
    merged = {**state.spaces.vars, **variables}
    check_variables(merged)
    if before.step_id is not None:
        _, undo = stored.get_step(connection, before.step_id)
        if undo is not None:
            both = dump(both_undone(undo, undo_of(state.spaces.vars, merged)))
            table = execution_steps
            connection.execute(update(table).where(table.c.id == before.step_id).values(undo=both))
    return {"state": dump_state(replace(state, spaces=replace(state.spaces, vars=merged)))}


def _go_on(
    connection: Connection,
    before: Execution,
    resumed: Resumed,
    values: Mapping[str, Any],
    events: Sequence[NewEvent],
    now_ms: int,
) -> Changed:
    """The newest step is performed again, and what was to happen else is not."""
    cancelled = _drop_job(connection, before, now_ms)
    job = flow_job(before.project_id, before.workflow_id, before.id, now_ms, resumed=resumed)
    stored_jobs.insert_jobs(connection, [job])
    status = {"status": RunStatus.RUNNING.value, "waiting_reason": RESUMING, "job_id": job.id}
    write_run(connection, before, {**values, **status, "last_event_at_ms": now_ms}, events)
    return Changed(execution=stored.get_execution(connection, before.id), added=[job], cancelled=cancelled)


def change_status(connection: Connection, execution_id: str, status: RunStatus, *, why: str, now_ms: int) -> Changed:
    """End a run, or stop it where it is. Raises NotFound; InvalidInput where that state may not follow."""
    before = stored.get_execution(connection, execution_id, for_update=True)
    moved(before.status, status)
    cancelled = _drop_job(connection, before, now_ms)
    if status not in FINAL:
        name = "execution_handoff" if status is RunStatus.HANDOFF else "execution_waiting"
        values = {
            "status": status.value,
            "waiting_reason": why,
            "pause": None,
            "job_id": None,
            "last_event_at_ms": now_ms,
        }
        write_run(connection, before, values, [_event(before, name, {"reason": why}, now_ms)])
        return Changed(execution=stored.get_execution(connection, before.id), cancelled=cancelled)
    added, more = _end_all(connection, before, status, why, now_ms)
    stored_jobs.insert_jobs(connection, added)
    execution = stored.get_execution(connection, before.id)
    return Changed(execution=execution, added=added, cancelled=[*cancelled, *more])


def _end_all(
    connection: Connection, before: Execution, status: RunStatus, why: str, now_ms: int
) -> tuple[list[Job], list[JobId]]:
    """End a run and those that it called, from the outermost on, so that none goes on because another one ended."""
    child_id = before.child_id
    name = "execution_failed" if status is RunStatus.FAILED else "execution_ended"
    error = {"message": why, "code": "failed", "node_id": before.node_id} if status is RunStatus.FAILED else None
    event = _event(before, name, {"reason": why}, now_ms)
    jobs = end(connection, before, status, [event], why=why, error=error, now_ms=now_ms)
    cancelled: list[JobId] = []
    while child_id is not None:
        child = stored.get_execution(connection, child_id, for_update=True)
        child_id = child.child_id
        if child.status in FINAL:
            break
        cancelled += _drop_job(connection, child, now_ms)
        event = _event(child, name, {"reason": why}, now_ms)
        end(connection, child, status, [event], why=why, error=error, now_ms=now_ms)
    return jobs, cancelled


def pause(connection: Connection, execution_id: str, now_ms: int) -> Changed:
    """The step that runs ends, and no other begins. Raises NotFound, InvalidInput."""
    before = stored.get_execution(connection, execution_id, for_update=True)
    if before.status not in (RunStatus.RUNNING, RunStatus.WAITING):
        raise InvalidInput(f"Execution cannot be paused: it is {before.status}")
    if before.pause is None:
        values = {"pause": Pause.ASKED.value, "last_event_at_ms": now_ms}
        write_run(connection, before, values, [_event(before, "execution_paused", {}, now_ms)])
    return Changed(execution=stored.get_execution(connection, before.id))


def go_on(connection: Connection, execution_id: str, now_ms: int) -> Changed:
    """End a pause, or let a run go on that was handed over. Raises NotFound, InvalidInput."""
    before = stored.get_execution(connection, execution_id, for_update=True)
    events = [_event(before, "execution_resumed", {}, now_ms)]
    if before.status is RunStatus.HANDOFF:
        return _go_on(connection, before, Resumed(reason="operator"), {}, events, now_ms)
    if before.pause is None or before.status in FINAL:
        raise InvalidInput(f"Execution is neither paused nor handed over (it is {before.status})")
    added: list[Job] = []
    cancelled: list[JobId] = []
    values: dict[str, Any] = {"pause": None, "last_event_at_ms": now_ms}
    parked = stored_jobs.get(connection, before.job_id) if before.job_id and before.pause is Pause.PARKED else None
    if parked is not None:
        cancelled = _drop_job(connection, before, now_ms)
        added = [asked_again(parked, JobId(new_id()), now_ms)]
        stored_jobs.insert_jobs(connection, added)
        values["job_id"] = added[0].id
    write_run(connection, before, values, events)
    return Changed(execution=stored.get_execution(connection, before.id), added=added, cancelled=cancelled)


def retry(
    connection: Connection, execution_id: str, from_node: str | None, graphs: Graphs | None, now_ms: int
) -> Changed:
    """A run that has ended begins again at one of its steps, with the variables of then.

    `graphs` is another graph to go on with. Raises NotFound, InvalidInput.
    """
    before = stored.get_execution(connection, execution_id, for_update=True)
    if before.status not in FINAL:
        raise InvalidInput(f"Execution has not ended (it is {before.status})")
    if before.steps >= ROWS_MAX:
        raise InvalidInput(f"Execution has {ROWS_MAX} steps, which is the most")
    step = _chosen(connection, before, from_node)
    if graphs is not None and graphs.graph.node(step.node_id) is None:
        raise InvalidInput(f"from: the latest graph has no node {step.node_id}")
    if graphs is not None and graphs.text is not None:
        stored.keep_graph(connection, graphs.id, before.project_id, graphs.text, now_ms)
    state = _rewound(connection, before, step)
    again = _again(before, step, state, now_ms)
    stored.insert_step(connection, before.id, again)
    job = flow_job(before.project_id, before.workflow_id, before.id, now_ms)
    stored_jobs.insert_jobs(connection, [job])
    told = {"from": step.node_id, "graph": "snapshot" if graphs is None else "latest"}
    state = replace(state, memory=None, since=before.steps, visits={**state.visits, step.node_id: again.visit})
    values = {
        "status": RunStatus.RUNNING.value,
        "ended_at_ms": None,
        "error": None,
        "job_id": job.id,
        "step_id": again.id,
        "node_id": again.node_id,
        "node_type": again.node_type.value,
        "steps": again.number,
        "state": dump_state(state),
        "last_event_at_ms": now_ms,
        "graph_id": before.graph_id if graphs is None else graphs.id,
    }
    write_run(connection, before, values, [_event(before, "execution_retried", told, now_ms)])
    return Changed(execution=stored.get_execution(connection, before.id), added=[job])


def _again(before: Execution, step: Step, state: State, now_ms: int) -> Step:
    """Another visit of a step's node."""
    return Step(
        id=StepId(new_id()),
        number=before.steps + 1,
        node_id=step.node_id,
        node_type=step.node_type,
        visit=state.visits.get(step.node_id, 0) + 1,
        status=StepStatus.RUNNING,
        started_at_ms=now_ms,
    )


def _chosen(connection: Connection, before: Execution, from_node: str | None) -> Step:
    """The newest step of a node, or the newest of all."""
    steps = [step for step in stored.list_steps(connection, before.id) if not step.superseded]
    found = [step for step in steps if from_node in (None, step.node_id)]
    if not found:
        raise InvalidInput(f"from: the execution made no step at a node {str(from_node)[:80]!r}")
    return found[-1]


def _rewound(connection: Connection, before: Execution, step: Step) -> State:
    """The state with the variables of before a step; it and those after it are superseded."""
    table = execution_steps
    later = (table.c.execution_id == before.id, table.c.number >= step.number)
    state = stored.get_state(connection, before.id)
    variables = state.spaces.vars
    undos = connection.execute(select(table.c.undo).where(*later).order_by(table.c.number.desc())).scalars()
    for undo in undos:
        if undo is None:
            raise InvalidInput(f"from: the variables before node {step.node_id} are not kept any more")
        variables = undone(variables, stored.read_undo(undo))
    # A later retry finds these steps taken back already.
    connection.execute(update(table).where(*later).values(superseded=True, undo="{}"))
    return replace(state, spaces=replace(state.spaces, vars=variables))


def _drop_job(connection: Connection, before: Execution, now_ms: int) -> list[JobId]:
    """The job that may move the run on does so no more; it, when it runs now."""
    if before.job_id is None:
        return []
    state = stored_jobs.cancel(connection, before.job_id, now_ms)
    if state is JobState.CANCELLED:
        stored_jobs.delete_jobs(connection, [before.job_id])
    return [before.job_id]


def _event(
    before: Execution, name: str, payload: Mapping[str, Any], now_ms: int, *, direction: str | None = None
) -> NewEvent:
    return NewEvent(
        id=new_id(),
        type=name,
        at_ms=now_ms,
        payload=event_payload(payload),
        direction=direction,
        step_id=before.step_id,
        node_id=before.node_id,
        node_type=before.node_type,
    )
