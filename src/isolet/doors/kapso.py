"""The Kapso Functions API on both its bases: `/platform/v1` and the older `/api/v1` (`wire-facts.md` 7, A–F)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from isolet.domain.access import Principal, Role
from isolet.domain.functions import Function, ResponseMode
from isolet.domain.invocations import Door
from isolet.doors import kapso_shapes as shapes
from isolet.doors.authentication import api_key, authenticate, without_keys
from isolet.doors.errors import STATUS, ErrorReply, headers_of, public_error, status_of
from isolet.doors.http import Body, Receive, Scope, Send, check_json, send_bytes, send_json, send_reply, with_query
from isolet.doors.reply import Json
from isolet.doors.request import json_body, public_base
from isolet.doors.request_ids import send_error
from isolet.errors import (
    ExecutionError,
    InvalidInput,
    IsoletError,
    MethodNotAllowed,
    NotFound,
    RequestError,
    Unauthenticated,
)
from isolet.functions.deploy import Deployer
from isolet.functions.secrets import Secrets
from isolet.functions.service import Functions
from isolet.ids import ProjectId
from isolet.invoke.headers import get
from isolet.invoke.invoker import Invoker, Reply
from isolet.invoke.records import Records
from isolet.invoke.request import CallRequest
from isolet.invoke.routes import Route, Routes
from isolet.settings import Settings

PLATFORM = "/platform/v1"
OLDER = "/api/v1"
_STATUS = {**STATUS, "not_deployed": 422}
_NOT_FOUND = "Function not found"
_LATEST = 10
_FUNCTION_EXAMPLE = {
    "function": {"name": "Hello", "code": "async function handler(request, env) { return new Response('Hello'); }"}
}
_SECRET_EXAMPLE = {"secret": {"name": "API_KEY", "value": "…"}}
_INVOCATIONS_MAX = 20


def error_reply(error: Exception) -> ErrorReply:
    """`{"error": "<text>"}`; a failed call adds `detail` and `invocation_id`."""
    told = public_error(error)
    if isinstance(told, ExecutionError):
        body = {"error": "Function execution failed", "detail": told.message[:512]}
        if "invocation_id" in told.details:
            body["invocation_id"] = str(told.details["invocation_id"])
        return ErrorReply(status=500, body=body, headers=headers_of(told))
    return ErrorReply(status=status_of(told, _STATUS), body={"error": told.message}, headers=headers_of(told))


@dataclass(frozen=True, slots=True, kw_only=True)
class KapsoDoor:
    """`invoke` is plain ASGI on the path of calls; `router` serves everything else."""

    routes: Routes
    invoker: Invoker
    functions: Functions
    deployer: Deployer
    secrets: Secrets
    records: Records
    settings: Settings

    # Calls.

    async def invoke(self, scope: Scope, receive: Receive, send: Send, function_id: str, prefix: str) -> None:
        """`POST …/functions/{id}/invoke`: the body goes to the function, its reply comes back."""
        try:
            route = self._callable(scope, function_id, prefix)
            body = Body(scope, receive, limit=self.settings.max_body_bytes)
            payload = await body.read()
            if payload:
                check_json(payload)
            path = scope["path"]
            reply = await self.invoker.call(
                route,
                CallRequest(
                    door=Door.KAPSO,
                    method=b"POST",
                    target=with_query(scope["raw_path"], scope["query_string"]),
                    path=path,
                    headers=without_keys(self.routes, scope["headers"]),
                    body=payload,
                    scheme=scope["scheme"],
                    gone=body.gone,
                ),
            )
            if route.response_mode is ResponseMode.WRAPPED and 200 <= reply.status < 300:
                await self._send_wrapped(send, reply)
            else:
                await send_reply(send, reply)
        except IsoletError as exc:
            await send_error(scope, send, error_reply, exc)

    def _callable(self, scope: Scope, function_id: str, prefix: str) -> Route:
        """The function to call, when the caller may. On the newer base nobody learns what exists."""
        route = self.routes.function(function_id.lower())
        key = api_key(scope["headers"])
        principal = self.routes.principal(key)
        if prefix == OLDER and principal is None:
            raise Unauthenticated("API key is missing or not valid")
        if route is None or not (route.public or (principal is not None and principal.sees(route.project_id))):
            raise NotFound(_NOT_FOUND)
        if scope["method"] != "POST":
            raise MethodNotAllowed("Method not allowed", allowed=("POST",))
        return route

    async def _send_wrapped(self, send: Send, reply: Reply) -> None:
        """The legacy shape: a JSON result under `data`, and text as a JSON string there."""
        body = await reply.read(self.settings.max_body_bytes)
        try:
            wrapped = b'{"data":' + _result(reply, body) + b"}"
        except RequestError:
            await send_json(send, reply.status, {"data": body.decode(errors="replace")}, [_id_header(reply)])
            return
        await send_bytes(send, reply.status, wrapped, [(b"content-type", b"application/json"), _id_header(reply)])

    # Management.

    def router(self, prefix: str) -> APIRouter:
        router = APIRouter(prefix=f"{prefix}/functions", tags=[f"Kapso {prefix}"])
        add = router.add_api_route
        update_methods = ["PATCH"] if prefix == PLATFORM else ["PUT", "PATCH"]

        async def list_functions(request: Request) -> Response:
            project_id = self._project(self._principal(request, Role.DEPLOY))
            found = await self.functions.list(project_id)
            return Json({"data": [self._object(request, function, prefix) for function in found]})

        async def create_function(request: Request) -> Response:
            principal = self._principal(request, Role.DEPLOY)
            values = shapes.creation(await json_body(request, self.settings))
            function = await self.functions.create(
                self._project(principal),
                values,
                created_by_id=principal.key_id,
                may_be_wrapped=prefix == OLDER,
            )
            return Json({"data": self._object(request, function, prefix)}, status_code=201)

        async def get_function(request: Request, function_id: str) -> Response:
            function = await self._function(request, function_id)
            latest = await self.records.latest(function.id, limit=_LATEST)
            shown = self._object(request, function, prefix)
            shown["invocations"] = [shapes.invocation_object(invocation) for invocation in latest]
            return Json({"data": shown})

        async def update_function(request: Request, function_id: str) -> Response:
            principal = self._principal(request, Role.DEPLOY)
            changes, lock_version = shapes.update(await json_body(request, self.settings))
            function = await self.functions.update(
                principal.project_id, function_id.lower(), changes, lock_version=lock_version
            )
            return Json({"data": self._object(request, function, prefix)})

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
            data = {
                "function_id": function.id,
                "function_name": function.name,
                "invocations": [shapes.invocation_object(invocation) for invocation in found],
                "total": len(found),
            }
            return Json({"data": data})

        async def list_secrets(request: Request, function_id: str) -> Response:
            found = await self.secrets.list(await self._function(request, function_id))
            return Json({"data": [{"name": secret.name, "type": secret.type.value} for secret in found]})

        async def create_secret(request: Request, function_id: str) -> Response:
            function = await self._function(request, function_id)
            name, value = shapes.secret(await json_body(request, self.settings))
            await self.secrets.create(function, name, value)
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
        principal = authenticate(self.routes, api_key(request.scope["headers"]))
        principal.require(role, self._project(principal))
        return principal

    def _project(self, principal: Principal) -> ProjectId:
        """The key's project; the root key acts on `default` where a path names none."""
        return principal.project_id or self.routes.default_project.id

    async def _function(self, request: Request, function_id: str) -> Function:
        principal = self._principal(request, Role.DEPLOY)
        return await self.functions.get(principal.project_id, function_id.lower())

    def _object(self, request: Request, function: Function, prefix: str) -> dict[str, Any]:
        return shapes.function_object(function, public_base(request, self.settings), prefix)


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


def _result(reply: Reply, body: bytes) -> bytes:
    """The JSON that a function answered with. Raises RequestError when it is none, whatever its type says."""
    if not (get(reply.headers, b"content-type") or b"").lower().startswith(b"application/json"):
        raise RequestError("the reply is not JSON")
    if body:
        check_json(body)
    return body or b"null"


def _id_header(reply: Reply) -> tuple[bytes, bytes]:
    return b"x-invocation-id", reply.invocation_id.encode()
