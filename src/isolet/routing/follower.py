"""Follows what other servers change in a shared database, so that this one's memory keeps up with it.

A server's own changes reach its memory at once, by events; this repairs what has no event here, and logs each repair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from isolet.database import functions as stored_functions
from isolet.database.changes import Marks, read_marks
from isolet.database.connection import Database
from isolet.domain.changes import (
    Change,
    FunctionChanged,
    FunctionDeleted,
    FunctionDeployed,
    KeyCreated,
    KeyDeleted,
    ProjectChanged,
    ProjectDeleted,
)
from isolet.domain.functions import Function
from isolet.domain.projects import Project
from isolet.errors import IsoletError, NotFound
from isolet.functions.vault import Vault
from isolet.identity.identity import Identities
from isolet.ids import FunctionId, ProjectId
from isolet.listeners import Listeners
from isolet.projects.tokens import Tokens
from isolet.routing.routes import Route, Routes
from isolet.runtime.pool import Pool
from isolet.telemetry import get_logger

log = get_logger("follower")

_EVERY_S = 1.0


class Follower:
    """`events` are told of what other servers changed, the routes among them.

    `on_project_gone` drops what this server holds of a project.
    """

    def __init__(
        self,
        *,
        database: Database,
        routes: Routes,
        events: Listeners[Change],
        pool: Pool,
        vault: Vault,
        identities: Identities,
        tokens: Tokens,
        on_project_gone: Callable[[ProjectId], Awaitable[None]],
    ) -> None:
        self._database = database
        self._routes = routes
        self._events = events
        self._pool = pool
        self._vault = vault
        self._identities = identities
        self._tokens = tokens
        self._on_project_gone = on_project_gone
        self._seen: Marks | None = None

    async def begin(self) -> None:
        """To be called before the routes are loaded, so that nothing that changes meanwhile is missed."""
        if self._database.shared:
            self._seen = await self._database.read(read_marks)

    async def run(self) -> None:
        """The background loop; ends by cancellation. On a database of this server's own there is nothing to follow."""
        while self._database.shared:
            await asyncio.sleep(_EVERY_S)
            try:
                await self.look()
            except IsoletError as exc:
                log.error("cannot see what other servers changed", error=exc.message)

    async def find(self, function_id: str) -> Route | None:
        """A function's route as the database has it now; None when it is gone."""
        if self._database.shared:
            await self._load(FunctionId(function_id), self._routes.function(function_id))
        return self._routes.function(function_id)

    async def look(self) -> None:
        # What is put into the routes while the database is read is newer than what was read.
        functions, projects, keys = self._routes.functions, self._routes.projects_by_slug, self._routes.keys
        marks = await self._database.read(read_marks)
        before, self._seen = self._seen, marks
        await self._follow_projects(marks, projects)
        for key in marks.keys.values():
            if key.digest not in keys:
                self._events.publish(KeyCreated(key=key))
        for digest, key in keys.items():
            if digest not in marks.keys:
                self._events.publish(KeyDeleted(key_id=key.id))
        for function_id, mark in marks.functions.items():
            if before is None or before.functions.get(function_id) != mark:
                await self._load(function_id, functions.get(function_id))
        for route in functions.values():
            if route.function_id not in marks.functions:
                self._drop(route)
        if before is None or before.token_settings != marks.token_settings:
            await self._vault.load_missing()
            await self._identities.load()
        if before is None or before.oauth_tokens != marks.oauth_tokens:
            await self._tokens.load()

    async def _follow_projects(self, marks: Marks, known: Mapping[str, Project]) -> None:
        for slug, project in marks.projects.items():
            before = known.get(slug)
            if before != project and self._routes.project(slug) is before:
                if before is not None and before.id != project.id:
                    await self._drop_project(before)
                self._events.publish(ProjectChanged(project=project))
        for slug in known.keys() - marks.projects.keys():
            gone = self._routes.project(slug)
            if gone is not None and gone is known[slug]:
                await self._drop_project(gone)

    async def _drop_project(self, project: Project) -> None:
        log.info("another server deleted a project", project=project.slug)
        self._events.publish(ProjectDeleted(project=project))
        await self._on_project_gone(project.id)

    async def _load(self, function_id: FunctionId, before: Route | None) -> None:
        """Take a function over from the database, unless it changed here meanwhile."""
        try:
            function = await self._database.read(stored_functions.get_function, function_id)
        except NotFound:
            return
        if self._routes.function(function_id) is not before:
            return
        self._events.publish(_change(before, function))
        after = self._routes.function(function_id)
        if before is None or before == after or after is None:
            return
        log.info("another server changed a function", function_id=function_id, version=function.version)
        if (before.release, before.limits.memory_limit_mb) != (after.release, after.limits.memory_limit_mb):
            self._pool.retire(before.release)

    def _drop(self, route: Route) -> None:
        if self._routes.function(route.function_id) is route:
            log.info("another server deleted a function", function_id=route.function_id)
            self._events.publish(FunctionDeleted(function_id=route.function_id, project_id=route.project_id))
            self._pool.retire(route.release)


def _change(before: Route | None, function: Function) -> FunctionChanged:
    was = None if before is None else before.version
    if function.version is not None and function.version != was:
        return FunctionDeployed(function=function)
    return FunctionChanged(function=function)
