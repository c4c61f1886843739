"""Runs of workflows through Kapso's API: start, look, answer, end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from msgspec import Struct
from msgspec.structs import replace

from isolet.access.rules import Grant
from isolet.api.kapso import execution_shapes as shapes
from isolet.api.kapso import paging
from isolet.api.kapso.access import INVOKE, READ
from isolet.api.kapso.queries import plain
from isolet.api.kapso.shapes import body_of, envelope
from isolet.api.reply import Json, large
from isolet.api.request import json_body
from isolet.api.rows import Granted, GrantedProject, route
from isolet.clock import Clock, iso
from isolet.database.executions import Filter
from isolet.domain.flows.executions import Execution
from isolet.domain.flows.workflows import Workflow, WorkflowStatus
from isolet.domain.own_keys import OwnKeys
from isolet.errors import InvalidInput, NotFound, RequestError
from isolet.flows.bursts import Burst, Bursts
from isolet.flows.service import Executions
from isolet.flows.workflows import Workflows
from isolet.routing.routes import Routes
from isolet.settings import Settings
from isolet.wire.headers import get

_OF_WORKFLOW = "/workflows/{workflow_id}/executions"
_ONE = "/workflow_executions/{execution_id}"
# Who may start runs may look at those whose ids it knows.
_LOOK = replace(INVOKE, also=READ.also)
_EVENTS_MAX = 1_000
_START_EXAMPLE = {"workflow_execution": {"phone_number": "+15550100", "variables": {"customer": "Ada"}}}
_OLDER_EXAMPLE = _START_EXAMPLE["workflow_execution"]
_RESUME_EXAMPLE = {"message": {"data": {"text": "yes"}}, "variables": {"seen": True}}
_STATUS_EXAMPLE = {"workflow_execution": {"status": "ended"}}


class Starts(Struct, frozen=True, kw_only=True):
    """Starts runs for both bases. `own_keys` knows what no run may keep."""

    executions: Executions
    bursts: Bursts
    routes: Routes
    clock: Clock
    own_keys: OwnKeys

    async def start(
        self, request: Request, grant: Grant, workflow: Workflow, sent: Any
    ) -> tuple[Burst, Execution | None]:
        """No run when the key has started too many this second. Raises InvalidInput, LimitReached, TooManyRequests."""
        if workflow.status is not WorkflowStatus.ACTIVE:
            raise InvalidInput(f"The workflow is not active: its status is {workflow.status}")
        values = shapes.start_values(sent)
        project = self.routes.project_of(workflow.project_id)
        if project is None:
            raise NotFound("Workflow not found")
        burst = self.bursts.take(project.plan, grant.principal.key_id, workflow.id)
        if not burst.allowed:
            return burst, None
        return burst, await self.executions.start(workflow, metadata=self._metadata(request), **values)

    def _metadata(self, request: Request) -> dict[str, Any]:
        sent = get(self.own_keys.without(request.scope["headers"]), b"user-agent") or b""
        agent = sent.decode("latin-1")[:512]
        host = None if request.client is None else request.client.host
        return {"request": {"ip": host, "user_agent": agent, "timestamp": iso(self.clock.now_ms())}}


def started_reply(burst: Burst, body: dict[str, Any]) -> Response:
    """`body` where the start was allowed."""
    headers = {
        "x-burst-ratelimit-limit": str(burst.limit),
        "x-burst-ratelimit-remaining": str(burst.remaining),
    }
    if burst.allowed:
        return Json(body, status_code=202, headers=headers)
    message = f"At most {burst.limit} runs of a workflow can be started in a second with one key"
    told = {"error": "Burst rate limit exceeded", "message": message}
    return Json(told, status_code=429, headers={**headers, "retry-after": "1"})


class ExecutionsDoor(Struct, frozen=True, kw_only=True):
    """Ids may be those of the key's project; of any for the root key."""

    workflows: Workflows
    executions: Executions
    starts: Starts
    settings: Settings

    @route("POST", _OF_WORKFLOW, INVOKE, status_code=202, openapi_extra=body_of(_START_EXAMPLE))
    async def start_execution(self, request: Request, grant: Granted, workflow_id: str) -> Response:
        workflow = await self.workflows.get(grant.principal.project_id, workflow_id, with_graph=True)
        sent = envelope(await json_body(request, self.settings, workflow.project_id), "workflow_execution")
        burst, execution = await self.starts.start(request, grant, workflow, sent)
        begun = {} if execution is None else {"id": execution.id, "tracking_id": execution.tracking_id}
        data = {"message": "Workflow execution initiated", "workflow_id": workflow.id, **begun}
        return started_reply(burst, {"data": data})

    @route("GET", _OF_WORKFLOW, READ)
    async def list_executions(self, request: Request, grant: Granted, workflow_id: str) -> Response:
        workflow = await self.workflows.get(grant.principal.project_id, workflow_id)
        return await self._list(request, shapes.execution_filter(request.query_params, workflow_id=workflow.id))

    @route("GET", "/workflow_executions", READ)
    async def list_of_project(self, request: Request, project: GrantedProject) -> Response:
        return await self._list(request, shapes.execution_filter(request.query_params, project_id=project.id))

    @route("GET", _ONE, _LOOK)
    async def get_execution(self, grant: Granted, execution_id: str) -> Response:
        execution = await self._execution(grant, execution_id)
        resumable = await self.executions.resumable(execution.id)
        state = await self.executions.state(execution.id)
        newest = await self.executions.events(execution.id, newest_first=True, limit=_EVENTS_MAX)
        summary = {
            **await self._object(execution),
            "resumable_execution_id": None if resumable is None else resumable.id,
        }
        body = await asyncio.to_thread(shapes.whole, summary, execution, state, newest[::-1])
        return Response(body, media_type="application/json")

    @route("PATCH", _ONE, INVOKE, openapi_extra=body_of(_STATUS_EXAMPLE))
    async def update_execution(self, request: Request, grant: Granted, execution_id: str) -> Response:
        execution = await self._execution(grant, execution_id)
        try:
            body = await json_body(request, self.settings, execution.project_id)
            envelope(body, "workflow_execution")
        except InvalidInput as exc:
            # Here a body that is none is 400, and 422 is about the transition.
            raise RequestError(exc.message) from exc
        after = await self.executions.change_status(execution.id, shapes.sent_status(body))
        return Json({"data": {**await self._object(after), "error_details": shapes.failure_of(after)}})

    @route("POST", _ONE + "/resume", INVOKE, openapi_extra=body_of(_RESUME_EXAMPLE))
    async def resume_execution(self, request: Request, grant: Granted, execution_id: str) -> Response:
        execution = await self._execution(grant, execution_id)
        body = await json_body(request, self.settings, execution.project_id)
        sent = body if isinstance(body, dict) else {}
        after = await self.executions.resume(execution.id, sent.get("message"), sent.get("variables"))
        routing = {"requested_execution_id": execution.id, "parent_flow_execution_id": after.parent_id}
        return Json({"data": {**await self._object(after), **routing}})

    @route("GET", _ONE + "/events", _LOOK)
    async def list_events(self, request: Request, grant: Granted, execution_id: str) -> Response:
        execution = await self._execution(grant, execution_id)
        page = paging.page_of(request.query_params)
        newer = paging.event_number("before", page.newer_than)
        found = await self.executions.events(
            execution.id,
            event_type=plain(request.query_params, "event_type"),
            before=paging.event_number("after", page.older_than),
            after=newer,
            newest_first=newer is None,
            limit=page.limit + 1,
        )
        # What is next newer comes oldest first, so that it is next.
        paged = paging.cut(page, found if newer is None else found[::-1])
        return await paging.paged_reply(shapes.event_object, lambda event: str(event.number), paged)

    @route("GET", "/workflow_events/{event_id}", _LOOK)
    async def get_event(self, grant: Granted, event_id: str) -> Response:
        event = await self.executions.event(event_id.lower())
        try:
            await self._execution(grant, event.execution_id)
        except NotFound:
            raise NotFound("Event not found") from None
        return await large(lambda: {"data": shapes.event_object(event)})

    async def _execution(self, grant: Grant, execution_id: str) -> Execution:
        """Raises NotFound."""
        execution = await self.executions.get(execution_id.lower())
        if not grant.principal.sees(execution.project_id):
            raise NotFound("Execution not found")
        return execution

    async def _object(self, execution: Execution) -> dict[str, Any]:
        statuses = await self._statuses([execution])
        return shapes.execution_object(execution, statuses.get(execution.workflow_id))

    async def _statuses(self, executions: Sequence[Execution]) -> Mapping[str, WorkflowStatus]:
        return await self.workflows.statuses([execution.workflow_id for execution in executions])

    async def _list(self, request: Request, wanted: Filter) -> Response:
        page = paging.page_of(request.query_params)
        found = await self.executions.list(wanted, before=page.older_than, after=page.newer_than, limit=page.limit + 1)
        paged = paging.cut(page, found)
        statuses = await self._statuses(paged.items)

        def shape(execution: Execution) -> dict[str, Any]:
            return shapes.execution_object(execution, statuses.get(execution.workflow_id))

        return await paging.paged_reply(shape, lambda execution: execution.id, paged)


class OlderExecutionsDoor(Struct, frozen=True, kw_only=True):
    """Without an envelope around the body, and without one around the reply."""

    workflows: Workflows
    starts: Starts
    settings: Settings

    @route("POST", "/flows/{workflow_id}/executions", INVOKE, status_code=202, openapi_extra=body_of(_OLDER_EXAMPLE))
    async def start_execution(self, request: Request, grant: Granted, workflow_id: str) -> Response:
        workflow = await self.workflows.get(grant.principal.project_id, workflow_id, with_graph=True)
        sent = await json_body(request, self.settings, workflow.project_id)
        if not isinstance(sent, dict):
            raise InvalidInput("the request must be a JSON object")
        burst, execution = await self.starts.start(request, grant, workflow, sent)
        begun = {} if execution is None else {"id": execution.id, "tracking_id": execution.tracking_id}
        return started_reply(burst, {"message": "Flow execution queued", "flow_id": workflow.id, **begun})
