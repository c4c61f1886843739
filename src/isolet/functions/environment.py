"""Environment variables of functions and of whole projects: read, merge, replace. A change is live on the next call."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from isolet.clock import Clock
from isolet.database import environment as stored
from isolet.database import functions as stored_functions
from isolet.database.code_sizes import Room, no_bound
from isolet.database.connection import Connection, Database
from isolet.database.projects import lock_project
from isolet.database.settings_sizes import note_settings
from isolet.domain.changes import Change, FunctionChanged
from isolet.domain.environment import MEMBER
from isolet.domain.functions import Function
from isolet.domain.variables import merged_variables
from isolet.functions.releases import environment_purpose, release_of
from isolet.functions.vault import Vault
from isolet.ids import ProjectId
from isolet.listeners import Listeners
from isolet.runtime.pool import Pool

# What is stored becomes the values after a change, and the same sealed.
_Merge = Callable[[stored.Stored | None], tuple[Mapping[str, Any], bytes]]


class Environment(Struct, frozen=True, kw_only=True):
    """`updated_at_ms` is None while nothing was ever set."""

    values: Mapping[str, Any]
    updated_at_ms: int | None


class Environments:
    def __init__(
        self,
        *,
        database: Database,
        vault: Vault,
        pool: Pool,
        events: Listeners[Change],
        clock: Clock,
        room: Room = no_bound,
    ) -> None:
        """`room` tells how many bytes the settings of a project's functions may take, with variables and secrets."""
        self._room = room
        self._database = database
        self._vault = vault
        self._pool = pool
        self._events = events
        self._clock = clock

    async def of_function(self, function: Function) -> Environment:
        found = await self._database.read(stored.get_function_environment, function.id)
        if found is not None:
            # Another server may have made the project's first key.
            await self._vault.load_missing(function.project_id)
        return self._open(function.project_id, found, function.id)

    async def of_project(self, project_id: ProjectId) -> Environment:
        found = await self._database.read(stored.get_project_environment, project_id)
        if found is not None:
            await self._vault.load_missing(project_id)
        return self._open(project_id, found, project_id)

    async def change(self, function: Function, changes: Mapping[str, Any], *, label: str = MEMBER) -> Environment:
        """Merge; a value of None deletes. Raises InvalidInput, which calls them `label`, LimitReached and NotFound."""
        await self._vault.prepare(function.project_id)
        now_ms = self._clock.now_ms()
        merge = partial(self._merged, function.project_id, function.id, changes, label)
        write = partial(_change, function=function, merge=merge, now_ms=now_ms, room=self._room)
        switched, values = await self._database.write(write)
        self._switch([switched])
        return Environment(values=values, updated_at_ms=now_ms)

    async def replace(self, function: Function, values: Mapping[str, Any]) -> Environment:
        """Set the whole of it. Raises NotFound, LimitReached."""
        sealed = await self._seal(function.project_id, values, function.id)
        now_ms = self._clock.now_ms()
        write = partial(_put, function=function, sealed=sealed, now_ms=now_ms, room=self._room)
        self._switch([await self._database.write(write)])
        return Environment(values=values, updated_at_ms=now_ms)

    async def change_project(
        self, project_id: ProjectId, changes: Mapping[str, str | None]
    ) -> tuple[Environment, Sequence[Function]]:
        """Merge into what every function of the project finds; the functions that it touched. Raises InvalidInput."""
        await self._vault.prepare(project_id)
        now_ms = self._clock.now_ms()
        merge = partial(self._merged, project_id, project_id, changes, MEMBER)
        write = partial(_change_project, project_id=project_id, merge=merge, now_ms=now_ms)
        switched, values = await self._database.write(write)
        self._switch(switched)
        return Environment(values=values, updated_at_ms=now_ms), [after for _, after in switched]

    def _merged(
        self,
        project_id: ProjectId,
        owner: str,
        changes: Mapping[str, Any],
        label: str,
        found: stored.Stored | None,
    ) -> tuple[Mapping[str, Any], bytes]:
        """The values, and the same sealed. In the transaction that writes them: another server may change them, too."""
        values = merged_variables(self._open(project_id, found, owner).values, changes, label)
        purpose = environment_purpose(owner)
        return values, self._vault.seal_now(project_id, json.dumps(dict(values)), purpose=purpose)

    async def _seal(self, project_id: ProjectId, values: Mapping[str, Any], owner: str) -> bytes:
        return await self._vault.seal(project_id, json.dumps(dict(values)), purpose=environment_purpose(owner))

    def _open(self, project_id: ProjectId, found: stored.Stored | None, owner: str) -> Environment:
        if found is None:
            return Environment(values={}, updated_at_ms=None)
        sealed, updated_at_ms = found
        text = self._vault.open_sealed(project_id, sealed, purpose=environment_purpose(owner))
        return Environment(values=json.loads(text), updated_at_ms=updated_at_ms)

    def _switch(self, switched: Sequence[tuple[Function, Function]]) -> None:
        """The next call runs on an instance with the new values; the one before drains."""
        for before, after in switched:
            self._events.publish(FunctionChanged(function=after))
            if before.version is not None:
                self._pool.retire(release_of(before))


def _put(
    connection: Connection, function: Function, sealed: bytes, now_ms: int, room: Room
) -> tuple[Function, Function]:
    switched = _bump(connection, stored_functions.get_function(connection, function.id, for_update=True), now_ms)
    stored.put_function_environment(connection, function.id, sealed, now_ms)
    note_settings(connection, function.id, room)
    return switched


def _change(
    connection: Connection, function: Function, merge: _Merge, now_ms: int, room: Room
) -> tuple[tuple[Function, Function], Mapping[str, Any]]:
    switched = _bump(connection, stored_functions.get_function(connection, function.id, for_update=True), now_ms)
    values, sealed = merge(stored.get_function_environment(connection, function.id))
    stored.put_function_environment(connection, function.id, sealed, now_ms)
    note_settings(connection, function.id, room)
    return switched, values


def _change_project(
    connection: Connection, project_id: ProjectId, merge: _Merge, now_ms: int
) -> tuple[list[tuple[Function, Function]], Mapping[str, Any]]:
    # Functions before their project, as everywhere.
    functions = stored_functions.list_functions(connection, project_id, for_update=True)
    lock_project(connection, project_id)
    values, sealed = merge(stored.get_project_environment(connection, project_id))
    stored.put_project_environment(connection, project_id, sealed, now_ms)
    return [_bump(connection, function, now_ms) for function in functions], values


def _bump(connection: Connection, before: Function, now_ms: int) -> tuple[Function, Function]:
    after = replace(before, env_revision=before.env_revision + 1, updated_at_ms=now_ms)
    stored_functions.replace_function(connection, after)
    return before, after
