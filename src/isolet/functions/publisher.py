"""Make or change functions and deploy them: `publish` waits for the new version, `create` and `change` do not."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from isolet.clock import Clock
from isolet.compile import Compiler
from isolet.database import deleted
from isolet.database.connection import Database
from isolet.domain.agents import check_agent
from isolet.domain.functions import Function, check_code
from isolet.domain.triggers import Trigger, default_triggers
from isolet.errors import BuildFailed, Conflict, NotFound
from isolet.functions.deploy import Deployer, new_deployment
from isolet.functions.environment import Environments
from isolet.functions.service import Functions
from isolet.ids import FunctionId, ProjectId, new_id
from isolet.turns import Turns

_RESTORED = ("code", "description", "triggers", "agent")
# Each has its code in memory. One project never has all of the places.
_PLACES = 8
_WAITING_MAX = 32


class Release(Struct, frozen=True, kw_only=True):
    """What a deploy asks for. `values` is what `domain.functions.changed` takes; `environment` the whole, or None.

    `triggers` are the whole; without any those of before stay. `agent` are members to change.
    """

    name: str
    code: str
    values: Mapping[str, Any]
    triggers: Sequence[Trigger] | None = None
    agent: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] | None = None


class Publisher:
    """Functions of one name are made and deployed one after the other."""

    def __init__(
        self,
        *,
        database: Database,
        compiler: Compiler,
        functions: Functions,
        deployer: Deployer,
        environments: Environments,
        clock: Clock,
    ) -> None:
        self._database = database
        self._compiler = compiler
        self._functions = functions
        self._deployer = deployer
        self._environments = environments
        self._clock = clock
        self._turns = Turns(_PLACES, of_one=_PLACES - 1, waiting_max=_WAITING_MAX)
        self._locks: weakref.WeakValueDictionary[tuple[ProjectId, str], asyncio.Lock] = weakref.WeakValueDictionary()

    async def find(self, project_id: ProjectId, name: str, *, with_code: bool = False) -> Function:
        """By slug, else by name, then the oldest. Raises NotFound."""
        return await self._functions.find(project_id, name, with_code=with_code)

    async def publish(self, project_id: ProjectId, release: Release, *, created_by_id: str | None) -> Function:
        """The function with its new version live, and its code.

        Raises InvalidInput, BuildFailed, LimitReached, and TooManyRequests when too many of the project's deploys wait;
        then what was live is as before.
        """
        check_code(release.code)
        async with self._turns.take(project_id), self._lock(project_id, release.name):
            await self._compiler.compile(release.code, project_id)
            try:
                before: Function | None = await self.find(project_id, release.name, with_code=True)
            except NotFound:
                before = None
            if before is None:
                return await self._create(project_id, release, created_by_id)
            return await self._update(before, release)

    async def create(self, project_id: ProjectId, values: Mapping[str, Any]) -> Function:
        """A new function, whose first deploy goes on in the background. Both are on disk, or neither is.

        `values` is what `domain.functions.changed` takes, with a slug. Raises InvalidInput, LimitReached, and Conflict
        when a function of the project has that slug or name.
        """
        slug = values["slug"]
        async with self._lock(project_id, slug):
            if await self._is_taken(project_id, slug):
                raise Conflict("This function already exists")
            deployment = new_deployment(project_id, FunctionId(new_id()))
            function = await self._functions.create(
                project_id, values, function_id=deployment.function_id, deployment=deployment
            )
            self._deployer.start(deployment)
            return function

    async def change(self, before: Function, changes: Mapping[str, Any]) -> Function:
        """A function with other values, whose deploy goes on in the background. Raises InvalidInput, NotFound."""
        function = await self._functions.update(before.project_id, before.id, changes)
        await self._deployer.accept(function)
        return function

    async def delete(self, project_id: ProjectId, name: str) -> None:
        """Delete by name. A second deletion succeeds too. Raises NotFound for a name that no function had."""
        try:
            function = await self.find(project_id, name)
        except NotFound:
            if await self.deleted_id(project_id, name) is None:
                raise
            return
        await self._functions.delete(project_id, function.id)
        now_ms = self._clock.now_ms()
        await self._database.write(deleted.remember_deleted, project_id, function.name, function.id, now_ms)

    async def deleted_id(self, project_id: ProjectId, name: str) -> FunctionId | None:
        """The id of the function that had this name before it was deleted."""
        return await self._database.read(deleted.get_deleted, project_id, name)

    def _lock(self, project_id: ProjectId, name: str) -> asyncio.Lock:
        return self._locks.setdefault((project_id, name), asyncio.Lock())

    async def _is_taken(self, project_id: ProjectId, name: str) -> bool:
        try:
            await self.find(project_id, name)
        except NotFound:
            return False
        return True

    async def _create(self, project_id: ProjectId, release: Release, created_by_id: str | None) -> Function:
        values = {"name": release.name, **_values(release, None)}
        earlier = await self.deleted_id(project_id, release.name)
        function = await self._functions.create(project_id, values, created_by_id=created_by_id, function_id=earlier)
        try:
            if release.environment:
                await self._environments.replace(function, release.environment)
            function = await self._deploy(function)
        except BaseException:
            await asyncio.shield(self._functions.delete(project_id, function.id))
            raise
        await self._database.write(deleted.forget_deleted, project_id, release.name)
        return function

    async def _update(self, before: Function, release: Release) -> Function:
        environment = await self._environments.of_function(before)
        changed = release.environment is not None and dict(release.environment) != dict(environment.values)
        if release.environment is not None and changed:
            # First, since it may be refused.
            await self._environments.replace(before, release.environment)
        try:
            function = await self._functions.update(before.project_id, before.id, _values(release, before))
        except BaseException:
            if changed:
                await asyncio.shield(self._environments.replace(before, environment.values))
            raise
        try:
            return await self._deploy(function)
        except BuildFailed:
            restored = {name: getattr(before, name) for name in _RESTORED if getattr(before, name) is not None}
            restored["limits"] = before.limits.to_json()
            restored["sealed_triggers"] = before.sealed_triggers
            await self._functions.update(before.project_id, before.id, restored)
            if changed:
                await self._environments.replace(before, environment.values)
            raise

    async def _deploy(self, function: Function) -> Function:
        await (await self._deployer.accept(function))
        after = await self._functions.get(function.project_id, function.id)
        error = after.deploy_error
        if error is not None:
            raise BuildFailed(error.message, line=error.line, column=error.column, text=error.text, file=error.file)
        return after


def _values(release: Release, before: Function | None) -> dict[str, Any]:
    """What to change: members that the release leaves out stay as they are, or are the default where nothing is."""
    values: dict[str, Any] = {"code": release.code, **release.values}
    if release.triggers is not None:
        values["triggers"] = tuple(release.triggers)
    elif before is None or before.triggers is None:
        values["triggers"] = default_triggers(public=False)
    values["agent"] = check_agent({**((before and before.agent) or {}), **release.agent})
    return values
