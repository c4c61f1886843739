"""Functions through the Kapso Functions API on both its bases, without their calls."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from isolet.access import rates
from isolet.access.credentials import Credentials
from isolet.api.kapso import shapes
from isolet.api.kapso.calls import OLDER, PLATFORM, SOURCES, TAGS
from isolet.api.reply import Json, large, streamed
from isolet.api.request import json_body, public_base
from isolet.domain.access import Principal, Role
from isolet.domain.functions import Function
from isolet.errors import InvalidInput
from isolet.functions.deploy import Deployer
from isolet.functions.secrets import Secrets
from isolet.functions.service import Functions
from isolet.ids import ProjectId
from isolet.observe.call_history import CallHistory
from isolet.routing.routes import Routes
from isolet.settings import Settings

_LATEST = 10
_FUNCTION_EXAMPLE = {
    "function": {"name": "Hello", "code": "async function handler(request, env) { return new Response('Hello'); }"}
}
_SECRET_EXAMPLE = {"secret": {"name": "API_KEY", "value": "…"}}
_INVOCATIONS_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class KapsoFunctions:
    routes: Routes
    credentials: Credentials
    functions: Functions
    deployer: Deployer
    secrets: Secrets
    records: CallHistory
    settings: Settings

    def router(self, prefix: str) -> APIRouter:
        router = APIRouter(prefix=f"{prefix}/functions", tags=[TAGS[prefix]])
        add = router.add_api_route
        update_methods = ["PATCH"] if prefix == PLATFORM else ["PUT", "PATCH"]

        async def list_functions(request: Request) -> Response:
            project_id = self._project(self._principal(request, Role.DEPLOY))
            # Whole, as the description has it: each function with its code, and no pages.
            shape = partial(self._object, public_base(request, self.settings), prefix)
            return streamed("data", shape, self.functions.each(project_id))

        async def create_function(request: Request) -> Response:
            principal = self._principal(request, Role.DEPLOY)
            project_id = self._project(principal)
            values = shapes.creation(await json_body(request, self.settings, project_id))
            function = await self.functions.create(
                project_id,
                values,
                created_by_id=principal.key_id,
                may_be_wrapped=prefix == OLDER,
            )
            return await self._reply(request, function, prefix, status_code=201)

        async def get_function(request: Request, function_id: str) -> Response:
            function = await self._function(request, function_id, with_code=True)
            latest = await self.records.latest(function.id, limit=_LATEST)
            base = public_base(request, self.settings)

            def shape() -> dict[str, Any]:
                invocations = [shapes.invocation_object(invocation) for invocation in latest]
                return {"data": {**self._object(base, prefix, function), "invocations": invocations}}

            return await large(shape)

        async def update_function(request: Request, function_id: str) -> Response:
            principal = self._principal(request, Role.DEPLOY)
            changes, lock_version = shapes.update(await json_body(request, self.settings, self._project(principal)))
            function = await self.functions.update(
                principal.project_id, function_id.lower(), changes, lock_version=lock_version, with_code=True
            )
            return await self._reply(request, function, prefix)

        async def delete_function(request: Request, function_id: str) -> Response:
            principal = self._principal(request, Role.DEPLOY)
            await self.functions.delete(principal.project_id, function_id.lower())
            return Response(status_code=204)

        async def deploy_function(request: Request, function_id: str) -> Response:
            function = await self._function(request, function_id)
            await self.deployer.accept(function)
            return Json(_deploy_reply(function, prefix), status_code=202)

        async def list_invocations(request: Request, function_id: str) -> Response:
            function = await self._function(request, function_id)
            succeeded, limit = _invocation_query(request)
            found = await self.records.latest(function.id, limit=limit, succeeded=succeeded)

            def shape() -> dict[str, Any]:
                data = {
                    "function_id": function.id,
                    "function_name": function.name,
                    "invocations": [shapes.invocation_object(invocation) for invocation in found],
                    "total": len(found),
                }
                return {"data": data}

            return await large(shape)

        async def list_secrets(request: Request, function_id: str) -> Response:
            found = await self.secrets.list(await self._function(request, function_id))
            return Json({"data": [{"name": secret.name, "type": secret.type.value} for secret in found]})

        async def create_secret(request: Request, function_id: str) -> Response:
            function = await self._function(request, function_id)
            name, value = shapes.secret(await json_body(request, self.settings, function.project_id))
            await self.secrets.put(function, name, value)
            return Json({"message": "Secret created successfully"}, status_code=201)

        async def delete_secret(request: Request, function_id: str, name: str) -> Response:
            await self.secrets.delete(await self._function(request, function_id), name)
            return Response(status_code=204)

        add("", list_functions, methods=["GET"])
        add("", create_function, methods=["POST"], status_code=201, openapi_extra=_body_of(_FUNCTION_EXAMPLE))
        add("/{function_id}", get_function, methods=["GET"])
        for method in update_methods:
            # One by one, so that each has an id of its own in the description.
            add("/{function_id}", update_function, methods=[method], openapi_extra=_body_of(_FUNCTION_EXAMPLE))
        add("/{function_id}", delete_function, methods=["DELETE"], status_code=204)
        add("/{function_id}/deploy", deploy_function, methods=["POST"], status_code=202)
        add("/{function_id}/invocations", list_invocations, methods=["GET"])
        add("/{function_id}/secrets", list_secrets, methods=["GET"])
        secret = _body_of(_SECRET_EXAMPLE)
        add("/{function_id}/secrets", create_secret, methods=["POST"], status_code=201, openapi_extra=secret)
        add("/{function_id}/secrets/{name}", delete_secret, methods=["DELETE"], status_code=204)
        return router

    def _principal(self, request: Request, role: Role) -> Principal:
        principal = self.credentials.require(request.scope["headers"], SOURCES)
        rates.count(request.scope, principal.project_id)
        principal.require(role, self._project(principal))
        return principal

    def _project(self, principal: Principal) -> ProjectId:
        """The key's project; the root key acts on `default` where a path names none."""
        return principal.project_id or self.routes.default_project.id

    async def _function(self, request: Request, function_id: str, *, with_code: bool = False) -> Function:
        principal = self._principal(request, Role.DEPLOY)
        return await self.functions.get(principal.project_id, function_id.lower(), with_code=with_code)

    async def _reply(self, request: Request, function: Function, prefix: str, status_code: int = 200) -> Response:
        base = public_base(request, self.settings)
        return await large(lambda: {"data": self._object(base, prefix, function)}, status_code)

    @staticmethod
    def _object(base: str, prefix: str, function: Function) -> dict[str, Any]:
        return shapes.function_object(function, base, prefix)


def _body_of(example: dict[str, Any]) -> dict[str, Any]:
    """What the API pages show of a request's body."""
    content = {"application/json": {"schema": {"type": "object"}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def _deploy_reply(function: Function, prefix: str) -> dict[str, Any]:
    """Flat as the description has it, and once more under `data` for clients that read it there."""
    if prefix == OLDER:
        facts = {"message": "Deployment started", "function_id": function.id, "status": function.status.value}
    else:
        facts = {
            "message": "Function deployment initiated",
            "function_id": function.id,
            "status": "deploying",
        }
    return {**facts, "data": facts}


def _invocation_query(request: Request) -> tuple[bool | None, int]:
    status = request.query_params.get("status")
    if status not in (None, "success", "failed"):
        raise InvalidInput("status must be success or failed")
    text = request.query_params.get("limit", str(_LATEST))
    if not (text.isascii() and text.isdigit()) or int(text[:9]) < 1:
        raise InvalidInput("limit must be a whole number from 1 to 20")
    succeeded = None if status is None else status == "success"
    return succeeded, min(int(text[:9]), _INVOCATIONS_MAX)
