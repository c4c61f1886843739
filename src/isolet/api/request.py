"""What management routes read from a request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.convertors import PathConvertor, StringConvertor, register_url_convertor

from isolet.api.asgi import Message, Receive, Scope, parse_json
from isolet.api.body import Body, JsonForm
from isolet.api.paths import unmarked
from isolet.errors import InvalidInput
from isolet.ids import ProjectId
from isolet.invoke.bodies import Bodies
from isolet.settings import Settings

# A function's code may be 1 MB; JSON may write each of its characters as six.
MANAGEMENT_BODY_MAX_BYTES = 8 * 1024 * 1024
# Parsing and validation hold the event loop for each value: some milliseconds for so many. The largest graph of a
# workflow (`isolet.domain.flows.graph.VALUES_MAX`) fits, with what stands around it.
MANAGEMENT_VALUES_MAX = 40_000


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
    """A route whose JSON body the framework parses: no more of it than a management request may have.

    `account` says whose body it is before it is read, and raises for who may send none.
    """

    @staticmethod
    def account(request: Request) -> ProjectId:
        raise NotImplementedError

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def handle_bounded(request: Request) -> Response:
            project_id = self.account(request)
            with open_body(request, project_id, limit=MANAGEMENT_BODY_MAX_BYTES) as body:
                whole = await body.whole(ParsedForm())
                return await handle(_ReadRequest(request.scope, whole, body))

        return handle_bounded


class _ReadRequest(Request):
    """A request whose body was read before the framework asks for it."""

    def __init__(self, scope: Scope, whole: bytes, body: Body) -> None:
        super().__init__(scope, _once(whole, body))
        self._whole = whole

    async def json(self) -> Any:
        """Raises RequestError also for what the framework's parser takes and nothing can write again."""
        return parse_json(self._whole)


class ParsedForm(JsonForm):
    """JSON that is parsed afterwards, which is the check of a small body that has few values."""

    def __init__(self) -> None:
        super().__init__(MANAGEMENT_VALUES_MAX)

    async def whole(self, body: bytes) -> bytes:
        # Those in strings count here, and the closer look passes over them.
        if sum(map(body.count, (b",", b"[", b"{"))) > MANAGEMENT_VALUES_MAX:
            await self._look_closely(body)
        return body


def _once(whole: bytes, body: Body) -> Receive:
    """What a framework receives when the body was read before it asked."""
    messages = [{"type": "http.request", "body": whole, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await body.gone()
        return {"type": "http.disconnect"}

    return receive


def open_body(request: Request, project_id: ProjectId, *, limit: int, too_large: str | None = None) -> Body:
    """To be read within a `with`. Raises TooLarge, in the words of `too_large` when they are given."""
    bodies: Bodies = request.app.state.bodies
    scope, receive = request.scope, request.receive
    return Body(scope, receive, limit=limit, bodies=bodies, project_id=project_id, too_large=too_large)


async def json_body(request: Request, settings: Settings, project_id: ProjectId) -> Any:
    """The parsed body of a caller who may send one for this project.

    Raises InvalidInput for none, RequestError for no JSON, TooLarge, TooManyRequests, Unavailable.
    """
    limit = min(MANAGEMENT_BODY_MAX_BYTES, settings.max_body_bytes)
    with open_body(request, project_id, limit=limit) as body:
        whole = await body.whole(ParsedForm())
        if not whole.strip():
            raise InvalidInput("the request needs a JSON body")
        return parse_json(whole)


def public_base(request: Request, settings: Settings) -> str:
    """The address that clients use: as set, else as this request came."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    return f"{request.url.scheme}://{request.url.netloc}"
