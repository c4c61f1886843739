"""The names of a project's stores in the database; what is in them is in files of the project."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, insert, select

from isolet.database.tables.functions import functions
from isolet.database.tables.projects import projects, stores
from isolet.domain.stores import DEFAULT, STORES_MAX, StoreKind, named_stores
from isolet.errors import InvalidInput, NotFound
from isolet.ids import ProjectId


def name_stores(
    connection: Connection, project_id: ProjectId, wanted: Collection[tuple[StoreKind, str]], now_ms: int
) -> None:
    """Make those that are not there. Raises InvalidInput when the project had too many, NotFound without a project."""
    wanted = {(kind, name) for kind, name in wanted if name != DEFAULT}
    if not wanted:
        return
    # One at a time for each project, so that its stores can be counted.
    lock = select(projects.c.id).where(projects.c.id == project_id).with_for_update()
    if connection.execute(lock).one_or_none() is None:
        raise NotFound("Project not found")
    known = {(kind, name) for kind, name, _ in list_stores(connection, project_id)}
    new = sorted(wanted - known)
    for kind in StoreKind:
        if sum(found is kind for found, _ in [*known, *new]) > STORES_MAX and any(found is kind for found, _ in new):
            raise InvalidInput(f"a project may have {STORES_MAX} {kind.noun}s besides {DEFAULT!r}")
    if new:
        rows = [
            {"project_id": project_id, "kind": kind.value, "name": name, "created_at_ms": now_ms} for kind, name in new
        ]
        connection.execute(insert(stores), rows)


def list_stores(connection: Connection, project_id: ProjectId) -> list[tuple[StoreKind, str, int]]:
    """Kind, name and time of making of each, by name."""
    rows = connection.execute(select(stores).where(stores.c.project_id == project_id).order_by(stores.c.name))
    return [(StoreKind(row.kind), row.name, row.created_at_ms) for row in rows]


def delete_store(connection: Connection, project_id: ProjectId, kind: StoreKind, name: str) -> bool:
    """Whether there was one."""
    here = (stores.c.project_id == project_id) & (stores.c.kind == kind.value) & (stores.c.name == name)
    return connection.execute(delete(stores).where(here)).rowcount > 0


def functions_with(connection: Connection, project_id: ProjectId, kind: StoreKind, name: str) -> list[str]:
    """The slugs of the functions that are bound to a store."""
    query = select(functions.c.slug, functions.c.bindings).where(functions.c.project_id == project_id)
    return [row.slug for row in connection.execute(query) if (kind, name) in named_stores(row.bindings)]
