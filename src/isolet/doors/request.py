"""What management routes read from a request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.convertors import PathConvertor, StringConvertor, register_url_convertor

from isolet.doors.http import Body, parse_json
from isolet.doors.paths import unmarked
from isolet.errors import InvalidInput
from isolet.settings import Settings

# A function's code may be 1 MB; JSON may write each of its characters as six.
MANAGEMENT_BODY_MAX_BYTES = 8 * 1024 * 1024


class _Part(StringConvertor):
    def convert(self, value: str) -> str:
        return unmarked(value)


class Parts(PathConvertor):
    """The rest of a path, with its slashes as they read."""

    def convert(self, value: str) -> str:
        return unmarked(value)


# Before any route is made: each looks its convertors up then.
register_url_convertor("str", _Part())
register_url_convertor("path", Parts())


class BoundedRoute(APIRoute):
    """A route whose JSON body the framework reads: no more of it than a management request may have."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def handle_bounded(request: Request) -> Response:
            body = Body(request.scope, request.receive, limit=MANAGEMENT_BODY_MAX_BYTES)
            return await handle(Request(request.scope, body.message))

        return handle_bounded


async def json_body(request: Request, settings: Settings) -> Any:
    """The parsed body. Raises InvalidInput for none, RequestError for no JSON, TooLarge."""
    limit = min(MANAGEMENT_BODY_MAX_BYTES, settings.max_body_bytes)
    body = await Body(request.scope, request.receive, limit=limit).read()
    if not body.strip():
        raise InvalidInput("the request needs a JSON body")
    return parse_json(body)


def public_base(request: Request, settings: Settings) -> str:
    """The address that clients use: as set, else as this request came."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    return f"{request.url.scheme}://{request.url.netloc}"
