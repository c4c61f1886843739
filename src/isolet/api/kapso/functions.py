"""Functions through the Kapso Functions API on both its bases, without their calls."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import Request, Response
from msgspec import Struct

from isolet.access.rules import Grant
from isolet.api.kapso import shapes
from isolet.api.kapso.access import DEPLOY, READ
from isolet.api.kapso.calls import OLDER
from isolet.api.reply import Json, large, streamed
from isolet.api.request import json_body, public_base
from isolet.api.rows import Granted, GrantedProject, route
from isolet.domain.functions import Function
from isolet.errors import InvalidInput
from isolet.functions.deploy import Deployer
from isolet.functions.secrets import Secrets
from isolet.functions.service import Functions
from isolet.observe.call_history import CallHistory
from isolet.settings import Settings

_ONE = "/functions/{function_id}"
_LATEST = 10
_FUNCTION_EXAMPLE = {
    "function": {"name": "Hello", "code": "async function handler(request, env) { return new Response('Hello'); }"}
}
_SECRET_EXAMPLE = {"secret": {"name": "API_KEY", "value": "…"}}
_INVOCATIONS_MAX = 20


class KapsoFunctions(Struct, frozen=True, kw_only=True):
    """The routes that both bases have. `prefix` is the base, which functions show in their own address."""

    functions: Functions
    deployer: Deployer
    secrets: Secrets
    records: CallHistory
    settings: Settings
    prefix: str

    @route("GET", "/functions", READ)
    async def list_functions(self, request: Request, project: GrantedProject) -> Response:
        # Whole, as the description has it: each function with its code, and no pages.
        shape = partial(self._object, public_base(request, self.settings))
        return streamed("data", shape, self.functions.each(project.id))

    @route("POST", "/functions", DEPLOY, status_code=201, openapi_extra=shapes.body_of(_FUNCTION_EXAMPLE))
    async def create_function(self, request: Request, grant: Granted) -> Response:
        values = shapes.creation(await json_body(request, self.settings, grant.project.id))
        function = await self.functions.create(
            grant.project.id,
            values,
            created_by_id=grant.principal.key_id,
            may_be_wrapped=self.prefix == OLDER,
        )
        return await self._reply(request, function, status_code=201)

    @route("GET", _ONE, READ)
    async def get_function(self, request: Request, grant: Granted, function_id: str) -> Response:
        function = await self._function(grant, function_id, with_code=True)
        latest = await self.records.latest(function.id, limit=_LATEST)
        base = public_base(request, self.settings)

        def shape() -> dict[str, Any]:
            invocations = [shapes.invocation_object(invocation) for invocation in latest]
            return {"data": {**self._object(base, function), "invocations": invocations}}

        return await large(shape)

    @route("PATCH", _ONE, DEPLOY, openapi_extra=shapes.body_of(_FUNCTION_EXAMPLE))
    async def update_function(self, request: Request, grant: Granted, function_id: str) -> Response:
        changes, lock_version = shapes.update(await json_body(request, self.settings, grant.project.id))
        function = await self.functions.update(
            grant.principal.project_id, function_id.lower(), changes, lock_version=lock_version, with_code=True
        )
        return await self._reply(request, function)

    @route("DELETE", _ONE, DEPLOY, status_code=204)
    async def delete_function(self, grant: Granted, function_id: str) -> Response:
        await self.functions.delete(grant.principal.project_id, function_id.lower())
        return Response(status_code=204)

    @route("POST", _ONE + "/deploy", DEPLOY, status_code=202)
    async def deploy_function(self, grant: Granted, function_id: str) -> Response:
        function = await self._function(grant, function_id)
        await self.deployer.accept(function)
        return Json(_deploy_reply(function, self.prefix), status_code=202)

    @route("GET", _ONE + "/invocations", READ)
    async def list_invocations(self, request: Request, grant: Granted, function_id: str) -> Response:
        function = await self._function(grant, function_id)
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

    @route("GET", _ONE + "/secrets", READ)
    async def list_secrets(self, grant: Granted, function_id: str) -> Response:
        found = await self.secrets.list(await self._function(grant, function_id))
        return Json({"data": [{"name": secret.name, "type": secret.type.value} for secret in found]})

    @route("POST", _ONE + "/secrets", DEPLOY, status_code=201, openapi_extra=shapes.body_of(_SECRET_EXAMPLE))
    async def create_secret(self, request: Request, grant: Granted, function_id: str) -> Response:
        function = await self._function(grant, function_id)
        name, value = shapes.secret(await json_body(request, self.settings, function.project_id))
        await self.secrets.put(function, name, value)
        return Json({"message": "Secret created successfully"}, status_code=201)

    @route("DELETE", _ONE + "/secrets/{name}", DEPLOY, status_code=204)
    async def delete_secret(self, grant: Granted, function_id: str, name: str) -> Response:
        await self.secrets.delete(await self._function(grant, function_id), name)
        return Response(status_code=204)

    async def _function(self, grant: Grant, function_id: str, *, with_code: bool = False) -> Function:
        """Of the key's project; of any for the root key, which may name each function by its id. Raises NotFound."""
        return await self.functions.get(grant.principal.project_id, function_id.lower(), with_code=with_code)

    async def _reply(self, request: Request, function: Function, status_code: int = 200) -> Response:
        base = public_base(request, self.settings)
        return await large(lambda: {"data": self._object(base, function)}, status_code)

    def _object(self, base: str, function: Function) -> dict[str, Any]:
        return shapes.function_object(function, base, self.prefix)


class OlderKapsoFunctions(Struct, frozen=True, kw_only=True):
    """The route that only the older base has: it also takes a change by PUT."""

    functions: KapsoFunctions

    @route("PUT", _ONE, DEPLOY, openapi_extra=shapes.body_of(_FUNCTION_EXAMPLE))
    async def update_function(self, request: Request, grant: Granted, function_id: str) -> Response:
        return await self.functions.update_function(request, grant, function_id)


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
