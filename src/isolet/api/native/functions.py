"""The native API of functions and their versions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from fastapi import Response

from isolet.access.rules import Access, OfKey, PathFunction
from isolet.api.native import shapes
from isolet.api.native.parameters import Limit, id_cursor, number_cursor
from isolet.api.native.shapes import VersionNumber
from isolet.api.reply import Json, large, page_reply
from isolet.api.rows import Granted, GrantedFunction, GrantedProject, route
from isolet.domain.access import Role
from isolet.functions.deploy import Deployer
from isolet.functions.service import Functions
from isolet.ids import FunctionId

_DEPLOY = Access(Role.DEPLOY, PathFunction())
_READ = _DEPLOY.for_readers()
_LIST = Access(Role.DEPLOY, OfKey(slug="project")).for_readers()


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionsDoor:
    functions: Functions
    deployer: Deployer

    @route("GET", "/functions", _LIST, tags=["functions"])
    async def list_functions(self, project: GrantedProject, limit: Limit = 50, cursor: str | None = None) -> Response:
        after = None if cursor is None else FunctionId(id_cursor(cursor))
        found = await self.functions.list(project.id, limit=limit + 1, after=after)
        following = found[limit - 1].id if len(found) > limit else None
        return await page_reply(partial(shapes.function_object, project_slug=project.slug), found[:limit], following)

    @route("GET", "/functions/{function_id}", _READ, tags=["functions"])
    async def get_function(self, grant: Granted) -> Response:
        return Json(shapes.function_object(grant.function, grant.project.slug))

    @route("PATCH", "/functions/{function_id}", _DEPLOY, tags=["functions"])
    async def update_function(self, grant: Granted, body: shapes.FunctionUpdate) -> Response:
        changed = await self.functions.update(None, grant.function.id, body.changes())
        return Json(shapes.function_object(changed, grant.project.slug))

    @route("DELETE", "/functions/{function_id}", _DEPLOY, status_code=204, tags=["functions"])
    async def delete_function(self, function: GrantedFunction) -> Response:
        await self.functions.delete(None, function.id)
        return Response(status_code=204)

    @route("GET", "/functions/{function_id}/versions", _READ, tags=["functions"])
    async def list_versions(self, function: GrantedFunction, limit: Limit = 50, cursor: str | None = None) -> Response:
        before = None if cursor is None else number_cursor(cursor)
        found = await self.functions.versions(function.id, limit=limit + 1, before=before)
        following = str(found[limit - 1].number) if len(found) > limit else None
        return await page_reply(partial(shapes.version_object, live=function.version), found[:limit], following)

    @route("GET", "/functions/{function_id}/versions/{number}", _READ, tags=["functions"])
    async def get_version(self, function: GrantedFunction, number: VersionNumber) -> Response:
        version = await self.functions.version(function.id, number)
        return await large(lambda: shapes.version_detail(version, live=function.version))

    @route("POST", "/functions/{function_id}/rollback", _DEPLOY, tags=["functions"])
    async def roll_back(self, grant: Granted, body: shapes.Rollback) -> Response:
        return Json(
            shapes.function_object(await self.deployer.rollback(grant.function, body.version), grant.project.slug)
        )
