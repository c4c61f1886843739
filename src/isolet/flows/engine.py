"""The kind of jobs that run workflows: each performs one step, and leaves the next one's job behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct

from isolet.clock import Clock
from isolet.database import run_steps
from isolet.database.conclusions import Outcome
from isolet.database.connection import Connection, Database
from isolet.database.executions import Draft, read_undo
from isolet.database.jobs import delete_jobs
from isolet.database.run_steps import Loaded
from isolet.domain.flows.executions import State, read_state
from isolet.domain.flows.flow_jobs import LANE, Asked
from isolet.domain.flows.nodes import NodeType
from isolet.domain.flows.runs import EVENTS_SHOWN
from isolet.domain.flows.templates import Rendering
from isolet.domain.jobs import NO_ROOM_DELAY_MS, Attempt, Job, JobEvent, asked_again, concluded
from isolet.errors import (
    IsoletError,
    NotFound,
    PlatformError,
    StoreError,
    StoreRefused,
    TooManyRequests,
    Unavailable,
    ValueRefused,
)
from isolet.flows.large_work import LARGE_BYTES, LargeWork, is_large
from isolet.flows.outcomes import Conclusion, failed_run
from isolet.flows.performer import Called, Failed, Performer, StepContext, StepResult
from isolet.flows.snapshots import Snapshot, Snapshots, read_snapshot
from isolet.ids import JobId, ProjectId, new_id
from isolet.jobs.handler import INTERNAL_ERROR, Handler
from isolet.telemetry import get_logger

log = get_logger("flows")

T = TypeVar("T")
DECIDE_AI = "decide_ai"
_FULL = "the runs of workflows of this project that have not ended hold twice what they may (runs_mb)"
# A run that is paused waits until somebody lets it go on.
_PARKED_MS = 10 * 365 * 86_400_000


class Means(Struct, frozen=True, kw_only=True):
    """`environment` gives a project's variables by name; `call` makes the run that a `call` node begins."""

    environment: Callable[[ProjectId], Awaitable[Mapping[str, str]]]
    call: Callable[[StepContext, Called], Awaitable[Draft]]


class Performers:
    """By node type; decisions of a model have a name of their own."""

    def __init__(self) -> None:
        self._performers: dict[str, Performer] = {}

    def add(self, name: str, performer: Performer) -> None:
        self._performers[name] = performer

    def wrap(self, name: str, make: Callable[[Performer], Performer]) -> None:
        """Put another one around the performer of a name, where there is one."""
        if (found := self._performers.get(name)) is not None:
            self._performers[name] = make(found)

    def of(self, step: StepContext) -> Performer:
        """Raises NotFound for a node that nothing here performs."""
        name: str = step.node.kind
        if step.node.kind is NodeType.DECIDE and step.node.config.get("decision_type") == "ai":
            name = DECIDE_AI
        found = self._performers.get(name)
        if found is None:
            raise NotFound(f"nothing on this server performs nodes of the type {name}")
        return found


class Runs(Handler):
    """`lane_limit` is how many runs of one project make a step at once. `is_full` tells of a project whose open runs
    hold so much that they have to end.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        performers: Performers,
        means: Means,
        lane_limit: int,
        is_full: Callable[[ProjectId], bool],
    ) -> None:
        self._database = database
        self._clock = clock
        self._performers = performers
        self._means = means
        self._lane_limit = lane_limit
        self._is_full = is_full
        self._snapshots = Snapshots()
        self._large = LargeWork()

    def lane(self, job: Job) -> str:
        return LANE

    def lane_limit(self, lane: str) -> int:
        return self._lane_limit

    async def run(self, job: Job) -> Outcome:
        """One try of a run's newest step."""
        began_ms = self._clock.now_ms()
        try:
            return await self._try(job, began_ms)
        except NotFound as exc:
            # The run was deleted.
            attempt = Attempt(at_ms=began_ms, duration_ms=0, error=exc.message)
            return Outcome(job=concluded(job, JobEvent.FAILED, self._clock.now_ms(), attempt=attempt))
        except (TooManyRequests, Unavailable):
            now_ms = self._clock.now_ms()
            after = concluded(job, JobEvent.HANDED_BACK, now_ms, attempt=None, delay_ms=NO_ROOM_DELAY_MS)
            return Outcome(job=after)

    def failed(self, job: Job, attempt: Attempt, now_ms: int) -> Outcome:
        error = attempt.error or INTERNAL_ERROR
        return failed_run(job, attempt, now_ms, error, "internal_error")

    async def _try(self, job: Job, began_ms: int) -> Outcome:
        asked = Asked.of(job)
        loaded, snapshot = await self._load(asked)
        execution = loaded.execution
        if execution.job_id != job.id:
            attempt = Attempt(at_ms=began_ms, duration_ms=0, error=run_steps.NOT_ITS_TURN)
            return Outcome(job=concluded(job, JobEvent.FAILED, self._clock.now_ms(), attempt=attempt))
        if execution.pause is not None:
            return self._parked(job)
        large = execution.size_bytes > LARGE_BYTES
        state, undo = await self._work(execution.project_id, large, lambda: _read(loaded))
        step = await self._context(loaded, state, snapshot, asked)
        result = await self._perform(step)
        child = None
        if isinstance(result, Called):
            try:
                child = await self._means.call(step, result)
            except (TooManyRequests, Unavailable, StoreError):
                raise
            except IsoletError as exc:
                result = Failed(error=exc.message, code=exc.code)
        conclusion = Conclusion(step, job, state, undo, began_ms)
        large = step.large or isinstance(result, Called) or is_large(result.variables)
        return await self._work(execution.project_id, large, lambda: conclusion.conclude(result, child))

    async def _work(self, project_id: ProjectId, large: bool, function: Callable[[], T]) -> T:
        """Work on the JSON of a run. That of small ones takes less than a thread costs."""
        return await self._large.run(project_id, function) if large else function()

    async def _load(self, asked: Asked) -> tuple[Loaded, Snapshot]:
        def read(connection: Connection) -> tuple[Loaded, Snapshot | None]:
            loaded = run_steps.load(connection, asked.execution_id, events=EVENTS_SHOWN, known=known)
            text = loaded.graph
            return loaded, None if text is None else read_snapshot(loaded.execution.graph_id, text)

        known = self._snapshots.known
        loaded, read_now = await self._database.read(read)
        snapshot = self._snapshots.get(loaded.execution.graph_id) if read_now is None else read_now
        if snapshot is None:
            # It was dropped while the store was read.
            known = frozenset()
            loaded, snapshot = await self._database.read(read)
        if snapshot is None:
            raise NotFound("The graph of this execution is not kept")
        return loaded, self._snapshots.put(snapshot)

    async def _context(self, loaded: Loaded, state: State, snapshot: Snapshot, asked: Asked) -> StepContext:
        node = snapshot.graph.node(loaded.step.node_id)
        if node is None:
            raise NotFound(f"the graph has no node {loaded.step.node_id}")
        env = await self._means.environment(loaded.execution.project_id) if node.id in snapshot.uses_env else {}
        policy = snapshot.policy(node.id)
        step = StepContext(
            execution=loaded.execution,
            step=loaded.step,
            node=node,
            graph=snapshot.graph,
            policy=policy,
            spaces=state.spaces,
            rendering=Rendering(spaces=state.spaces.to_json(), env=env),
            attempt=loaded.step.attempts + 1,
            clock=self._clock,
            whatsapp_context=state.whatsapp_context,
            past_events=loaded.events,
            timeout_s=policy.timeout_s,
            resumed=asked.resumed,
            memory=state.memory,
            callers=state.callers,
            large=node.id in snapshot.large or loaded.execution.size_bytes > LARGE_BYTES,
            turn=partial(self._large.run, loaded.execution.project_id),
        )
        if step.attempt == 1 and asked.resumed is None:
            step.event("step_entered")
        return step

    async def _perform(self, step: StepContext) -> StepResult:
        """What the performer says, or how it failed."""
        if self._is_full(step.execution.project_id):
            return Failed(error=_FULL, code="runs_full", fatal=True)
        try:
            async with asyncio.timeout(step.timeout_s) as deadline:
                return await self._performers.of(step).perform(step)
        except TimeoutError:
            if not deadline.expired():
                raise
            return Failed(error=f"the step took longer than {step.timeout_s:g} s", code="timeout")
        except ValueRefused as exc:
            log.warning("a step has a text or a number that cannot be stored", error=exc.message)
            return Failed(error="the step holds a text or a number that cannot be stored", code="invalid_input")
        except StoreRefused as exc:
            log.error("a step failed by a fault of ours", error=exc.message)
            return Failed(error=INTERNAL_ERROR, code=exc.code)
        except (TooManyRequests, Unavailable, StoreError):
            raise
        except PlatformError as exc:
            log.error("a step failed by a fault of ours", error=exc.message)
            return Failed(error=INTERNAL_ERROR, code=exc.code)
        except IsoletError as exc:
            return Failed(error=exc.message, code=exc.code)

    def _parked(self, job: Job) -> Outcome:
        """A copy of the job takes its place, which waits until the run is to go on."""
        now_ms = self._clock.now_ms()
        copy = asked_again(job, JobId(new_id()), now_ms)
        join = partial(_park, copy=copy, due_ms=now_ms + _PARKED_MS)
        after = concluded(job, JobEvent.SUCCEEDED, now_ms, attempt=Attempt(at_ms=now_ms, duration_ms=0))
        return Outcome(job=after, join=join)


def _read(loaded: Loaded) -> tuple[State, dict[str, Any] | None]:
    return read_state(loaded.state), None if loaded.undo is None else read_undo(loaded.undo)


def _park(connection: Connection, job: Job, copy: Job, due_ms: int) -> list[Job]:
    parked = run_steps.park(connection, Asked.of(job).execution_id, job.id, copy, due_ms)
    delete_jobs(connection, [job.id])
    return [parked]
