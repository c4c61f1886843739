"""Runs of workflows: start, read, answer, end, pause, and try again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from isolet.clock import Clock
from isolet.database import executions as stored
from isolet.database import jobs as stored_jobs
from isolet.database import run_changes
from isolet.database.connection import Connection, Database
from isolet.database.executions import Draft, Filter
from isolet.database.jobs import Kept
from isolet.database.run_changes import Changed, Graphs
from isolet.domain.flows.executions import Event, Execution, State, Step
from isolet.domain.flows.flow_jobs import Resumed
from isolet.domain.flows.graph import Graph
from isolet.domain.flows.run_variables import check_variables
from isolet.domain.flows.runs import START_DEPTH, START_DEPTH_MAX, VARIABLES_MAX_BYTES, RunStatus
from isolet.domain.flows.workflows import Workflow, WorkflowStatus
from isolet.domain.jobs import Job
from isolet.domain.json_bounds import bounded_json
from isolet.domain.project_limits import ProjectLimits
from isolet.errors import InvalidInput, LimitReached
from isolet.flows.drafts import Start, draft_of
from isolet.flows.large_work import LargeWork, is_large
from isolet.flows.performer import Called, StepContext
from isolet.flows.snapshots import Snapshot, read_snapshot, snapshot_id, snapshot_text
from isolet.ids import ProjectId
from isolet.jobs.engine import Engine

_MIB = 1024 * 1024
_GRAPHS = ("snapshot", "latest")
BY_HAND = "set by hand"


class Executions:
    """Every change is on disk before a method returns, and counts on every server.

    `policies_of` gives the policies of a workflow as they are stored, `workflow_of` a workflow with its graph.
    """

    def __init__(
        self,
        *,
        database: Database,
        engine: Engine,
        clock: Clock,
        limits_of: Callable[[ProjectId], ProjectLimits],
        policies_of: Callable[[str], Awaitable[Mapping[str, Any]]],
        workflow_of: Callable[[str], Awaitable[Workflow]],
    ) -> None:
        self._database = database
        self._engine = engine
        self._clock = clock
        self._limits_of = limits_of
        self._policies_of = policies_of
        self._workflow_of = workflow_of
        self._large = LargeWork()

    async def start(
        self,
        workflow: Workflow,
        *,
        variables: Any = None,
        context: Any = None,
        whatsapp_context: Any = None,
        tracking_id: Any = None,
        metadata: Any = None,
        trigger: str = "api_call",
        start_depth: int = 0,
    ) -> Execution:
        """A run of a workflow that was read with its graph. `start_depth` counts the runs on the way to it, each of
        which a function of the one before started.

        Raises InvalidInput, also for a workflow that is not active; TooManyRequests, LimitReached.
        """
        if workflow.status is not WorkflowStatus.ACTIVE:
            raise InvalidInput(f"The workflow is not active (it is {workflow.status})")
        if start_depth > START_DEPTH_MAX:
            raise InvalidInput(f"Functions of runs may start each other's runs {START_DEPTH_MAX} deep")
        draft = await self.draft(
            workflow,
            Start(
                variables=variables,
                context=context,
                whatsapp_context=whatsapp_context,
                tracking_id=tracking_id,
                metadata=metadata,
                trigger=trigger,
                system={START_DEPTH: start_depth} if start_depth else {},
            ),
        )
        if draft.job is None:
            return (await self.start_all([draft]))[0]
        await self._submit(draft, draft.job)
        return draft.execution

    async def _submit(self, draft: Draft, job: Job) -> None:
        """In one transaction with what else is begun now. Raises TooManyRequests, LimitReached."""
        refused: list[LimitReached] = []

        def admit(connection: Connection, _: Job) -> Kept:
            refused.clear()
            try:
                self.check_room(connection, draft.execution.project_id)
                # It refuses before it writes.
                stored.insert_draft(connection, draft)
            except LimitReached as exc:
                refused.append(exc)
                return Kept(id=job.id, new=False)
            return Kept(id=job.id)

        # The workflow's row is written, too.
        await self._engine.submit(job, admit, order=("workflows", draft.execution.workflow_id))
        if refused:
            raise refused[0]

    async def start_all(self, drafts: Sequence[Draft]) -> Sequence[Execution]:
        """Begin these runs, all of them or none. Raises TooManyRequests, LimitReached."""

        def begin(connection: Connection) -> None:
            for draft in drafts:
                self.begin(connection, draft)

        jobs = [draft.job for draft in drafts if draft.job is not None]
        with ExitStack() as stack:
            for job in jobs:
                stack.enter_context(self._engine.backlog.admitted(job))
            if drafts:
                await self._database.write(begin)
        self._engine.joined(jobs)
        return [draft.execution for draft in drafts]

    async def draft(self, workflow: Workflow, start: Start) -> Draft:
        """A run that `begin` writes, in a transaction of the caller's. Raises InvalidInput."""
        policies = await self._policies_of(workflow.id)
        now_ms = self._clock.now_ms()
        if is_large(start.variables) or is_large([start.context, start.whatsapp_context]):
            return await self._large.run(workflow.project_id, lambda: draft_of(workflow, policies, start, now_ms))
        return await asyncio.to_thread(draft_of, workflow, policies, start, now_ms)

    async def child(self, step: StepContext, called: Called) -> Draft:
        """A run that a step calls, with copies of what its own run knows. Raises InvalidInput, LimitReached."""
        execution, spaces = step.execution, step.spaces
        await self._database.read(self.check_room, execution.project_id)
        caller = {
            "workflow_id": execution.workflow_id,
            "workflow_name": execution.workflow_name,
            "execution_id": execution.id,
        }
        start = Start(
            variables=spaces.vars,
            context=spaces.context,
            metadata=spaces.metadata,
            whatsapp_context=step.whatsapp_context,
            tracking_id=execution.tracking_id,
            trigger="call",
            parent=execution,
            callers=[*step.callers, caller],
            system=spaces.system,
        )
        return await self.draft(called.workflow, start)

    def begin(self, connection: Connection, draft: Draft) -> None:
        """Write a run and its job. Raises LimitReached."""
        self.write(connection, draft)
        if draft.job is not None:
            stored_jobs.insert_jobs(connection, [draft.job])

    def write(self, connection: Connection, draft: Draft) -> None:
        """Write a run; its job is the caller's to write. Raises LimitReached."""
        self.check_room(connection, draft.execution.project_id)
        stored.insert_draft(connection, draft)

    def check_room(self, connection: Connection, project_id: ProjectId) -> None:
        """Raises LimitReached when the project's open runs are as many, or as large, as they may be."""
        limits = self._limits_of(project_id)
        count, size = stored.open_runs(connection, project_id)
        if count >= limits.runs:
            raise LimitReached(f"This project has {limits.runs} runs of workflows that have not ended (runs)")
        if size >= limits.runs_mb * _MIB:
            raise LimitReached(
                f"The runs of workflows of this project that have not ended hold {limits.runs_mb} MiB (runs_mb)"
            )

    # Reads.

    async def get(self, execution_id: str) -> Execution:
        """Raises NotFound."""
        return await self._database.read(partial(stored.get_execution, execution_id=execution_id))

    async def outcome(self, execution_id: str) -> tuple[Execution, State]:
        """A run with what may be large of it. Raises NotFound."""

        def read(connection: Connection) -> tuple[Execution, State]:
            return stored.get_execution(connection, execution_id), stored.get_state(connection, execution_id)

        return await self._database.read(read)

    async def state(self, execution_id: str) -> State:
        """What may be large of a run: `state.spaces` is its `execution_context`. Raises NotFound."""
        return await self._database.read(stored.get_state, execution_id)

    async def steps(self, execution_id: str) -> Sequence[Step]:
        """In the order in which they were made."""
        return await self._database.read(stored.list_steps, execution_id)

    async def graph(self, execution: Execution) -> Graph:
        """The graph that the run keeps. Raises NotFound."""
        return (await self.snapshot(execution)).graph

    async def snapshot(self, execution: Execution) -> Snapshot:
        """The graph that the run keeps, with its policies. Raises NotFound."""

        def read(connection: Connection) -> Snapshot:
            return read_snapshot(execution.graph_id, stored.get_graph(connection, execution.graph_id))

        return await self._database.read(read)

    async def list(
        self, wanted: Filter, *, before: str | None = None, after: str | None = None, limit: int
    ) -> Sequence[Execution]:
        """Newest first: those older than the run `before`, or the ones next newer than the run `after`."""
        read = partial(stored.list_executions, wanted=wanted, before=before, after=after, limit=limit)
        return await self._database.read(read)

    async def events(
        self,
        execution_id: str,
        *,
        event_type: str | None = None,
        after: int | None = None,
        before: int | None = None,
        newest_first: bool = False,
        limit: int,
    ) -> Sequence[Event]:
        """Of one run, by number: those with a larger number than `after`, and a smaller one than `before`."""
        read = partial(
            stored.list_events,
            execution_id=execution_id,
            event_type=event_type,
            after=after,
            before=before,
            newest_first=newest_first,
            limit=limit,
        )
        return await self._database.read(read)

    async def event(self, event_id: str) -> Event:
        """Raises NotFound."""
        return await self._database.read(stored.get_event, event_id)

    async def resumable(self, execution_id: str) -> Execution | None:
        """The run that an answer to this one is for: itself, or the deepest that it waits for; None when none waits."""
        found = await self._database.read(run_changes.deepest, execution_id)
        return found if found.status is RunStatus.WAITING else None

    # Changes.

    async def resume(self, execution_id: str, message: Any, variables: Any = None) -> Execution:
        """Answer a run that waits, with `{kind?, data}`; the run that got the answer.

        Raises NotFound; InvalidInput when it does not wait; Conflict when another answer is being processed.
        """
        if not isinstance(message, Mapping):
            raise InvalidInput("message must be an object")
        bounded_json("message", message, most=VARIABLES_MAX_BYTES)
        resumed = Resumed(reason="user_input", message={"kind": "payload", **message})
        checked = check_variables(variables)
        return await self._change(run_changes.answer, execution_id, resumed=resumed, variables=checked)

    async def change_status(self, execution_id: str, status: RunStatus, *, why: str = BY_HAND) -> Execution:
        """Raises NotFound; InvalidInput where that state may not follow."""
        return await self._change(run_changes.change_status, execution_id, status, why=why)

    async def cancel(self, execution_id: str) -> Execution:
        """End a run, with what it called and what it does now. Raises NotFound, InvalidInput."""
        return await self.change_status(execution_id, RunStatus.ENDED, why="cancelled")

    async def pause(self, execution_id: str) -> Execution:
        """The step that runs ends, and no other begins. Raises NotFound, InvalidInput."""
        return await self._change(run_changes.pause, execution_id)

    async def go_on(self, execution_id: str) -> Execution:
        """End a pause, or let a run go on that was handed over. Raises NotFound, InvalidInput."""
        return await self._change(run_changes.go_on, execution_id)

    async def retry(self, execution_id: str, from_node: str | None = None, graph: str = "snapshot") -> Execution:
        """Let a run that has ended begin again at one of its steps; at its last one without `from_node`.

        Raises NotFound, InvalidInput, TooManyRequests.
        """
        if graph not in _GRAPHS:
            raise InvalidInput(f"graph must be one of {', '.join(_GRAPHS)}")
        execution = await self.get(execution_id)
        latest = await self._latest(execution) if graph == "latest" else None
        return await self._change(
            run_changes.retry, execution_id, from_node, latest, check=partial(self.check_room_for, execution)
        )

    def check_room_for(self, execution: Execution, connection: Connection) -> None:
        self.check_room(connection, execution.project_id)

    async def _latest(self, execution: Execution) -> Graphs:
        workflow = await self._workflow_of(execution.workflow_id)
        policies = await self._policies_of(workflow.id)
        if workflow.graph is None:
            raise LookupError("the graph of this workflow was not read")
        text = await asyncio.to_thread(snapshot_text, workflow.graph, policies)
        return Graphs(id=snapshot_id(workflow.project_id, text), graph=workflow.graph, text=text)

    async def _change(
        self,
        function: Callable[..., Changed],
        execution_id: str,
        *args: Any,
        check: Callable[[Connection], None] | None = None,
        **kwargs: Any,
    ) -> Execution:
        def work(connection: Connection) -> Changed:
            if check is not None:
                check(connection)
            return function(connection, execution_id, *args, now_ms=now_ms, **kwargs)

        now_ms = self._clock.now_ms()
        changed = await self._database.write(work)
        self._engine.joined(changed.added, changed.cancelled)
        return changed.execution
