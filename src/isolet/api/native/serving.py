"""Serves operations of the contract: `serve` makes a method of a door the route of an operation.

The operation says method, path, status and reply; the row adds who may call it. A handler returns the reply of the
operation, or a response whose content somebody else made and the operation describes.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar, overload

from fastapi import Response
from pydantic import BaseModel

from isolet.access.rules import Access
from isolet.api.reply import Json, large, page_reply
from isolet.api.rows import route
from isolet.contract.examples import BODIES
from isolet.contract.models import Reply
from isolet.contract.operations import AnyOperation, Operation, Stream

Q = ParamSpec("Q")
R = TypeVar("R")
T = TypeVar("T")
_BINARY = {"type": "string", "format": "binary"}
_SCHEMAS = "#/components/schemas/"


@overload
def serve(
    operation: Operation[..., R], access: Access, **options: Any
) -> Callable[[Callable[Q, Awaitable[R | Response]]], Callable[Q, Awaitable[Response]]]: ...
@overload
def serve(
    operation: Stream[..., Any], access: Access, **options: Any
) -> Callable[[Callable[Q, Awaitable[Response]]], Callable[Q, Awaitable[Response]]]: ...
def serve(operation: AnyOperation, access: Access, **options: Any) -> Any:
    """`convertors` are names of convertors by those of parameters of the path; other options are the framework's."""
    path = operation.path
    for name, convertor in options.pop("convertors", {}).items():
        path = path.replace(f"{{{name}}}", f"{{{name}:{convertor}}}")

    def register(handler: Callable[Q, Awaitable[Any]]) -> Callable[Q, Awaitable[Response]]:
        extra = _described_besides(operation, handler)
        described = {
            "tags": [operation.tag],
            "operation_id": operation.id,
            "description": inspect.getdoc(operation),
            "status_code": operation.status,
            "openapi_extra": extra or None,
            **_reply_described(operation),
            **options,
        }

        @route(operation.method, path, access, **described)
        @wraps(handler)
        async def served(*args: Q.args, **kwargs: Q.kwargs) -> Response:
            reply = await handler(*args, **kwargs)
            if isinstance(reply, Response):
                return reply
            if reply is None:
                return Response(status_code=operation.status)
            return Json(reply.to_json(), status_code=operation.status)

        return served

    return register


def _described_besides(operation: AnyOperation, handler: Callable[..., Any]) -> dict[str, Any]:
    """What the framework does not see in the handler: headers, and a body that the handler reads itself."""
    found: dict[str, Any] = {}
    if operation.headers:
        text = {"type": "string"}
        names = operation.headers.values()
        found["parameters"] = [{"name": name, "in": "header", "required": False, "schema": text} for name in names]
    if operation.body is not None and "body" not in inspect.signature(handler).parameters:
        schema = operation.body.model_json_schema(ref_template=_SCHEMAS + "{model}")
        schema.pop("$defs", None)
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if operation.id in BODIES:
        body = found.setdefault("requestBody", {"content": {"application/json": {}}})
        body["content"]["application/json"]["example"] = BODIES[operation.id]
    return found


def _reply_described(operation: AnyOperation) -> Mapping[str, Any]:
    reply = operation.reply
    if isinstance(reply, type) and issubclass(reply, BaseModel):
        return {"response_model": reply}
    if reply is type(None):
        return {"response_model": None}
    content = {operation.media_type: {"schema": {"type": "string"} if reply is str else _BINARY}}
    return {"response_model": None, "response_class": Response, "responses": {operation.status: {"content": content}}}


async def page(shape: Callable[[T], Reply], items: Sequence[T], next_cursor: str | None) -> Response:
    """A `Page` of what `shape` makes of each item, made in a thread."""
    return await page_reply(lambda item: shape(item).to_json(), items, next_cursor)


async def large_reply(shape: Callable[[], Reply], status: int = 200) -> Response:
    """A reply that is large, made in a thread."""
    return await large(lambda: shape().to_json(), status)
