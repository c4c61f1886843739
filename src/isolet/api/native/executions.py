"""The native API of runs of workflows."""

from __future__ import annotations

from typing import Any

from fastapi import Response
from msgspec import Struct

from isolet.access.rules import Access, OfKey, PathOwned, PathSlug
from isolet.api.native.flows import picture
from isolet.api.native.parameters import Limit, Text, id_cursor
from isolet.api.native.serving import large_reply, page, serve
from isolet.api.rows import Granted, GrantedProject
from isolet.clock import iso
from isolet.contract.executions import (
    ExecutionDetailReply,
    ExecutionReply,
    ExecutionRetry,
    Executions,
    ExecutionStart,
    StepReply,
)
from isolet.database.executions import Filter
from isolet.database.owners import Owned
from isolet.domain.access import Role
from isolet.domain.choices import one_of
from isolet.domain.flows.executions import Execution, Step
from isolet.domain.flows.picture import PathStep, draw
from isolet.domain.flows.runs import RunStatus
from isolet.errors import InvalidInput
from isolet.flows.service import Executions as ExecutionService
from isolet.flows.workflows import Workflows
from isolet.ids import ProjectId, is_uuid

_CHANGE = Access(Role.DEPLOY, PathOwned(Owned.EXECUTION, parameter="execution_id", missing="Execution not found"))
_READ = _CHANGE.for_readers()


class ExecutionsDoor(Struct, frozen=True, kw_only=True):
    executions: ExecutionService
    workflows: Workflows

    @serve(Executions.list, Access(Role.DEPLOY, OfKey(slug="project", every=True)).for_readers())
    async def list_executions(
        self,
        grant: Granted,
        workflow: Text = None,
        status: Text = None,
        limit: Limit = 50,
        cursor: str | None = None,
    ) -> Response:
        """Newest first. `workflow` is an id or a slug; the root key without `project` looks at all projects."""
        project_id = grant.project_id
        wanted = Filter(
            project_id=project_id,
            workflow_id=await self._workflow_id(project_id, workflow),
            status=_status(status),
        )
        before = None if cursor is None else id_cursor(cursor)
        found = await self.executions.list(wanted, before=before, limit=limit + 1)
        following = found[limit - 1].id if len(found) > limit else None
        return await page(_execution_reply, found[:limit], following)

    @serve(Executions.start, Access(Role.INVOKE, PathSlug()))
    async def start_execution(self, project: GrantedProject, workflow_id: str, body: ExecutionStart) -> ExecutionReply:
        """Start a run of an active workflow; `workflow_id` is its id or slug."""
        workflow = await self.workflows.find(project.id, workflow_id)
        started = await self.executions.start(workflow, variables=body.variables, context=body.context)
        return _execution_reply(started)

    @serve(Executions.get, _READ)
    async def get_execution(self, execution_id: str) -> Response:
        """A run with its steps, in the order in which they were made."""
        execution, state = await self.executions.outcome(execution_id)
        steps = await self.executions.steps(execution_id)

        def shape() -> ExecutionDetailReply:
            return ExecutionDetailReply(
                **_members(execution),
                execution_context=state.spaces.to_json(),
                steps=[_step_reply(step) for step in steps],
            )

        return await large_reply(shape)

    @serve(Executions.draw, _READ)
    async def draw_execution(self, execution_id: str) -> Response:
        """A picture of the graph that the run keeps, with the path that it took."""
        execution = await self.executions.get(execution_id)
        snapshot = await self.executions.snapshot(execution)
        steps = await self.executions.steps(execution_id)
        path = [
            PathStep(node_id=step.node_id, status=step.status, label=step.edge_label)
            for step in steps
            if not step.superseded
        ]
        title = f"{execution.workflow_name} {execution.id}"
        return await picture(lambda: draw(snapshot.graph, title=title, policies=snapshot.policies, path=path))

    @serve(Executions.retry, _CHANGE)
    async def retry_execution(self, execution_id: str, body: ExecutionRetry | None = None) -> ExecutionReply:
        """Let a run that has ended go on from one of its steps; the results before that are kept."""
        asked = body or ExecutionRetry()
        return _execution_reply(await self.executions.retry(execution_id, asked.from_, asked.graph))

    @serve(Executions.pause, _CHANGE)
    async def pause_execution(self, execution_id: str) -> ExecutionReply:
        """The step that runs ends, and no other begins."""
        return _execution_reply(await self.executions.pause(execution_id))

    @serve(Executions.resume, _CHANGE)
    async def resume_execution(self, execution_id: str) -> ExecutionReply:
        """End a pause, or let a run go on that was handed over."""
        return _execution_reply(await self.executions.go_on(execution_id))

    @serve(Executions.cancel, _CHANGE)
    async def cancel_execution(self, execution_id: str) -> ExecutionReply:
        """End a run, with the call that it makes now."""
        return _execution_reply(await self.executions.cancel(execution_id))

    async def _workflow_id(self, project_id: ProjectId | None, workflow: str | None) -> str | None:
        """An id is taken as it is: runs of a workflow that is gone are found by it."""
        if workflow is None:
            return None
        if is_uuid(workflow):
            return workflow.lower()
        if project_id is None:
            raise InvalidInput("workflow: a slug needs project beside it")
        return (await self.workflows.find(project_id, workflow, with_graph=False)).id


def _status(text: str | None) -> RunStatus | None:
    return None if text is None else one_of("status", text, RunStatus)


def _execution_reply(execution: Execution) -> ExecutionReply:
    return ExecutionReply(**_members(execution))


def _members(execution: Execution) -> dict[str, Any]:
    return {
        "id": execution.id,
        "project_id": execution.project_id,
        "workflow_id": execution.workflow_id,
        "workflow_name": execution.workflow_name,
        "status": execution.status.value,
        "waiting_reason": execution.waiting_reason,
        "pause": None if execution.pause is None else execution.pause.value,
        "trigger": execution.trigger,
        "tracking_id": execution.tracking_id,
        "parent_id": execution.parent_id,
        "node_id": execution.node_id,
        "error": execution.error,
        "started_at": iso(execution.started_at_ms),
        "last_event_at": iso(execution.last_event_at_ms),
        "ended_at": None if execution.ended_at_ms is None else iso(execution.ended_at_ms),
    }


def _step_reply(step: Step) -> StepReply:
    return StepReply(
        node_id=step.node_id,
        node_type=step.node_type.value,
        visit=step.visit,
        status=step.status.value,
        attempts=step.attempts,
        started_at=iso(step.started_at_ms),
        ended_at=None if step.ended_at_ms is None else iso(step.ended_at_ms),
        invocation_id=step.invocation_id,
        error=step.error,
        edge_label=step.edge_label,
        superseded=step.superseded,
    )
