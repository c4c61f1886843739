"""Create, read, update and delete functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from isolet.clock import Clock
from isolet.domain.functions import DeployError, Function, FunctionStatus, ResponseMode, changed, slug_from
from isolet.domain.versions import Version
from isolet.errors import Conflict, InvalidInput, NotFound
from isolet.functions.events import FunctionEvents
from isolet.functions.releases import release_of
from isolet.functions.settling import Settling
from isolet.ids import FunctionId, ProjectId, new_id
from isolet.runtime.pool import Pool
from isolet.store import functions as stored
from isolet.store import versions as stored_versions
from isolet.store.database import Connection, Database

_REQUIRED = ("name", "code")


class Functions:
    """Every change is on disk, and known to the rest of the house, before a method returns."""

    def __init__(
        self, *, database: Database, pool: Pool, events: FunctionEvents, clock: Clock, settling: Settling
    ) -> None:
        self._settling = settling
        self._database = database
        self._pool = pool
        self._events = events
        self._clock = clock

    async def create(
        self,
        project_id: ProjectId,
        values: Mapping[str, Any],
        *,
        created_by_id: str | None = None,
        may_be_wrapped: bool = False,
        function_id: FunctionId | None = None,
    ) -> Function:
        """A draft from `values`, which hold what `domain.functions.changed` takes. Raises InvalidInput.

        Only a door that still makes them passes `may_be_wrapped`; `function_id` is that of a function that was deleted
        and comes back.
        """
        for name in _REQUIRED:
            if values.get(name) is None:
                raise InvalidInput(f"{name} is required")
        now = self._clock.now_ms()
        empty = Function(
            id=function_id or FunctionId(new_id()),
            project_id=project_id,
            name="",
            slug="",
            code="",
            response_mode=ResponseMode.WRAPPED if may_be_wrapped else ResponseMode.PASSTHROUGH,
            created_by_id=created_by_id,
            created_at_ms=now,
            updated_at_ms=now,
        )
        mode = values.get("response_mode") or ResponseMode.PASSTHROUGH
        draft = changed(empty, {**values, "response_mode": mode})
        function = await self._database.write(partial(_insert, draft=draft))
        self._events.put_function(function)
        return function

    async def get(self, project_id: ProjectId | None, function_id: str) -> Function:
        """A function of that project, or of any when None. Raises NotFound for another's as for none."""
        function = await self._database.read(stored.get_function, FunctionId(function_id))
        if project_id is not None and function.project_id != project_id:
            raise NotFound("Function not found")
        await self._settling.settled([function.id])
        return function

    async def list(
        self, project_id: ProjectId | None, *, limit: int | None = None, offset: int = 0
    ) -> Sequence[Function]:
        """Oldest first; without `limit` all of them."""
        functions = await self._database.read(stored.list_functions, project_id, limit=limit, offset=offset)
        await self._settling.settled(function.id for function in functions)
        return functions

    async def versions(self, function_id: FunctionId) -> Sequence[Version]:
        """Newest first."""
        return await self._database.read(stored_versions.list_versions, function_id)

    async def update(
        self,
        project_id: ProjectId | None,
        function_id: str,
        changes: Mapping[str, Any],
        *,
        lock_version: object = None,
    ) -> Function:
        """Apply `changes`; what is live stays live. Raises InvalidInput, NotFound, and Conflict for a stale lock."""
        if lock_version is not None and (isinstance(lock_version, bool) or not isinstance(lock_version, int)):
            raise InvalidInput("lock_version must be a whole number")

        def modify(before: Function) -> Function:
            if project_id is not None and before.project_id != project_id:
                raise NotFound("Function not found")
            if lock_version is not None and lock_version != before.lock_version:
                raise Conflict(
                    f"The function was changed meanwhile: lock_version is {before.lock_version}, not {lock_version}"
                )
            after = changed(before, changes)
            return replace(after, lock_version=before.lock_version + 1, updated_at_ms=self._clock.now_ms())

        before = await self._database.read(stored.get_function, FunctionId(function_id))
        function = await self._database.write(stored.modify_function, before.id, modify)
        self._events.put_function(function)
        if function.limits.memory_limit_mb != before.limits.memory_limit_mb:
            # The heap's limit is set as an instance starts: the next call starts one, the running ones finish.
            self._pool.retire(release_of(function))
        return function

    async def set_health(self, function_id: FunctionId, reason: str | None) -> None:
        """A live version does not start any more, or (None) does again; `status` says so until a deploy ends."""

        def modify(before: Function) -> Function:
            if reason is None:
                return replace(before, status=FunctionStatus.DEPLOYED, deploy_error=None)
            error = DeployError(message=f"The live version does not start: {reason}", at_ms=self._clock.now_ms())
            return replace(before, status=FunctionStatus.ERROR, deploy_error=error)

        try:
            function = await self._database.write(stored.modify_function, function_id, modify)
        except NotFound:
            return
        self._events.put_function(function)

    async def delete(self, project_id: ProjectId | None, function_id: str) -> None:
        """The function with its versions; running calls finish, records of calls stay. Raises NotFound."""
        function = await self.get(project_id, function_id)
        if not await self._database.write(stored.delete_function, function.id):
            raise NotFound("Function not found")
        self._events.drop_function(function.id)
        # Not only what was live as it was read: a deploy may have ended since.
        self._pool.retire_function(function.id)


def _insert(connection: Connection, draft: Function) -> Function:
    slug = draft.slug or stored.pick_slug(connection, draft.project_id, slug_from(draft.name))
    function = replace(draft, slug=slug)
    stored.insert_function(connection, function)
    return function
