"""Tables of routes: a method of a door is a route when a row says its path and who may call it.

`route` makes the row, `routes_of` the routes of a door. A row cannot be without an `Access`, and its check runs before
anything of the request's body is read. The handler gets the outcome by parameters of the types `Granted`,
`GrantedProject` and `GrantedFunction`.

The framework makes each route when it is first called or described: it takes a tenth of a second for all of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer
from msgspec import Struct
from starlette.routing import BaseRoute, Route

from isolet.access.authorization import Authorizer
from isolet.access.rules import Access, Grant
from isolet.api.asgi import Receive, Scope, Send
from isolet.api.request import BoundedRoute
from isolet.domain.functions import Function
from isolet.domain.projects import Project
from isolet.ids import ProjectId

Handler = TypeVar("Handler", bound=Callable[..., Any])
_ROW = "__row__"
_PLACE = "isolet.grant"
# For the pages only, so that a key can be given there; each row's check looks at credentials itself.
_DESCRIBED_KEYS = (Depends(APIKeyHeader(name="X-API-Key", auto_error=False)), Depends(HTTPBearer(auto_error=False)))


class Row(Struct, frozen=True, kw_only=True):
    """`path` is below the prefix of the table; `options` are those of the framework's routes."""

    method: str
    path: str
    access: Access
    options: Mapping[str, Any]


def route(method: str, path: str, access: Access, **options: Any) -> Callable[[Handler], Handler]:
    """Make a method of a door a route."""

    def mark(handler: Handler) -> Handler:
        setattr(handler, _ROW, Row(method=method, path=path, access=access, options=options))
        return handler

    return mark


def rows_of(door: type) -> Iterator[tuple[str, Row]]:
    """The names of methods with their rows, in the order in which they are written."""
    for name, member in vars(door).items():
        if (row := getattr(member, _ROW, None)) is not None:
            yield name, row


class LaterRoute(Route):
    """Knows its path and methods, and lets the rest be made once."""

    def __init__(
        self,
        path: str,
        handler: Callable[..., Any],
        *,
        methods: Sequence[str] = ("GET",),
        kind: type[APIRoute] = APIRoute,
        dependencies: Sequence[Any] = (),
        **options: Any,
    ) -> None:
        """`options` are those of the framework's route `kind`."""
        super().__init__(path, handler)
        # The framework's plain routes answer HEAD beside GET; those of an API have the methods that they say.
        self.methods = set(methods)
        needed = [*_DESCRIBED_KEYS, *dependencies]
        self._make = partial(kind, path, handler, methods=list(methods), dependencies=needed, **options)

    @cached_property
    def made(self) -> APIRoute:
        return self._make()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.made.handle(scope, receive, send)


def made(routes: Sequence[BaseRoute]) -> list[BaseRoute]:
    """All of them as the framework describes them."""
    return [route.made if isinstance(route, LaterRoute) else route for route in routes]


def routes_of(door: object, authorizer: Authorizer, prefix: str = "", *, tags: Sequence[str] = ()) -> list[LaterRoute]:
    """Every row of a door, below a prefix. `tags` are those of all its rows."""
    return [route_of(row, getattr(door, name), authorizer, prefix, tags=tags) for name, row in rows_of(type(door))]


def route_of(
    row: Row, handler: Callable[..., Any], authorizer: Authorizer, prefix: str = "", *, tags: Sequence[str] = ()
) -> LaterRoute:
    return LaterRoute(
        prefix + row.path,
        handler,
        methods=[row.method],
        kind=_checked(row.access, authorizer),
        dependencies=[Depends(_described(row.access))],
        **{**row.options, "tags": [*tags, *row.options.get("tags", ())]},
    )


def _checked(access: Access, authorizer: Authorizer) -> type[APIRoute]:
    class Checked(BoundedRoute):
        @staticmethod
        def account(request: Request) -> ProjectId:
            return authorizer.account(grant_of(request).principal)

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handle_checked(request: Request) -> Response:
                request.scope[_PLACE] = await authorizer.check(
                    access, request.scope, path=request.path_params, query=request.query_params
                )
                return await handle(request)

            return handle_checked

    return Checked


def _described(access: Access) -> Callable[..., Any]:
    """A dependency that reads nothing: the API's description names the parameters that the check reads."""

    async def described(**_: Any) -> None:
        pass

    kind = inspect.Parameter.KEYWORD_ONLY
    path = [inspect.Parameter(name, kind, annotation=str) for name in access.project.path]
    query = [inspect.Parameter(name, kind, annotation=str | None, default=None) for name in access.project.query]
    described.__signature__ = inspect.Signature([*path, *query])  # type: ignore[attr-defined]
    return described


def grant_of(request: Request) -> Grant:
    grant: Grant = request.scope[_PLACE]
    return grant


async def _grant(request: Request) -> Grant:
    return grant_of(request)


async def _project(request: Request) -> Project:
    return grant_of(request).project


async def _function(request: Request) -> Function:
    return grant_of(request).function


Granted = Annotated[Grant, Depends(_grant)]
GrantedProject = Annotated[Project, Depends(_project)]
GrantedFunction = Annotated[Function, Depends(_function)]
