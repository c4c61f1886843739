"""The native API under `/isolet/v1`: projects, keys, functions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from isolet.api.native import shapes
from isolet.api.native.access import Limit, NativeAccess, id_cursor, number_cursor, slug_cursor
from isolet.api.native.shapes import VersionNumber
from isolet.api.reply import Json, large, page_reply
from isolet.domain.access import Role
from isolet.domain.functions import Function
from isolet.domain.projects import Project
from isolet.functions.deploy import Deployer
from isolet.functions.master_keys import MasterKeys
from isolet.functions.service import Functions
from isolet.ids import FunctionId, KeyId
from isolet.projects import Projects


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeDoor:
    access: NativeAccess
    projects: Projects
    functions: Functions
    deployer: Deployer
    masters: MasterKeys

    def router(self) -> APIRouter:
        router = self.access.router()
        self._add_projects(router)
        self._add_functions(router)
        self._add_operation(router)
        return router

    def _add_projects(self, router: APIRouter) -> None:
        @router.post("/projects", status_code=201, tags=["projects"])
        async def create_project(request: Request, body: shapes.ProjectCreate) -> dict[str, Any]:
            self.access.root(request)
            return self._project_shown(await self.projects.create(body.model_dump(exclude_none=True)))

        @router.get("/projects", tags=["projects"])
        async def list_projects(request: Request, limit: Limit = 50, cursor: str | None = None) -> Response:
            """By slug. A project's key sees its own."""
            own = self.access.own_project(request)
            after = None if cursor is None else slug_cursor(cursor)
            if own is not None:
                shown = [own] if after is None or own.slug > after else []
                return await page_reply(self._project_shown, shown, None)
            found = await self.projects.list(limit=limit + 1, after=after)
            following = found[limit - 1].slug if len(found) > limit else None
            return await page_reply(self._project_shown, found[:limit], following)

        @router.get("/projects/{slug}", tags=["projects"])
        async def get_project(request: Request, slug: str) -> dict[str, Any]:
            return self._project_shown(self.access.project(request, slug, Role.INVOKE))

        @router.patch("/projects/{slug}", tags=["projects"])
        async def update_project(request: Request, slug: str, body: shapes.ProjectUpdate) -> dict[str, Any]:
            self.access.root(request)
            project = self.access.project(request, slug, Role.ADMIN)
            changes = body.model_dump(exclude_unset=True)
            return self._project_shown(await self.projects.update(project, changes))

        @router.delete("/projects/{slug}", status_code=204, tags=["projects"])
        async def delete_project(request: Request, slug: str) -> Response:
            self.access.root(request)
            project = self.access.project(request, slug, Role.ADMIN)
            await self.projects.delete(project)
            return Response(status_code=204)

        @router.post("/projects/{slug}/keys", status_code=201, tags=["keys"])
        async def create_key(request: Request, slug: str, body: shapes.KeyCreate) -> dict[str, Any]:
            project = self.access.project(request, slug, Role.ADMIN)
            key, text = await self.projects.create_key(project, body.model_dump())
            return {**shapes.key_object(key), "key": text}

        @router.get("/projects/{slug}/keys", tags=["keys"])
        async def list_keys(request: Request, slug: str, limit: Limit = 50, cursor: str | None = None) -> Response:
            project = self.access.project(request, slug, Role.ADMIN)
            after = None if cursor is None else KeyId(id_cursor(cursor))
            found = await self.projects.list_keys(project, limit=limit + 1, after=after)
            following = found[limit - 1].id if len(found) > limit else None
            return await page_reply(shapes.key_object, found[:limit], following)

        @router.delete("/projects/{slug}/keys/{key_id}", status_code=204, tags=["keys"])
        async def delete_key(request: Request, slug: str, key_id: str) -> Response:
            await self.projects.delete_key(self.access.project(request, slug, Role.ADMIN), key_id)
            return Response(status_code=204)

    def _add_functions(self, router: APIRouter) -> None:
        @router.get("/functions", tags=["functions"])
        async def list_functions(
            request: Request, project: str | None = None, limit: Limit = 50, cursor: str | None = None
        ) -> Response:
            principal = self.access.principal(request)
            if project is not None:
                project_id = self.access.project(request, project, Role.DEPLOY).id
            else:
                project_id = principal.project_id or self.access.default_project_id
                principal.require(Role.DEPLOY, project_id)
            after = None if cursor is None else FunctionId(id_cursor(cursor))
            found = await self.functions.list(project_id, limit=limit + 1, after=after)
            following = found[limit - 1].id if len(found) > limit else None
            return await page_reply(self._shown, found[:limit], following)

        @router.get("/functions/{function_id}", tags=["functions"])
        async def get_function(request: Request, function_id: str) -> Response:
            return Json(self._shown(await self._function(request, function_id)))

        @router.patch("/functions/{function_id}", tags=["functions"])
        async def update_function(request: Request, function_id: str, body: shapes.FunctionUpdate) -> Response:
            function = await self._function(request, function_id)
            return Json(self._shown(await self.functions.update(None, function.id, body.changes())))

        @router.delete("/functions/{function_id}", status_code=204, tags=["functions"])
        async def delete_function(request: Request, function_id: str) -> Response:
            function = await self._function(request, function_id)
            await self.functions.delete(None, function.id)
            return Response(status_code=204)

        @router.get("/functions/{function_id}/versions", tags=["functions"])
        async def list_versions(
            request: Request, function_id: str, limit: Limit = 50, cursor: str | None = None
        ) -> Response:
            function = await self._function(request, function_id)
            before = None if cursor is None else number_cursor(cursor)
            found = await self.functions.versions(function.id, limit=limit + 1, before=before)
            following = str(found[limit - 1].number) if len(found) > limit else None
            return await page_reply(partial(shapes.version_object, live=function.version), found[:limit], following)

        @router.get("/functions/{function_id}/versions/{number}", tags=["functions"])
        async def get_version(request: Request, function_id: str, number: VersionNumber) -> Response:
            function = await self._function(request, function_id)
            version = await self.functions.version(function.id, number)
            return await large(lambda: shapes.version_detail(version, live=function.version))

        @router.post("/functions/{function_id}/rollback", tags=["functions"])
        async def roll_back(request: Request, function_id: str, body: shapes.Rollback) -> Response:
            function = await self._function(request, function_id)
            return Json(self._shown(await self.deployer.rollback(function, body.version)))

    def _add_operation(self, router: APIRouter) -> None:
        @router.post("/master-key/rotate", tags=["operation"])
        async def rotate_master_key(request: Request, body: shapes.MasterKeyRotation) -> dict[str, Any]:
            self.access.root(request)
            key_id, count = await self.masters.rotate(body.new_key)
            return {"key_id": key_id, "data_keys": count}

    async def _function(self, request: Request, function_id: str) -> Function:
        principal = self.access.principal(request)
        function = await self.functions.get(principal.project_id, function_id.lower())
        principal.require(Role.DEPLOY, function.project_id, missing="Function not found")
        return function

    def _project_shown(self, project: Project) -> dict[str, Any]:
        return shapes.project_object(project, self.access.limits_of(project.id))

    def _shown(self, function: Function) -> dict[str, Any]:
        return shapes.function_object(function, self.access.slug_of(function.project_id))
