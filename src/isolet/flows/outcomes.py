"""What follows from a try of a step: the next step, a wait, another try, the end of the run. All of one transaction."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from isolet.database import run_steps
from isolet.database.conclusions import Outcome
from isolet.database.connection import Connection
from isolet.database.executions import Draft
from isolet.database.run_steps import Advance, delete_job
from isolet.domain.flows.executions import ROWS_MAX, State, dump_state
from isolet.domain.flows.flow_jobs import Asked, flow_job, parent_job
from isolet.domain.flows.graph import NEXT
from isolet.domain.flows.policies import OnError
from isolet.domain.flows.run_variables import both_undone, check_variables, dump, undo_of
from isolet.domain.flows.runs import DELAY, STEPS_MAX, RunStatus, StepStatus
from isolet.domain.invocations import cut_error, storable
from isolet.domain.jobs import Attempt, Job, JobEvent, concluded
from isolet.errors import InvalidInput
from isolet.flows.drafts import new_step
from isolet.flows.performer import Called, Failed, Handoff, Next, Resumed, StepContext, StepResult, Wait

MEMORY_MAX_BYTES = 1_048_576
# A run does so many steps before others get its place, unless one of them takes longer than this.
_STEPS_IN_A_ROW = 10
_QUICK_MS = 1_000
_FINAL = (RunStatus.ENDED, RunStatus.FAILED)


class Conclusion(Struct):
    """Collects what a try writes. `state` and `undo` are of the run as the step began."""

    step: StepContext
    job: Job
    state: State
    undo: Mapping[str, Any] | None
    began_ms: int
    run: dict[str, Any] = field(default_factory=dict)
    row: dict[str, Any] = field(default_factory=dict)
    memory: Any = None
    next_job: Job | None = None
    next_step: Any = None
    child: Draft | None = None

    def conclude(self, result: StepResult, child: Draft | None = None) -> Outcome:
        """The job after the try, and all that is written with it. It takes a while for large variables."""
        result = self._checked(result)
        self._save_variables(result)
        match result:
            case Next():
                self._succeed(result)
            case Wait():
                self._wait(result)
            case Handoff():
                self._stop(RunStatus.HANDOFF, None)
            case Called():
                self.child = child
                self._stop(RunStatus.WAITING, "call")
                self.run["child_id"] = None if child is None else child.execution.id
            case Failed():
                return self._fail(result)
        return self._outcome(JobEvent.SUCCEEDED)

    def _checked(self, result: StepResult) -> StepResult:
        """The result, or a failure when it is larger than a run may be."""
        variables = None if isinstance(result, Called) else result.variables
        try:
            if variables is not None:
                check_variables(variables)
            if isinstance(result, Wait) and len(dump(result.memory)) > MEMORY_MAX_BYTES:
                raise InvalidInput(f"what the node remembers is larger than {MEMORY_MAX_BYTES} bytes")
        except (InvalidInput, RecursionError) as exc:
            told = exc.message if isinstance(exc, InvalidInput) else "variables are nested too deeply"
            return Failed(error=told, code="variables_too_large", final=True)
        return result

    def _save_variables(self, result: StepResult) -> None:
        spaces, resumed = self.state.spaces, self.step.resumed
        if not isinstance(result, Called) and result.variables is not None:
            if self.undo is not None:
                self.undo = both_undone(self.undo, undo_of(spaces.vars, result.variables))
            spaces = replace(spaces, vars=result.variables)
        delayed = self.step.execution.waiting_reason == DELAY
        if resumed is not None and resumed.reason in ("user_input", "timeout") and not delayed:
            spaces = replace(spaces, system={**spaces.system, "last_resume": {"reason": resumed.reason}})
        self.state = replace(self.state, spaces=spaces, memory=result.memory if isinstance(result, Wait) else None)

    # What follows.

    def _succeed(self, result: Next) -> None:
        edge = self.step.graph.following(self.step.node.id, result.label)
        label = None if edge is None else storable(edge.label)
        self.step.event("step_completed", edge_label=label)
        self._close(StepStatus.SKIPPED if result.skipped else StepStatus.SUCCEEDED, edge_label=label)
        self._go(None if edge is None else edge.target)

    def _close(self, status: StepStatus, *, error: str | None = None, edge_label: str | None = None) -> None:
        self.row |= {
            "status": status.value,
            "attempts": self.step.step.attempts + 1,
            "ended_at_ms": self.step.clock.now_ms(),
            "error": error,
            "edge_label": edge_label,
        }

    def _go(self, node_id: str | None) -> None:
        """On to a node; None ends the run."""
        node = None if node_id is None else self.step.graph.node(node_id)
        if node is None:
            self.step.event("execution_ended")
            self._end(RunStatus.ENDED)
            return
        execution = self.step.execution
        made = execution.steps - self.state.since
        if made >= STEPS_MAX or execution.steps >= ROWS_MAX:
            self._fail_run(f"the run made {min(made, STEPS_MAX)} steps, which is the most", "too_many_steps")
            return
        now_ms = self.step.clock.now_ms()
        visit = self.state.visits.get(node.id, 0) + 1
        self.state = replace(self.state, visits={**self.state.visits, node.id: visit})
        step = new_step(node, number=execution.steps + 1, visit=visit, now_ms=now_ms)
        self.next_step = step
        self.next_job = flow_job(execution.project_id, execution.workflow_id, execution.id, now_ms)
        self.run |= {
            "status": RunStatus.RUNNING.value,
            "waiting_reason": None,
            "child_id": None,
            "step_id": step.id,
            "node_id": node.id,
            "node_type": node.kind.value,
            "steps": step.number,
            "job_id": self.next_job.id,
        }

    def _wait(self, result: Wait) -> None:
        self._stop(RunStatus.WAITING, result.reason)
        if result.timeout_s is not None:
            execution, now_ms = self.step.execution, self.step.clock.now_ms()
            self.next_job = flow_job(
                execution.project_id,
                execution.workflow_id,
                execution.id,
                now_ms,
                due_ms=now_ms + round(result.timeout_s * 1000),
                resumed=Resumed(reason="timeout"),
            )
            self.run["job_id"] = self.next_job.id

    def _stop(self, status: RunStatus, reason: str | None) -> None:
        """The run stands at this node until somebody moves it on."""
        self.run |= {"status": status.value, "waiting_reason": reason, "job_id": None, "child_id": None}
        self.row["status"] = StepStatus.WAITING.value
        name = "execution_handoff" if status is RunStatus.HANDOFF else "execution_waiting"
        self.step.event(name, {} if reason is None else {"reason": reason})

    def _end(self, status: RunStatus, error: Mapping[str, Any] | None = None) -> None:
        self.run |= {
            "status": status.value,
            "waiting_reason": None,
            "pause": None,
            "job_id": None,
            "child_id": None,
            "ended_at_ms": self.step.clock.now_ms(),
            "error": None if error is None else dump(error),
        }

    def _fail(self, failed: Failed) -> Outcome:
        policy, attempts = self.step.policy, self.step.step.attempts + 1
        error = cut_error(failed.error)
        told = {**(failed.details or {}), "error": error, "code": failed.code, "attempt": attempts}
        spread = random.random()  # noqa: S311 – spreads load
        delay_ms = None if failed.final or failed.fatal else policy.delay_ms(attempts, spread)
        if delay_ms is not None:
            self.step.event("step_failed", {**told, "retried_in_ms": delay_ms})
            self.row |= {"attempts": attempts, "error": error}
            return self._outcome(JobEvent.RETRIED, error=error, delay_ms=delay_ms)
        self.step.event("step_failed", told)
        self._close(StepStatus.FAILED, error=error)
        if failed.fatal:
            self._fail_run(error, failed.code)
        elif policy.on_error is OnError.CONTINUE:
            edges = self.step.graph.edges_from(self.step.node.id)
            edge = self.step.graph.following(self.step.node.id, NEXT) or next(iter(edges), None)
            self.row["edge_label"] = None if edge is None else storable(edge.label)
            self._go(None if edge is None else edge.target)
        elif policy.on_error is OnError.GO_TO and self.step.graph.node(policy.go_to or "") is not None:
            self._go(policy.go_to)
        else:
            self._fail_run(error, failed.code)
        return self._outcome(JobEvent.SUCCEEDED)

    def _fail_run(self, error: str, code: str) -> None:
        told = {"message": error, "code": code, "node_id": self.step.node.id, "step_id": self.step.step.id}
        self.step.event("execution_failed", told)
        self._end(RunStatus.FAILED, told)

    # The transaction.

    def _outcome(self, event: JobEvent, *, error: str | None = None, delay_ms: int = 0) -> Outcome:
        now_ms = self.step.clock.now_ms()
        attempt = Attempt(at_ms=self.began_ms, duration_ms=now_ms - self.began_ms, error=error)
        self._note_missing()
        if self.step.invocation_id is not None:
            self.row["invocation_id"] = self.step.invocation_id
        execution = self.step.execution
        change = Advance(
            execution_id=execution.id,
            job_id=self.job.id,
            run=self.run,
            step_id=self.step.step.id,
            step=self.row,
            events=self.step.events,
            state=dump_state(self.state),
            undo=None if self.undo is None else dump(self.undo),
            next_step=self.next_step,
            child=self.child,
            parent_id=execution.parent_id,
            parent_job=self._parent_job(now_ms),
        )
        after = concluded(self.job, event, now_ms, attempt=attempt, delay_ms=delay_ms)
        follow_ups = [] if self.next_job is None else [self.next_job]
        return Outcome(
            job=after,
            follow_ups=follow_ups,
            join=partial(_join, change=change),
            continues=self._keeps_place(now_ms),
        )

    def _keeps_place(self, now_ms: int) -> bool:
        """Whether the next step begins before those of other runs that wait: for some quick ones in a row."""
        number = 0 if self.next_step is None else self.next_step.number
        return number % _STEPS_IN_A_ROW != 0 and now_ms - self.began_ms < _QUICK_MS

    def _note_missing(self) -> None:
        missing = self.step.rendering.missing
        if missing:
            self.step.event("template_missing", {"templates": [one[:200] for one in missing[:20]]})

    def _parent_job(self, now_ms: int) -> Job | None:
        execution, callers = self.step.execution, self.state.callers
        if execution.parent_id is None or not callers or self.run.get("status") not in _FINAL:
            return None
        return parent_job(execution.project_id, callers, execution.parent_id, execution.id, now_ms)


def _join(connection: Connection, job: Job, change: Advance) -> list[Job]:
    jobs = run_steps.advance(connection, change)
    if job.state.ended:
        # The step tells all of it.
        delete_job(connection, job.id)
    return jobs


def failed_run(job: Job, attempt: Attempt, now_ms: int, error: str, code: str) -> Outcome:
    """The run fails for a reason that is not its own: a fault of ours, servers that ended while they ran its step."""
    after = concluded(job, JobEvent.FAILED, now_ms, attempt=attempt)
    return Outcome(job=after, join=partial(_give_up, error=error, code=code, now_ms=now_ms))


def _give_up(connection: Connection, job: Job, error: str, code: str, now_ms: int) -> list[Job]:
    asked = Asked.of(job)
    return run_steps.give_up(connection, asked.execution_id, job.id, error=error, code=code, now_ms=now_ms)
