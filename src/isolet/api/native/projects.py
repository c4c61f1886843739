"""The native API of projects, their keys, and the master key."""

from __future__ import annotations

from fastapi import Response
from msgspec import Struct

from isolet.access.rules import Access, OfKey, PathSlug
from isolet.api.native import shapes
from isolet.api.native.parameters import Limit, id_cursor, slug_cursor
from isolet.api.native.serving import page, serve
from isolet.api.rows import Granted, GrantedProject
from isolet.contract.keys import KeyCreate, Keys, NewKeyReply
from isolet.contract.master_key import MasterKey, MasterKeyRotation, RotationReply
from isolet.contract.projects import ProjectCreate, ProjectReply, Projects, ProjectUpdate
from isolet.domain.access import Role
from isolet.domain.projects import Project
from isolet.errors import Forbidden
from isolet.functions.master_keys import MasterKeys
from isolet.ids import KeyId
from isolet.projects import OF_OPERATOR
from isolet.projects import Projects as ProjectService
from isolet.projects.key_uses import KeyUses
from isolet.routing.routes import Routes

_ANY = Access(Role.READ, PathSlug())
_ADMIN = Access(Role.ADMIN, PathSlug())
_ROOT = Access(Role.ADMIN, PathSlug(), root=True)
_ROOT_ALONE = Access(Role.ADMIN, OfKey(), root=True)


class ProjectsDoor(Struct, frozen=True, kw_only=True):
    routes: Routes
    projects: ProjectService
    masters: MasterKeys
    key_uses: KeyUses

    @serve(Projects.create, _ROOT_ALONE)
    async def create_project(self, body: ProjectCreate) -> ProjectReply:
        return self._shown(await self.projects.create(body.model_dump(exclude_none=True)))

    @serve(Projects.list, Access(Role.READ, OfKey(every=True)))
    async def list_projects(self, grant: Granted, limit: Limit = 50, cursor: str | None = None) -> Response:
        """By slug. A project's key sees its own."""
        own = grant.found.project
        after = None if cursor is None else slug_cursor(cursor)
        if own is not None:
            shown = [own] if after is None or own.slug > after else []
            return await page(self._shown, shown, None)
        found = await self.projects.list(limit=limit + 1, after=after)
        following = found[limit - 1].slug if len(found) > limit else None
        return await page(self._shown, found[:limit], following)

    @serve(Projects.get, _ANY)
    async def get_project(self, project: GrantedProject) -> ProjectReply:
        return self._shown(project)

    @serve(Projects.update, _ADMIN)
    async def update_project(self, grant: Granted, body: ProjectUpdate) -> ProjectReply:
        """Change what is sent. `plan` and `limits` are the root key's."""
        changes = body.model_dump(exclude_unset=True)
        if not grant.principal.is_root and (refused := sorted(OF_OPERATOR & changes.keys())):
            raise Forbidden(f"{refused[0]} of a project needs the root key")
        return self._shown(await self.projects.update(grant.project, changes))

    @serve(Projects.delete, _ROOT)
    async def delete_project(self, project: GrantedProject) -> None:
        await self.projects.delete(project)

    @serve(Keys.create, _ADMIN)
    async def create_key(self, project: GrantedProject, body: KeyCreate) -> NewKeyReply:
        key, text = await self.projects.create_key(project, body.model_dump())
        return shapes.new_key_reply(key, text)

    @serve(Keys.list, _ADMIN)
    async def list_keys(self, project: GrantedProject, limit: Limit = 50, cursor: str | None = None) -> Response:
        after = None if cursor is None else KeyId(id_cursor(cursor))
        await self.key_uses.write()
        found = await self.projects.list_keys(project, limit=limit + 1, after=after)
        following = found[limit - 1].id if len(found) > limit else None
        return await page(shapes.key_reply, found[:limit], following)

    @serve(Keys.delete, _ADMIN)
    async def delete_key(self, project: GrantedProject, key_id: str) -> None:
        await self.projects.delete_key(project, key_id)

    @serve(MasterKey.rotate, _ROOT_ALONE)
    async def rotate_master_key(self, body: MasterKeyRotation) -> RotationReply:
        key_id, count = await self.masters.rotate(body.new_key)
        return RotationReply(key_id=key_id, data_keys=count)

    def _shown(self, project: Project) -> ProjectReply:
        return shapes.project_reply(project, self.routes.limits_of(project.id))
