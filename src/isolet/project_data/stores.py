"""The namespaces and databases of a project by their names: made when they are first named, listed, deleted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from isolet.clock import Clock
from isolet.database import stores as stored
from isolet.database.connection import Connection, Database
from isolet.domain.stores import DEFAULT, StoreKind, check_store
from isolet.errors import Conflict, NotFound
from isolet.ids import ProjectId
from isolet.runtime.storage.port import ProjectStorages


class Store(Struct, frozen=True, kw_only=True):
    """`created_at_ms` is None for `default`, which was always there; `size_bytes` is of its database."""

    name: str
    created_at_ms: int | None
    size_bytes: int


class Stores:
    def __init__(self, *, database: Database, storages: ProjectStorages, clock: Clock) -> None:
        self._database = database
        self._storages = storages
        self._clock = clock

    async def made(self, project_id: ProjectId, kind: StoreKind, name: str) -> str:
        """The name of a store that is there now. Raises InvalidInput, also when the project has too many."""
        return await self._there(project_id, kind, name, make=True)

    async def known(self, project_id: ProjectId, kind: StoreKind, name: str) -> str:
        """The name of a store that is there. Raises NotFound, InvalidInput."""
        return await self._there(project_id, kind, name, make=False)

    async def _there(self, project_id: ProjectId, kind: StoreKind, name: str, *, make: bool) -> str:
        if check_store(kind, name) == DEFAULT:
            return name
        found = await self._database.read(stored.list_stores, project_id)
        if not any((kind, name) == (other, called) for other, called, _ in found):
            if not make:
                raise _missing(kind)
            await self._database.write(stored.name_stores, project_id, {(kind, name)}, self._clock.now_ms())
        return name

    async def list(self, project_id: ProjectId, kind: StoreKind) -> Sequence[Store]:
        """By name."""
        found = await self._database.read(stored.list_stores, project_id)
        times: dict[str, int | None] = {name: at_ms for other, name, at_ms in found if other is kind}
        names = sorted({DEFAULT, *times})
        sizes = await self._storages.store_sizes(project_id, [(kind, name) for name in names])
        return [
            Store(name=name, created_at_ms=times.get(name), size_bytes=size)
            for name, size in zip(names, sizes, strict=True)
        ]

    async def delete(self, project_id: ProjectId, kind: StoreKind, name: str) -> None:
        """With all in it. Raises Conflict for `default` and for one that functions are bound to, NotFound."""
        if name == DEFAULT:
            raise Conflict(f"The {kind.noun} {DEFAULT!r} always exists")
        await self._database.read(_check_unbound, project_id, kind, name)
        # The data first: what is named anew holds nothing of before.
        async with self._storages.use(project_id) as storage:
            await storage.drop(kind, name)
        await self._database.write(_forget, project_id, kind, name)

    async def names(self, project_id: ProjectId) -> Mapping[str, Sequence[str]]:
        """All but `default`, by kind, for a backup."""
        found = await self._database.read(stored.list_stores, project_id)
        return {kind.value: [name for other, name, _ in found if other is kind] for kind in StoreKind}

    async def name(self, project_id: ProjectId, names: Collection[tuple[StoreKind, str]]) -> None:
        """Those of a backup. Raises InvalidInput when they are too many together with those that are there."""
        await self._database.write(stored.name_stores, project_id, names, self._clock.now_ms())


def _check_unbound(connection: Connection, project_id: ProjectId, kind: StoreKind, name: str) -> None:
    if not any((kind, name) == (other, called) for other, called, _ in stored.list_stores(connection, project_id)):
        raise _missing(kind)
    if bound := stored.functions_with(connection, project_id, kind, name):
        raise Conflict(f"The function {bound[0]!r} is bound to this {kind.noun}")


def _forget(connection: Connection, project_id: ProjectId, kind: StoreKind, name: str) -> None:
    # A function that was bound meanwhile keeps it, empty.
    if not stored.functions_with(connection, project_id, kind, name):
        stored.delete_store(connection, project_id, kind, name)


def _missing(kind: StoreKind) -> NotFound:
    return NotFound(f"{kind.noun.capitalize()} not found")
