"""What the native routes share: who asks, for which project, and pages of lists."""

from __future__ import annotations

import contextlib
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from isolet.access import rates
from isolet.access.credentials import Credentials, Source
from isolet.api.request import BoundedRoute
from isolet.clock import parse_iso
from isolet.domain.access import Principal, Role
from isolet.domain.project_limits import ProjectLimits
from isolet.domain.projects import Project, check_slug
from isolet.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from isolet.ids import FunctionId, ProjectId, is_uuid
from isolet.routing.routes import Route, Routes

PREFIX = "/isolet/v1"
_SOURCES = (Source.API_KEY, Source.BEARER)
Limit = Annotated[int, Query(ge=1, le=500)]
_BAD_CURSOR = "cursor is not one that this API gave"
_CURSOR_DIGITS = 9


def id_cursor(cursor: str) -> str:
    """A cursor that is an id. Raises InvalidInput."""
    if not is_uuid(cursor):
        raise InvalidInput(_BAD_CURSOR)
    return cursor.lower()


def slug_cursor(cursor: str) -> str:
    """A cursor that is a project's slug. Raises InvalidInput."""
    try:
        return check_slug(cursor)
    except InvalidInput:
        raise InvalidInput(_BAD_CURSOR) from None


def number_cursor(cursor: str) -> int:
    """A cursor that is a whole number. Raises InvalidInput."""
    if not (cursor.isascii() and cursor.isdigit()) or len(cursor) > _CURSOR_DIGITS:
        raise InvalidInput(_BAD_CURSOR)
    return int(cursor)


def time_ms(name: str, text: str | None) -> int | None:
    """A time in ISO 8601, or in milliseconds since the epoch. Raises InvalidInput."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text[:15])
    # In a query a plus that was not escaped arrives as a space.
    for written in (text, text.replace(" ", "+")):
        with contextlib.suppress(ValueError):
            return parse_iso(written)
    raise InvalidInput(f"{name} must be a time such as 2026-01-31T12:00:00Z, or milliseconds")


class NativeAccess:
    """`X-API-Key`, or `Authorization: Bearer` with a key."""

    def __init__(self, routes: Routes, credentials: Credentials) -> None:
        self._routes = routes
        self._credentials = credentials

    @property
    def default_project_id(self) -> ProjectId:
        return self._routes.default_project.id

    def limits_of(self, project_id: ProjectId) -> ProjectLimits:
        return self._routes.limits_of(project_id)

    def slug_of(self, project_id: ProjectId) -> str:
        return self._routes.slug_of(project_id)

    def slugs(self) -> dict[ProjectId, str]:
        """Of every project, by id."""
        return {project.id: project.slug for project in self._routes.projects()}

    def function_id(self, project_id: ProjectId, text: str) -> FunctionId:
        """A function of the project by its id, its slug or its name, slugs before names. Raises NotFound.

        An id is taken as it is: records and callbacks of a function that is gone are found by it.
        """
        if is_uuid(text):
            return FunctionId(text.lower())
        route = self._routes.named(project_id, text)
        if route is None:
            raise NotFound("Function not found")
        return route.function_id

    def route(self, function_id: str) -> Route | None:
        return self._routes.function(function_id.lower())

    def principal(self, request: Request) -> Principal:
        """Raises Unauthenticated, RateExceeded."""
        principal = self._credentials.require(request.scope["headers"], _SOURCES)
        rates.count(request.scope, principal.project_id)
        return principal

    def has_role(self, request: Request, project_id: ProjectId, role: Role) -> bool:
        """Whether the key of a request has that role in the project now."""
        try:
            self.principal(request).require(role, project_id)
        except (Unauthenticated, Forbidden, NotFound):
            return False
        return True

    def router(self, path: str = "") -> APIRouter:
        """For routes below `/isolet/v1`: a JSON body is bounded, and nothing it says is looked at without a key."""

        async def authenticated(request: Request) -> None:
            self.principal(request)

        class Bounded(BoundedRoute):
            account = staticmethod(self.account)

        return APIRouter(prefix=PREFIX + path, route_class=Bounded, dependencies=[Depends(authenticated)])

    def account(self, request: Request) -> ProjectId:
        """Whose budget a body counts against: the key's project, or `default`. Raises Unauthenticated."""
        return self.principal(request).project_id or self.default_project_id

    def root(self, request: Request) -> None:
        """Raises Forbidden for every key but the root key."""
        if not self.principal(request).is_root:
            raise Forbidden("This needs the root key")

    def own_project(self, request: Request) -> Project | None:
        """The project of the key; None for the root key, which has none. Raises Unauthenticated."""
        project_id = self.principal(request).project_id
        return None if project_id is None else self._routes.project_of(project_id)

    def project(self, request: Request, slug: str, role: Role) -> Project:
        """The project, for a key that has the role there. Raises NotFound, Forbidden."""
        principal = self.principal(request)
        project = self._routes.project(slug)
        if project is None:
            raise NotFound("Project not found")
        principal.require(role, project.id, missing="Project not found")
        return project
