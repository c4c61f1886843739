"""The native API of projects, their keys, and the master key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Response

from isolet.access.rules import Access, OfKey, PathSlug
from isolet.api.native import shapes
from isolet.api.native.parameters import Limit, id_cursor, slug_cursor
from isolet.api.reply import page_reply
from isolet.api.rows import Granted, GrantedProject, route
from isolet.domain.access import Role
from isolet.domain.projects import Project
from isolet.errors import Forbidden
from isolet.functions.master_keys import MasterKeys
from isolet.ids import KeyId
from isolet.projects import OF_OPERATOR, Projects
from isolet.projects.key_uses import KeyUses
from isolet.routing.routes import Routes

_ANY = Access(Role.READ, PathSlug())
_ADMIN = Access(Role.ADMIN, PathSlug())
_ROOT = Access(Role.ADMIN, PathSlug(), root=True)
_ROOT_ALONE = Access(Role.ADMIN, OfKey(), root=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectsDoor:
    routes: Routes
    projects: Projects
    masters: MasterKeys
    key_uses: KeyUses

    @route("POST", "/projects", _ROOT_ALONE, status_code=201, tags=["projects"])
    async def create_project(self, body: shapes.ProjectCreate) -> dict[str, Any]:
        return self._shown(await self.projects.create(body.model_dump(exclude_none=True)))

    @route("GET", "/projects", Access(Role.READ, OfKey(every=True)), tags=["projects"])
    async def list_projects(self, grant: Granted, limit: Limit = 50, cursor: str | None = None) -> Response:
        """By slug. A project's key sees its own."""
        own = grant.found.project
        after = None if cursor is None else slug_cursor(cursor)
        if own is not None:
            shown = [own] if after is None or own.slug > after else []
            return await page_reply(self._shown, shown, None)
        found = await self.projects.list(limit=limit + 1, after=after)
        following = found[limit - 1].slug if len(found) > limit else None
        return await page_reply(self._shown, found[:limit], following)

    @route("GET", "/projects/{slug}", _ANY, tags=["projects"])
    async def get_project(self, project: GrantedProject) -> dict[str, Any]:
        return self._shown(project)

    @route("PATCH", "/projects/{slug}", _ADMIN, tags=["projects"])
    async def update_project(self, grant: Granted, body: shapes.ProjectUpdate) -> dict[str, Any]:
        """Change what is sent. `plan` and `limits` are the root key's."""
        changes = body.model_dump(exclude_unset=True)
        if not grant.principal.is_root and (refused := sorted(OF_OPERATOR & changes.keys())):
            raise Forbidden(f"{refused[0]} of a project needs the root key")
        return self._shown(await self.projects.update(grant.project, changes))

    @route("DELETE", "/projects/{slug}", _ROOT, status_code=204, tags=["projects"])
    async def delete_project(self, project: GrantedProject) -> Response:
        await self.projects.delete(project)
        return Response(status_code=204)

    @route("POST", "/projects/{slug}/keys", _ADMIN, status_code=201, tags=["keys"])
    async def create_key(self, project: GrantedProject, body: shapes.KeyCreate) -> dict[str, Any]:
        key, text = await self.projects.create_key(project, body.model_dump())
        return {**shapes.key_object(key), "key": text}

    @route("GET", "/projects/{slug}/keys", _ADMIN, tags=["keys"])
    async def list_keys(self, project: GrantedProject, limit: Limit = 50, cursor: str | None = None) -> Response:
        after = None if cursor is None else KeyId(id_cursor(cursor))
        await self.key_uses.write()
        found = await self.projects.list_keys(project, limit=limit + 1, after=after)
        following = found[limit - 1].id if len(found) > limit else None
        return await page_reply(shapes.key_object, found[:limit], following)

    @route("DELETE", "/projects/{slug}/keys/{key_id}", _ADMIN, status_code=204, tags=["keys"])
    async def delete_key(self, project: GrantedProject, key_id: str) -> Response:
        await self.projects.delete_key(project, key_id)
        return Response(status_code=204)

    @route("POST", "/master-key/rotate", _ROOT_ALONE, tags=["operation"])
    async def rotate_master_key(self, body: shapes.MasterKeyRotation) -> dict[str, Any]:
        key_id, count = await self.masters.rotate(body.new_key)
        return {"key_id": key_id, "data_keys": count}

    def _shown(self, project: Project) -> dict[str, Any]:
        return shapes.project_object(project, self.routes.limits_of(project.id))
