"""Functions in the database. Every write moves the whole row, guarded by `lock_version` where a caller gave one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from isolet.domain.functions import (
    DeployError,
    Function,
    FunctionStatus,
    FunctionType,
    ResponseMode,
    free_slug,
)
from isolet.domain.jobs import check_retry
from isolet.domain.limits import Limits
from isolet.errors import InvalidInput, NotFound
from isolet.ids import FunctionId, ProjectId
from isolet.store.engine import is_orphan
from isolet.store.schema import functions


def insert_function(connection: Connection, function: Function) -> None:
    """Raises InvalidInput when the slug is taken in the project."""
    try:
        connection.execute(insert(functions).values(_values(function)))
    except IntegrityError as exc:
        if is_orphan(exc):
            raise
        raise InvalidInput("slug has already been taken") from exc


def pick_slug(connection: Connection, project_id: ProjectId, wanted: str) -> str:
    """`wanted`, or the first of `wanted-2`, `wanted-3` … that is free in the project."""
    taken = connection.execute(
        select(functions.c.slug).where(
            functions.c.project_id == project_id, functions.c.slug.startswith(wanted, autoescape=True)
        )
    )
    return free_slug(wanted, set(taken.scalars()))


def replace_function(connection: Connection, function: Function) -> None:
    """Write the whole row. Raises NotFound when it is gone, InvalidInput when the slug is taken."""
    try:
        found = connection.execute(update(functions).where(functions.c.id == function.id).values(_values(function)))
    except IntegrityError as exc:
        raise InvalidInput("slug has already been taken") from exc
    if found.rowcount == 0:
        raise NotFound("Function not found")


def modify_function(
    connection: Connection, function_id: FunctionId, modify: Callable[[Function], Function]
) -> Function:
    """Read, change and write one function in one transaction. Raises NotFound, and what `modify` raises."""
    before = get_function(connection, function_id, for_update=True)
    after = modify(before)
    if after is not before:
        replace_function(connection, after)
    return after


def delete_function(connection: Connection, function_id: FunctionId) -> bool:
    """Whether there was such a function; its versions and pending deploys go with it."""
    return connection.execute(delete(functions).where(functions.c.id == function_id)).rowcount > 0


def get_function(connection: Connection, function_id: FunctionId, *, for_update: bool = False) -> Function:
    """Raises NotFound."""
    query = select(functions).where(functions.c.id == function_id)
    row = connection.execute(query.with_for_update() if for_update else query).one_or_none()
    if row is None:
        raise NotFound("Function not found")
    return _function(row)


def list_functions(
    connection: Connection, project_id: ProjectId | None = None, *, limit: int | None = None, offset: int = 0
) -> list[Function]:
    """Oldest first; of every project when none is named. Without `limit` all of them."""
    query: Select[Any] = select(functions).order_by(functions.c.id).limit(limit).offset(offset)
    if project_id is not None:
        query = query.where(functions.c.project_id == project_id)
    return [_function(row) for row in connection.execute(query)]


def _values(function: Function) -> dict[str, Any]:
    values = {
        column.name: getattr(function, column.name) for column in functions.columns if hasattr(function, column.name)
    }
    values["function_type"] = function.function_type.value
    values["response_mode"] = function.response_mode.value
    values["status"] = function.status.value
    values["limits"] = function.limits.to_json()
    values["deploy_error"] = asdict(function.deploy_error) if function.deploy_error else None
    values["retry"] = function.retry.to_json()
    return values


def _function(row: Row[Any]) -> Function:
    values = dict(row._mapping)
    values["function_type"] = FunctionType(row.function_type)
    values["response_mode"] = ResponseMode(row.response_mode)
    values["status"] = FunctionStatus(row.status)
    values["limits"] = Limits.from_json(row.limits)
    values["deploy_error"] = DeployError(**row.deploy_error) if row.deploy_error else None
    values["retry"] = check_retry(row.retry)
    return Function(**values)
