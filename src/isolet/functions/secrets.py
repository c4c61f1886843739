"""A function's secrets: set, list, delete. A change is live on the next call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from msgspec.structs import replace

from isolet.clock import Clock
from isolet.database import functions as stored_functions
from isolet.database import secrets as stored
from isolet.database.code_sizes import Room, no_bound
from isolet.database.connection import Connection, Database
from isolet.database.settings_sizes import note_settings
from isolet.domain.changes import Change, FunctionChanged
from isolet.domain.functions import Function, is_storable
from isolet.domain.secrets import SECRETS_MAX, StoredSecret, check_name, check_together, decode_value, encode_value
from isolet.errors import InvalidInput, NotFound, PlatformError, SecretsFailed
from isolet.functions.releases import purpose, release_of
from isolet.functions.vault import Vault
from isolet.ids import FunctionId
from isolet.listeners import Listeners
from isolet.runtime.pool import Pool
from isolet.telemetry import get_logger

log = get_logger("secrets")

_MISSING = "Secret not found"


class Secrets:
    """Each change is one transaction. Raises SecretsFailed when the store, or the vault, is in trouble."""

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
        # What is there is looked at before more is added.
        self._adding = asyncio.Lock()

    async def list(self, function: Function) -> Sequence[StoredSecret]:
        """By name, without values; none while nothing is deployed."""
        if function.version is None:
            return []
        with _trouble("retrieve secrets"):
            return await self._database.read(stored.list_secrets, function.id)

    async def put(self, function: Function, name: object, value: object) -> None:
        """Set it, in the place of an earlier value too.

        Raises InvalidInput for a bad name, a bad value, and a function that is not deployed, and LimitReached.
        """
        if function.version is None:
            raise InvalidInput("Function must be deployed before creating secrets")
        checked = check_name(name)
        kind, text = encode_value(value)
        with _trouble("create secret"):
            sealed = await self._vault.seal(function.project_id, text, purpose=purpose(function.id, checked))
            secret = StoredSecret(
                function_id=function.id,
                name=checked,
                type=kind,
                sealed=sealed,
                created_at_ms=self._clock.now_ms(),
            )
            async with self._adding:
                check_together(await self._values(function, checked), decode_value(kind, text))
                self._switch(*await self._database.write(partial(_put, secret=secret, room=self._room)))

    async def _values(self, function: Function, but: str) -> Sequence[Any]:
        """The values of its secrets but one; of more than there may be, only that many."""
        await self._vault.load_missing(function.project_id)
        every = await self._database.read(stored.list_secrets, function.id)
        found = [one for one in every if one.name != but][:SECRETS_MAX]
        return [
            decode_value(
                one.type,
                self._vault.open_sealed(function.project_id, one.sealed, purpose=purpose(function.id, one.name)),
            )
            for one in found
        ]

    async def delete(self, function: Function, name: str) -> None:
        """Raises NotFound, and InvalidInput for a function that is not deployed."""
        if function.version is None:
            raise InvalidInput("Function must be deployed to manage secrets")
        if not is_storable(name):
            raise NotFound(_MISSING)
        with _trouble("delete secret"):
            self._switch(*await self._database.write(partial(_delete, function_id=function.id, name=name)))

    def _switch(self, before: Function, after: Function) -> None:
        """The next call runs on an instance with the new values; the one before drains."""
        self._events.publish(FunctionChanged(function=after))
        self._pool.retire(release_of(before))


@contextmanager
def _trouble(verb: str) -> Iterator[None]:
    """A fault of the store's in words for the caller, its cause in the log."""
    try:
        yield
    except PlatformError as exc:
        log.error("secret store failed", work=verb, exc_info=exc)
        raise SecretsFailed(f"Failed to {verb}") from exc


def _put(connection: Connection, secret: StoredSecret, room: Room) -> tuple[Function, Function]:
    before, after = _bump(connection, secret.function_id)
    if secret.name in (after.bindings or {}):
        raise InvalidInput(f"{secret.name} is the name of a binding and cannot be a secret")
    stored.put_secret(connection, secret)
    note_settings(connection, secret.function_id, room)
    return before, after


def _delete(connection: Connection, function_id: FunctionId, name: str) -> tuple[Function, Function]:
    before, after = _bump(connection, function_id)
    if not stored.delete_secret(connection, function_id, name):
        raise NotFound(_MISSING)
    note_settings(connection, function_id, no_bound)
    return before, after


def _bump(connection: Connection, function_id: FunctionId) -> tuple[Function, Function]:
    before = stored_functions.get_function(connection, function_id, for_update=True)
    after = replace(before, env_revision=before.env_revision + 1)
    stored_functions.replace_function(connection, after)
    return before, after
