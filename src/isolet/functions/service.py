"""Create, read, update and delete functions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from isolet.clock import Clock
from isolet.database import functions as stored
from isolet.database import leftovers as stored_leftovers
from isolet.database import schedules as stored_schedules
from isolet.database import secrets as stored_secrets
from isolet.database import stores as stored_stores
from isolet.database import versions as stored_versions
from isolet.database.code_sizes import Room, check_room, code_bytes, no_bound
from isolet.database.connection import Connection, Database
from isolet.database.settings_sizes import note_settings
from isolet.domain.changes import Change, FunctionChanged, FunctionDeleted
from isolet.domain.functions import Function, ResponseMode, changed, slug_from
from isolet.domain.public_routes import HostNames
from isolet.domain.schedules import TRIGGER_NAME
from isolet.domain.stores import check_free, named_stores
from isolet.domain.triggers import CronTrigger
from isolet.domain.versions import Deployment, Version, VersionSummary
from isolet.errors import Conflict, InvalidInput, NotFound
from isolet.functions import private_settings
from isolet.functions.pending_changes import PendingChanges
from isolet.functions.releases import release_of
from isolet.functions.tool_checks import ToolChecks
from isolet.functions.vault import Vault
from isolet.ids import FunctionId, ProjectId, new_id
from isolet.listeners import Listeners
from isolet.runtime.pool import Pool

_REQUIRED = ("name", "code")
# Of functions with their code, 1 MB each, no more than this at once.
_BATCH = 4


class Functions:
    """Every change is on disk, and known to every listener, before a method returns."""

    def __init__(
        self,
        *,
        database: Database,
        pool: Pool,
        events: Listeners[Change],
        clock: Clock,
        settling: PendingChanges,
        vault: Vault,
        most: Callable[[ProjectId], int | None] = lambda _: None,
        most_schedules: Callable[[ProjectId], int | None] = lambda _: None,
        code_room: Room = no_bound,
        settings_room: Room = no_bound,
        hosts: HostNames | None = None,
        checks: ToolChecks | None = None,
    ) -> None:
        """`most` tells how many functions a project may have, `most_schedules` how many schedules, those of functions'
        own triggers among them; `code_room` and `settings_room` how many bytes their code and their settings may take;
        `hosts` which names a function may claim.
        """
        self._code_room = code_room
        self._settings_room = settings_room
        self._checks = checks or ToolChecks()
        self._hosts = hosts or HostNames()
        self._most = most
        self._most_schedules = most_schedules
        self._settling = settling
        self._vault = vault
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
        deployment: Deployment | None = None,
    ) -> Function:
        """A draft from `values`, which hold what `domain.functions.changed` takes. Raises InvalidInput, LimitReached.

        Only an API that still makes them passes `may_be_wrapped`. `function_id` is that of a function that was deleted
        and comes back. `deployment` is kept in the same transaction; then `function_id` is the one that it names.
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
        await self._checks.schemas(project_id, values)
        values = await private_settings.seal(self._vault, empty, values)
        mode = values.get("response_mode") or ResponseMode.PASSTHROUGH
        draft = changed(empty, {**values, "response_mode": mode})
        self._hosts.check_free(draft.hosts or ())
        # One that comes back waits until the rows of the one before are gone.
        while function_id is not None and await self._database.read(stored_leftovers.is_left, function_id):
            await self._database.write(stored_leftovers.delete_some, function_id)
        insert = partial(
            _insert,
            draft=draft,
            most=self._most(project_id),
            most_schedules=self._most_schedules(project_id),
            room=self._code_room,
            settings_room=self._settings_room,
            deployment=deployment,
            now_ms=now,
        )
        function = await self._database.write(insert)
        self._events.publish(FunctionChanged(function=function))
        return function

    async def get(self, project_id: ProjectId | None, function_id: str, *, with_code: bool = False) -> Function:
        """A function of that project, or of any when None. Raises NotFound for another's as for none."""
        read = partial(stored.get_function, function_id=FunctionId(function_id), with_code=with_code)
        function = await self._database.read(read)
        if project_id is not None and function.project_id != project_id:
            raise NotFound("Function not found")
        await self._settling.settled([function.id])
        return function

    async def find(self, project_id: ProjectId, name: str, *, with_code: bool = False) -> Function:
        """By slug, else by name, then the oldest. Raises NotFound."""
        read = partial(stored.find_function, project_id=project_id, name=name, with_code=with_code)
        function = await self._database.read(read)
        await self._settling.settled([function.id])
        return function

    async def list(
        self,
        project_id: ProjectId | None,
        *,
        limit: int,
        offset: int = 0,
        after: FunctionId | None = None,
        text: str | None = None,
        with_code: bool = False,
    ) -> Sequence[Function]:
        """Oldest first, from behind `after`; those only that have `text` in their name or slug."""
        read = partial(
            stored.list_functions,
            project_id=project_id,
            limit=limit,
            offset=offset,
            after=after,
            text=text,
            with_code=with_code,
        )
        functions = await self._database.read(read)
        await self._settling.settled(function.id for function in functions)
        return functions

    async def overview(
        self, project_id: ProjectId, *, limit: int, after: FunctionId | None, text: str | None
    ) -> Sequence[tuple[Function, int]]:
        """As `list`, each with how many schedules of it are on."""
        found = await self._database.read(stored.list_with_schedules, project_id, limit=limit, after=after, text=text)
        await self._settling.settled(function.id for function, _ in found)
        return found

    async def door_envs(self, functions: Sequence[Function]) -> Callable[[Function], Mapping[str, str]]:
        """What opens the `env` among the door settings of any of these functions. It may be called in a thread."""
        for project_id in {function.project_id for function in functions if function.sealed_env}:
            await self._vault.load_missing(project_id)
        return partial(private_settings.door_env, self._vault)

    async def runs(self, function: Function, name: str = TRIGGER_NAME) -> tuple[int | None, int | None]:
        """When the schedule of its own trigger fires next, and when it did last, in milliseconds; None for never."""
        found = await self._database.read(stored_schedules.of_functions, [function.id])
        for schedule in found.get(function.id, ()):
            if schedule.name == name:
                return schedule.next_fire_ms, schedule.last_due_ms
        return None, None

    async def names(self, project_id: ProjectId) -> Sequence[tuple[str, FunctionId]]:
        """The name and id of each function of a project, by name."""
        return await self._database.read(stored.list_names, project_id)

    async def several(self, ids: Sequence[FunctionId]) -> Sequence[Function]:
        """Those that are there, in the order of `ids`."""
        functions = await self._database.read(stored.get_functions, ids)
        await self._settling.settled(ids)
        return functions

    async def each(self, project_id: ProjectId) -> AsyncIterator[Sequence[Function]]:
        """Every function with its code, oldest first, a few at a time."""
        after: FunctionId | None = None
        while found := await self.list(project_id, limit=_BATCH, after=after, with_code=True):
            yield found
            after = found[-1].id

    async def versions(
        self, function_id: FunctionId, *, limit: int, before: int | None = None
    ) -> Sequence[VersionSummary]:
        """Newest first, from below the number `before`."""
        read = partial(stored_versions.list_versions, function_id=function_id, limit=limit, before=before)
        return await self._database.read(read)

    async def version(self, function_id: FunctionId, number: int) -> Version:
        """Raises NotFound."""
        return await self._database.read(stored_versions.get_version, function_id, number)

    async def update(
        self,
        project_id: ProjectId | None,
        function_id: str,
        changes: Mapping[str, Any],
        *,
        lock_version: object = None,
        with_code: bool = False,
    ) -> Function:
        """Apply `changes`; what is live stays live.

        Raises InvalidInput, NotFound, LimitReached, and Conflict for a stale lock.
        """
        if lock_version is not None and (isinstance(lock_version, bool) or not isinstance(lock_version, int)):
            raise InvalidInput("lock_version must be a whole number")

        before = await self._database.read(stored.get_function, FunctionId(function_id))
        await self._checks.schemas(before.project_id, changes)
        sealed = await private_settings.seal(self._vault, before, changes)

        def modify(before: Function) -> Function:
            if project_id is not None and before.project_id != project_id:
                raise NotFound("Function not found")
            if lock_version is not None and lock_version != before.lock_version:
                raise Conflict(
                    f"The function was changed meanwhile: lock_version is {before.lock_version}, not {lock_version}"
                )
            after = changed(before, sealed)
            if "hosts" in sealed:
                self._hosts.check_free(after.hosts or ())
            # What it is bound to is part of what an instance runs.
            revision = before.env_revision + (after.bindings != before.bindings)
            now_ms = self._clock.now_ms()
            return replace(after, env_revision=revision, lock_version=before.lock_version + 1, updated_at_ms=now_ms)

        write = partial(
            _update,
            function_id=before.id,
            modify=modify,
            with_code=with_code,
            most_schedules=self._most_schedules(before.project_id),
            room=self._code_room,
            settings_room=self._settings_room,
        )
        earlier, function = await self._database.write(write)
        self._events.publish(FunctionChanged(function=function))
        if function.bindings != earlier.bindings:
            self._pool.retire(release_of(earlier))
        if function.limits.memory_limit_mb != before.limits.memory_limit_mb:
            # The heap's limit is set as an instance starts: the next call starts one, the running ones finish.
            self._pool.retire(release_of(function))
        return function

    async def delete(self, project_id: ProjectId | None, function_id: str) -> None:
        """The function with its versions; running calls finish, records of calls stay. Raises NotFound.

        What it leaves in the database is deleted in steps (`isolet.projects.leftovers`).
        """
        function = await self.get(project_id, function_id)
        if not await self._database.write(stored.delete_function, function.id):
            raise NotFound("Function not found")
        self._events.publish(FunctionDeleted(function_id=function.id, project_id=function.project_id))
        # Not only what was live as it was read: a deploy may have ended since.
        self._pool.retire_function(function.id)


def _insert(
    connection: Connection,
    draft: Function,
    most: int | None,
    most_schedules: int | None,
    room: Room,
    settings_room: Room,
    deployment: Deployment | None,
    now_ms: int,
) -> Function:
    slug = draft.slug or stored.pick_slug(connection, draft.project_id, slug_from(draft.name))
    function = replace(draft, slug=slug)
    stored.insert_function(connection, function, most=most)
    check_room(connection, function.project_id, room)
    note_settings(connection, function.id, settings_room)
    _check_schedules(connection, None, function, most_schedules)
    stored_stores.name_stores(connection, function.project_id, named_stores(function.bindings), now_ms)
    if deployment is not None:
        stored_versions.put_deployment(connection, deployment, now_ms)
    return function


def _check_schedules(connection: Connection, before: Function | None, after: Function, most: int | None) -> None:
    """Raises LimitReached when a trigger of the function's own made a schedule that is one too many."""
    made = _scheduled(after) - (_scheduled(before) if before is not None else 0)
    if most is not None and made > 0:
        stored_schedules.check_room(connection, after.project_id, most)


def _scheduled(function: Function) -> int:
    """How many of its settings say when it runs."""
    has_trigger = any(isinstance(trigger, CronTrigger) for trigger in function.triggers or ())
    return has_trigger + (function.door_schedule is not None)


def _update(
    connection: Connection,
    function_id: FunctionId,
    modify: Callable[[Function], Function],
    with_code: bool,
    most_schedules: int | None,
    room: Room,
    settings_room: Room,
) -> tuple[Function, Function]:
    """The function before and after; the stores that it names are there then.

    Raises what `modify` raises, and LimitReached.
    """
    kept: list[Function] = []

    def noted(before: Function) -> Function:
        kept.append(before)
        return modify(before)

    size = code_bytes(connection, function_id)
    after = stored.modify_function(connection, function_id, noted, with_code=with_code)
    if code_bytes(connection, function_id) > size:
        check_room(connection, after.project_id, room)
    note_settings(connection, function_id, settings_room)
    (before,) = kept
    _check_schedules(connection, before, after, most_schedules)
    if after.bindings and after.bindings != before.bindings:
        check_free(after.bindings, [secret.name for secret in stored_secrets.list_secrets(connection, function_id)])
        stored_stores.name_stores(connection, after.project_id, named_stores(after.bindings), after.updated_at_ms)
    return before, after
