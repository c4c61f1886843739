"""Projects and API keys: create, list, change, delete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from isolet.clock import Clock
from isolet.database import access as stored_keys
from isolet.database import projects as stored
from isolet.database.connection import Database
from isolet.domain.access import Key, check_expiry, check_role, digest, new_key
from isolet.domain.changes import Change, KeyCreated, KeyDeleted, ProjectChanged, ProjectDeleted
from isolet.domain.egress_rules import check_egress
from isolet.domain.functions import check_text
from isolet.domain.project_limits import check_overrides, overridden
from isolet.domain.projects import DEFAULT_SLUG, Project, check_origins, check_plan, check_slug
from isolet.errors import Conflict, InvalidInput, NotFound
from isolet.ids import KeyId, ProjectId, new_id
from isolet.listeners import Listeners

NAME_MAX_CHARS = 255
_CHANGES = frozenset({"name", "plan", "allowed_origins", "limits", "egress_allow"})
# What a project takes of the server is the operator's to say.
OF_OPERATOR = frozenset({"plan", "limits"})


class Projects:
    """`on_delete` is awaited with the id of a project that is gone, so that others drop what they hold of it."""

    def __init__(
        self,
        *,
        database: Database,
        events: Listeners[Change],
        clock: Clock,
        on_delete: Callable[[ProjectId], Awaitable[None]],
        egress_networks: Sequence[str] = (),
        most_keys: Callable[[ProjectId], int | None] = lambda _: None,
    ) -> None:
        """`egress_networks` are those that the operator opened to functions."""
        self._egress_networks = egress_networks
        self._most_keys = most_keys
        self._database = database
        self._on_delete = on_delete
        self._events = events
        self._clock = clock

    async def ensure_default(self) -> Project:
        """The `default` project, made when it is not there."""
        try:
            return await self._default() or await self.create({"slug": DEFAULT_SLUG, "name": "Default"})
        except Conflict:
            # Another server that starts made it.
            if (project := await self._default()) is None:
                raise
            return project

    async def _default(self) -> Project | None:
        return await self._database.read(stored.find_project, DEFAULT_SLUG)

    async def create(self, values: Mapping[str, Any]) -> Project:
        """`values` hold slug and perhaps name, plan, allowed_origins, limits. Raises InvalidInput, Conflict."""
        slug = check_slug(values.get("slug"))
        project = Project(id=ProjectId(new_id()), slug=slug, name=slug, created_at_ms=self._clock.now_ms())
        project = self._changed(project, {name: value for name, value in values.items() if name != "slug"})
        await self._database.write(stored.insert_project, project)
        self._events.publish(ProjectChanged(project=project))
        return project

    async def list(self, *, limit: int, after: str | None = None) -> Sequence[Project]:
        """By slug, from behind `after`."""
        return await self._database.read(partial(stored.list_projects, after=after, limit=limit))

    async def update(self, project: Project, changes: Mapping[str, Any]) -> Project:
        """Raises InvalidInput, and NotFound for a project that was deleted meanwhile."""
        # Of the project as it is by now: somebody else may have changed another member.
        modify = partial(self._changed, changes=changes)
        after = await self._database.write(stored.modify_project, project.id, modify)
        self._events.publish(ProjectChanged(project=after))
        return after

    async def delete(self, project: Project) -> None:
        """The project with all it holds. Raises Conflict for `default`, which always exists, and NotFound."""
        if project.slug == DEFAULT_SLUG:
            raise Conflict("The default project cannot be deleted")
        await self._database.write(stored.delete_project, project.id)
        self._events.publish(ProjectDeleted(project=project))
        await self._on_delete(project.id)

    async def create_key(self, project: Project, values: Mapping[str, Any]) -> tuple[Key, str]:
        """The key's record and its text, which is not to be had again. Raises InvalidInput, LimitReached."""
        text, now_ms = new_key(), self._clock.now_ms()
        key = Key(
            id=KeyId(new_id()),
            project_id=project.id,
            name=check_text("name", values.get("name"), max_chars=NAME_MAX_CHARS),
            role=check_role(values.get("role")),
            digest=digest(text),
            created_at_ms=now_ms,
            expires_at_ms=check_expiry(values.get("expires_at"), now_ms),
        )
        gone = await self._database.write(stored_keys.insert_key, key, most=self._most_keys(project.id))
        for key_id in gone:
            self._events.publish(KeyDeleted(key_id=key_id))
        self._events.publish(KeyCreated(key=key))
        return key, text

    async def list_keys(self, project: Project, *, limit: int, after: KeyId | None = None) -> Sequence[Key]:
        """Oldest first, from behind `after`."""
        read = partial(stored_keys.list_keys, project_id=project.id, after=after, limit=limit)
        return await self._database.read(read)

    async def delete_key(self, project: Project, key_id: str) -> None:
        """The key is refused from now on. Raises NotFound."""
        if not await self._database.write(stored_keys.delete_key, project.id, KeyId(key_id)):
            raise NotFound("Key not found")
        self._events.publish(KeyDeleted(key_id=KeyId(key_id)))

    def _changed(self, project: Project, changes: Mapping[str, Any]) -> Project:
        unknown = sorted(changes.keys() - _CHANGES)
        if unknown:
            raise InvalidInput(f"{unknown[0]} cannot be set")
        values: dict[str, Any] = {}
        if "name" in changes:
            values["name"] = check_text("name", changes["name"], max_chars=NAME_MAX_CHARS)
        if "plan" in changes:
            values["plan"] = check_plan(changes["plan"])
        if "allowed_origins" in changes:
            values["allowed_origins"] = check_origins(changes["allowed_origins"])
        if "limits" in changes:
            values["limits"] = overridden(project.limits, check_overrides(changes["limits"]))
        if "egress_allow" in changes:
            values["egress_allow"] = check_egress(changes["egress_allow"], self._egress_networks)
        return replace(project, **values)
