"""The native API of callbacks: their deliveries, and the secrets that sign them."""

from __future__ import annotations

from fastapi import Response
from msgspec import Struct

from isolet.access.rules import Access, Grant, OfKey, PathSlug
from isolet.api.native import job_shapes as shapes
from isolet.api.native.parameters import Limit, function_id, time_ms
from isolet.api.native.serving import page, serve
from isolet.api.rows import Granted, GrantedProject
from isolet.clock import iso
from isolet.contract.deliveries import Deliveries, DeliveryFilter, RedeliveredReply
from isolet.contract.webhook_secrets import NewWebhookSecretReply, WebhookSecretReply, WebhookSecrets
from isolet.database.webhook_secrets import WebhookSecret
from isolet.domain.access import Role
from isolet.domain.choices import one_of
from isolet.domain.jobs import JobState
from isolet.errors import InvalidInput
from isolet.ids import FunctionId, is_uuid
from isolet.jobs.queue import Jobs
from isolet.jobs.webhook_secrets import WebhookSecrets as WebhookSecretService
from isolet.routing.routes import Routes

_DEPLOY = Access(Role.DEPLOY, OfKey(slug="project", every=True))
_READ = _DEPLOY.for_readers()
_ADMIN = Access(Role.ADMIN, PathSlug())


class DeliveriesDoor(Struct, frozen=True, kw_only=True):
    routes: Routes
    jobs: Jobs
    secrets: WebhookSecretService

    @serve(Deliveries.list, _READ)
    async def list_deliveries(
        self,
        grant: Granted,
        status: str | None = None,
        function: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: Limit = 50,
        cursor: str | None = None,
    ) -> Response:
        if cursor is not None and not is_uuid(cursor):
            raise InvalidInput("cursor is not one that this API gave")
        found = await self.jobs.deliveries(
            grant.project_id,
            state=_state(status),
            function_id=self._function(grant, function),
            since_ms=time_ms("since", since),
            until_ms=time_ms("until", until),
            before=cursor,
            limit=limit + 1,
        )
        shown = found[:limit]
        return await page(shapes.delivery_reply, shown, shown[-1].id if len(found) > limit else None)

    @serve(Deliveries.redeliver, _DEPLOY)
    async def redeliver_all(self, grant: Granted, body: DeliveryFilter) -> RedeliveredReply:
        count = await self.jobs.redeliver_all(
            grant.project_id,
            function_id=self._function(grant, body.function),
            host=body.host,
            since_ms=time_ms("since", body.since),
            until_ms=time_ms("until", body.until),
        )
        return RedeliveredReply(redelivered=count)

    @serve(WebhookSecrets.create, _ADMIN)
    async def create_secret(self, project: GrantedProject) -> NewWebhookSecretReply:
        secret, text = await self.secrets.create(project.id)
        return NewWebhookSecretReply(**_secret_reply(secret).to_json(), secret=text)

    @serve(WebhookSecrets.list, _ADMIN)
    async def list_secrets(self, project: GrantedProject) -> Response:
        return await page(_secret_reply, await self.secrets.list(project.id), None)

    @serve(WebhookSecrets.delete, _ADMIN)
    async def delete_secret(self, project: GrantedProject, secret_id: str) -> None:
        await self.secrets.delete(project.id, secret_id)

    def _function(self, grant: Grant, text: str | None) -> FunctionId | None:
        """By its name in the project, which is the default one for the root key without `project`."""
        project_id = grant.project_id or self.routes.default_project.id
        return None if text is None else function_id(self.routes, project_id, text)


def _secret_reply(secret: WebhookSecret) -> WebhookSecretReply:
    return WebhookSecretReply(id=secret.id, created_at=iso(secret.created_at_ms))


def _state(value: str | None) -> JobState | None:
    return None if value is None else one_of("status", value, JobState)
