"""Rows that functions and schedules leave as they are deleted: too many, or too large, for the transaction of that.

The transaction notes the owner here. Nobody finds such rows without their owner; a loop deletes them in steps. Of a
project the server drops more than rows, so its note is for who does that (`isolet.projects.leftovers`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from sqlalchemy import Column, ColumnElement, Connection, delete, func, literal, select, text, tuple_

from isolet.database.steps import ROWS, first_step
from isolet.database.tables.functions import deployments, function_sources, versions
from isolet.database.tables.leftovers import leftovers
from isolet.database.tables.schedules import firings
from isolet.database.tables.secrets import function_environments, secrets
from isolet.ids import FunctionId, ProjectId

_OWNERS_AT_ONCE = 100
# What nothing has counted: up to 11 MiB, most far less.
_SOURCE_BYTES = 2 * 1024 * 1024


class _Kind(Struct, frozen=True):
    """Rows by the column that names their owner, and what one takes, in bytes."""

    owner: Column[Any]
    size: ColumnElement[int]


_OF_FUNCTIONS = (
    _Kind(versions.c.function_id, versions.c.size_bytes),
    _Kind(function_sources.c.function_id, literal(_SOURCE_BYTES)),
    _Kind(deployments.c.function_id, literal(_SOURCE_BYTES)),
    _Kind(secrets.c.function_id, func.length(secrets.c.sealed)),
    _Kind(function_environments.c.function_id, func.length(function_environments.c.sealed)),
)
_KINDS = (*_OF_FUNCTIONS, _Kind(firings.c.schedule_id, literal(0)))


def note(connection: Connection, owners: Iterable[str]) -> None:
    """Functions or schedules that this transaction has deleted."""
    _insert(connection, owners, is_project=False)


def note_project(connection: Connection, project_id: ProjectId) -> None:
    _insert(connection, [project_id], is_project=True)


def _insert(connection: Connection, owners: Iterable[str], *, is_project: bool) -> None:
    rows = [{"id": owner, "is_project": is_project} for owner in owners]
    if rows:
        # One may be deleted twice before it is forgotten: its id may come back.
        words = "INSERT INTO leftovers (id, is_project) VALUES (:id, :is_project) ON CONFLICT DO NOTHING"
        connection.execute(text(words), rows)


def is_left(connection: Connection, function_id: FunctionId) -> bool:
    """Whether a function of that id was deleted, and its rows are not gone yet."""
    return connection.execute(select(leftovers.c.id).where(leftovers.c.id == function_id)).first() is not None


def take_back(connection: Connection, function_id: FunctionId) -> None:
    """A function of that id is there again, and has nothing of the one before. To be called after its row is written,
    so that who deletes it at the same time has ended.
    """
    if connection.execute(delete(leftovers).where(leftovers.c.id == function_id)).rowcount:
        for kind in _OF_FUNCTIONS:
            connection.execute(delete(kind.owner.table).where(kind.owner == function_id))


def delete_some(connection: Connection, only: FunctionId | None = None) -> bool:
    """Delete some rows, or forget those whose rows are gone; False when there is nothing to do. `only` names one."""
    noted = select(leftovers.c.id).where(leftovers.c.is_project.is_(False))
    if only is not None:
        noted = noted.where(leftovers.c.id == only)
    # A function that takes its id back waits until this transaction has ended.
    noted = noted.order_by(leftovers.c.id).limit(_OWNERS_AT_ONCE).with_for_update()
    owners = connection.scalars(noted).all()
    if owners and not any(_delete_of(connection, kind, owners) for kind in _KINDS):
        connection.execute(delete(leftovers).where(leftovers.c.id.in_(owners)))
    return bool(owners)


def _delete_of(connection: Connection, kind: _Kind, owners: Iterable[str]) -> bool:
    """Whether there were any."""
    table = kind.owner.table
    columns = list(table.primary_key.columns)
    own = kind.owner.in_(owners)
    with connection.execute(select(*columns, kind.size).where(own).limit(ROWS)) as rows:
        chosen = first_step((tuple(row[:-1]), row[-1]) for row in rows)
    if chosen:
        here = tuple_(*columns).in_(chosen) if len(columns) > 1 else columns[0].in_([key for (key,) in chosen])
        connection.execute(delete(table).where(own, here))
    return bool(chosen)


def deleted_projects(connection: Connection) -> list[ProjectId]:
    """Those of which the server has not dropped everything yet."""
    return [ProjectId(one) for one in connection.scalars(select(leftovers.c.id).where(leftovers.c.is_project))]


def forget_project(connection: Connection, project_id: ProjectId) -> None:
    connection.execute(delete(leftovers).where(leftovers.c.id == project_id))
