"""The native API of asynchronous calls: their state, cancel, replay, deliveries, and the secrets that sign them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from fastapi import Response
from pydantic import BaseModel, ConfigDict

from isolet.access.rules import Access, Grant, OfKey, PathSlug
from isolet.api.job_results import status_reply
from isolet.api.native import PREFIX
from isolet.api.native.parameters import Limit, function_id, time_ms
from isolet.api.rows import Granted, GrantedProject, route
from isolet.clock import iso
from isolet.database.webhook_secrets import WebhookSecret
from isolet.domain.access import Role
from isolet.domain.invocations import Door, Kind
from isolet.domain.jobs import Attempt, Job, JobState
from isolet.domain.search import CallFilter
from isolet.errors import Conflict, InvalidInput, NotFound
from isolet.ids import FunctionId, is_uuid
from isolet.jobs.queue import Jobs, Status
from isolet.jobs.webhook_secrets import WebhookSecrets
from isolet.observe.call_history import CallHistory
from isolet.routing.routes import Routes

_INVOKE = Access(Role.INVOKE, OfKey())
_DEPLOY = Access(Role.DEPLOY, OfKey())
_ADMIN = Access(Role.ADMIN, PathSlug())


class DeliveryFilter(BaseModel):
    """Which failed callbacks to send again; `function` is an id, slug or name, times are ISO 8601, or milliseconds."""

    model_config = ConfigDict(extra="forbid")

    function: str | None = None
    host: str | None = None
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeJobs:
    routes: Routes
    jobs: Jobs
    records: CallHistory
    secrets: WebhookSecrets

    async def find(self, grant: Grant, invocation_id: str) -> Status | None:
        """The state of an asynchronous call; None when there is none of that id."""
        try:
            return await self.jobs.status(invocation_id.lower(), grant.principal.project_id)
        except NotFound:
            return None

    async def shown(self, status: Status, record: Mapping[str, Any] | None = None) -> Response:
        """The state of an asynchronous call, above what its record says."""
        return await status_reply(self.jobs, status, {**(record or {}), **status_object(status)})

    async def list(self, wanted: CallFilter, state: JobState) -> dict[str, Any]:
        """A page of calls that have no record of their own to be found by."""
        if wanted.door not in (None, Door.ALTAIR) or wanted.kind not in (None, Kind.ASYNC):
            return {"data": [], "next_cursor": None}
        found, following = await self.jobs.find(wanted, state)
        return {"data": [call_summary(job) for job in found], "next_cursor": following}

    async def replay(self, grant: Grant, invocation_id: str) -> Response:
        """Accept an asynchronous call once more, under a new id. Raises NotFound."""
        project_id = grant.principal.project_id
        new = await self.jobs.replay(invocation_id.lower(), project_id)
        status = await self.jobs.status(new, project_id)
        headers = {"location": f"{PREFIX}/invocations/{new}"}
        return await status_reply(self.jobs, status, status_object(status), status_code=202, headers=headers)

    @route("POST", "/invocations/{invocation_id}/cancel", _INVOKE, tags=["invocations"])
    async def cancel(self, grant: Granted, invocation_id: str) -> Response:
        try:
            status = await self.jobs.cancel(invocation_id.lower(), grant.principal.project_id)
            return await status_reply(self.jobs, status, status_object(status))
        except NotFound:
            await self._find_record(grant, invocation_id)
            raise Conflict("The invocation has ended already") from None

    @route("POST", "/invocations/{invocation_id}/redeliver", _DEPLOY, status_code=202, tags=["invocations"])
    async def redeliver(self, grant: Granted, invocation_id: str) -> Response:
        try:
            status = await self.jobs.redeliver(invocation_id.lower(), grant.principal.project_id)
            return await status_reply(self.jobs, status, status_object(status), status_code=202)
        except NotFound:
            await self._find_record(grant, invocation_id)
            raise Conflict("The invocation has no callback to deliver") from None

    async def _find_record(self, grant: Grant, invocation_id: str) -> None:
        """See that there was such a call, though none that waits or runs here. Raises NotFound."""
        call = await self.records.get(invocation_id.lower())
        if not grant.principal.sees(call.project_id):
            raise NotFound("Invocation not found")

    @route("GET", "/deliveries", _DEPLOY, tags=["deliveries"])
    async def list_deliveries(
        self,
        grant: Granted,
        status: str | None = None,
        function: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: Limit = 50,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        if cursor is not None and not is_uuid(cursor):
            raise InvalidInput("cursor is not one that this API gave")
        found = await self.jobs.deliveries(
            grant.principal.project_id,
            state=_state(status),
            function_id=self._function(grant, function),
            since_ms=time_ms("since", since),
            until_ms=time_ms("until", until),
            before=cursor,
            limit=limit + 1,
        )
        shown = found[:limit]
        return {
            "data": [delivery_object(job) for job in shown],
            "next_cursor": shown[-1].id if len(found) > limit else None,
        }

    @route("POST", "/deliveries/redeliver", _DEPLOY, status_code=202, tags=["deliveries"])
    async def redeliver_all(self, grant: Granted, body: DeliveryFilter) -> dict[str, Any]:
        count = await self.jobs.redeliver_all(
            grant.principal.project_id,
            function_id=self._function(grant, body.function),
            host=body.host,
            since_ms=time_ms("since", body.since),
            until_ms=time_ms("until", body.until),
        )
        return {"redelivered": count}

    @route("POST", "/projects/{slug}/webhook-secrets", _ADMIN, status_code=201, tags=["webhook secrets"])
    async def create_secret(self, project: GrantedProject) -> dict[str, Any]:
        secret, text = await self.secrets.create(project.id)
        return {**secret_object(secret), "secret": text}

    @route("GET", "/projects/{slug}/webhook-secrets", _ADMIN, tags=["webhook secrets"])
    async def list_secrets(self, project: GrantedProject) -> dict[str, Any]:
        found = await self.secrets.list(project.id)
        return {"data": [secret_object(secret) for secret in found], "next_cursor": None}

    @route("DELETE", "/projects/{slug}/webhook-secrets/{secret_id}", _ADMIN, status_code=204, tags=["webhook secrets"])
    async def delete_secret(self, project: GrantedProject, secret_id: str) -> Response:
        await self.secrets.delete(project.id, secret_id)
        return Response(status_code=204)

    def _function(self, grant: Grant, text: str | None) -> FunctionId | None:
        return None if text is None else function_id(self.routes, grant.project.id, text)


def call_summary(call: Job) -> dict[str, Any]:
    """As a record's summary, as far as it is known before there is one."""
    return {
        "id": call.id,
        "function_id": call.function_id,
        "function_name": call.function_name,
        "version": None,
        "door": Door.ALTAIR.value,
        "kind": Kind.ASYNC.value,
        "status": call.state.value,
        "outcome": None,
        "status_code": call.result_status,
        "method": call.method,
        "path": unquote(call.target.partition("?")[0]),
        "error": call.error,
        "created_at": iso(call.created_at_ms),
        "started_at": None,
        "duration_ms": None,
        "cold_start": None,
    }


def status_object(status: Status) -> dict[str, Any]:
    """All but the result: see `job_results`."""
    call = status.call
    return {
        **_job_object(call),
        "kind": "async",
        "door": "altair",
        "function_name": call.function_name,
        "cancel_requested": call.cancel_requested,
        "callback": None if status.callback is None else delivery_object(status.callback),
        "callback_url": call.callback_url,
    }


def delivery_object(job: Job) -> dict[str, Any]:
    return {"invocation_id": job.parent_id, "url": job.target, **_job_object(job)}


def _job_object(job: Job) -> dict[str, Any]:
    """What calls and callbacks have in common."""
    return {
        "id": job.id,
        "function_id": job.function_id,
        "status": job.state.value,
        "attempts": [attempt_object(attempt) for attempt in job.history],
        "error": job.error,
        "created_at": iso(job.created_at_ms),
        "next_attempt_at": iso(job.due_at_ms) if job.state is JobState.QUEUED and not job.held else None,
        "finished_at": None if job.finished_at_ms is None else iso(job.finished_at_ms),
    }


def attempt_object(attempt: Attempt) -> dict[str, Any]:
    return {
        "at": iso(attempt.at_ms),
        "duration_ms": attempt.duration_ms,
        "status": attempt.status,
        "error": attempt.error,
    }


def secret_object(secret: WebhookSecret) -> dict[str, Any]:
    return {"id": secret.id, "created_at": iso(secret.created_at_ms)}


def _state(value: str | None) -> JobState | None:
    try:
        return None if value is None else JobState(value)
    except ValueError:
        raise InvalidInput(f"status must be one of {', '.join(JobState)}") from None
