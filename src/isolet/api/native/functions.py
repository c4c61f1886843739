"""The native API of functions and their versions."""

from __future__ import annotations

from functools import partial

from fastapi import Response
from msgspec import Struct

from isolet.access.rules import Access, OfKey, PathFunction, PathSlug
from isolet.api.native import shapes
from isolet.api.native.parameters import Limit, Text, id_cursor, number_cursor
from isolet.api.native.serving import large_reply, page, serve
from isolet.api.rows import Granted, GrantedFunction, GrantedProject
from isolet.contract.functions import (
    FunctionOverviewReply,
    FunctionReply,
    Functions,
    FunctionUpdate,
    Rollback,
    VersionNumber,
)
from isolet.domain.access import Role
from isolet.domain.functions import Function
from isolet.functions.deploy import Deployer
from isolet.functions.service import Functions as FunctionService
from isolet.ids import FunctionId
from isolet.observe.series import Series

_DEPLOY = Access(Role.DEPLOY, PathFunction())
_READ = _DEPLOY.for_readers()
_OVERVIEW = Access(Role.DEPLOY, PathSlug()).for_readers()
_LIST = Access(Role.DEPLOY, OfKey(slug="project")).for_readers()


class FunctionsDoor(Struct, frozen=True, kw_only=True):
    functions: FunctionService
    deployer: Deployer
    series: Series

    @serve(Functions.list, _LIST)
    async def list_functions(self, project: GrantedProject, limit: Limit = 50, cursor: str | None = None) -> Response:
        after = None if cursor is None else FunctionId(id_cursor(cursor))
        found = await self.functions.list(project.id, limit=limit + 1, after=after)
        following = found[limit - 1].id if len(found) > limit else None
        return await page(partial(shapes.function_reply, project_slug=project.slug), found[:limit], following)

    @serve(Functions.overview, _OVERVIEW)
    async def overview(
        self, project: GrantedProject, q: Text = None, limit: Limit = 50, cursor: str | None = None
    ) -> Response:
        """The functions of a project with what each did in the last day."""
        after = None if cursor is None else FunctionId(id_cursor(cursor))
        found = await self.functions.overview(project.id, limit=limit + 1, after=after, text=q)
        following = found[limit - 1][0].id if len(found) > limit else None
        shown = found[:limit]
        glances = await self.series.glances([function.id for function, _ in shown])

        def shape(one: tuple[Function, int]) -> FunctionOverviewReply:
            function, schedules = one
            return shapes.function_overview_reply(function, project.slug, glances[function.id], schedules=schedules)

        return await page(shape, shown, following)

    @serve(Functions.get, _READ)
    async def get_function(self, grant: Granted) -> FunctionReply:
        return shapes.function_reply(grant.function, grant.project.slug)

    @serve(Functions.update, _DEPLOY)
    async def update_function(self, grant: Granted, body: FunctionUpdate) -> FunctionReply:
        changed = await self.functions.update(None, grant.function.id, shapes.changes_of(body))
        return shapes.function_reply(changed, grant.project.slug)

    @serve(Functions.delete, _DEPLOY)
    async def delete_function(self, function: GrantedFunction) -> None:
        await self.functions.delete(None, function.id)

    @serve(Functions.list_versions, _READ)
    async def list_versions(self, function: GrantedFunction, limit: Limit = 50, cursor: str | None = None) -> Response:
        before = None if cursor is None else number_cursor(cursor)
        found = await self.functions.versions(function.id, limit=limit + 1, before=before)
        following = str(found[limit - 1].number) if len(found) > limit else None
        return await page(partial(shapes.version_reply, live=function.version), found[:limit], following)

    @serve(Functions.get_version, _READ)
    async def get_version(self, function: GrantedFunction, number: VersionNumber) -> Response:
        version = await self.functions.version(function.id, number)
        return await large_reply(lambda: shapes.version_detail_reply(version, live=function.version))

    @serve(Functions.roll_back, _DEPLOY)
    async def roll_back(self, grant: Granted, body: Rollback) -> FunctionReply:
        return shapes.function_reply(await self.deployer.rollback(grant.function, body.version), grant.project.slug)
