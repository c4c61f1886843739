"""The native API of callbacks: their deliveries, and the secrets that sign them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Response
from pydantic import BaseModel, ConfigDict

from isolet.access.rules import Access, Grant, OfKey, PathSlug
from isolet.api.native import job_shapes as shapes
from isolet.api.native.parameters import Limit, function_id, time_ms
from isolet.api.rows import Granted, GrantedProject, route
from isolet.clock import iso
from isolet.database.webhook_secrets import WebhookSecret
from isolet.domain.access import Role
from isolet.domain.jobs import JobState
from isolet.errors import InvalidInput
from isolet.ids import FunctionId, is_uuid
from isolet.jobs.queue import Jobs
from isolet.jobs.webhook_secrets import WebhookSecrets
from isolet.routing.routes import Routes

_INVOKE = Access(Role.INVOKE, OfKey())
_DEPLOY = Access(Role.DEPLOY, OfKey())
_READ = _DEPLOY.for_readers()
_ADMIN = Access(Role.ADMIN, PathSlug())


class DeliveryFilter(BaseModel):
    """Which failed callbacks to send again; `function` is an id, slug or name, times are ISO 8601, or milliseconds."""

    model_config = ConfigDict(extra="forbid")

    function: str | None = None
    host: str | None = None
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveriesDoor:
    routes: Routes
    jobs: Jobs
    secrets: WebhookSecrets

    @route("GET", "/deliveries", _READ, tags=["deliveries"])
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
            "data": [shapes.delivery_object(job) for job in shown],
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


def secret_object(secret: WebhookSecret) -> dict[str, Any]:
    return {"id": secret.id, "created_at": iso(secret.created_at_ms)}


def _state(value: str | None) -> JobState | None:
    try:
        return None if value is None else JobState(value)
    except ValueError:
        raise InvalidInput(f"status must be one of {', '.join(JobState)}") from None
