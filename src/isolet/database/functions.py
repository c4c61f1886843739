"""Functions in the database. Every write moves the whole row, guarded by `lock_version` where a caller gave one.

The code is in a table of its own, and is read and written only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from msgspec.structs import asdict
from sqlalchemy import Connection, Row, Select, case, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from isolet.database import leftovers
from isolet.database.code_sizes import note_source, source_bytes
from isolet.database.engine import is_orphan
from isolet.database.projects import lock_project
from isolet.database.schedules import sync_triggers
from isolet.database.tables.functions import function_hosts, function_sources, functions
from isolet.database.tables.schedules import schedules
from isolet.database.tables.secrets import function_environments, secrets
from isolet.domain.compatibility import Compatibility
from isolet.domain.functions import (
    DeployError,
    Function,
    FunctionStatus,
    FunctionType,
    ResponseMode,
    free_slug,
    is_storable,
)
from isolet.domain.limits import Limits
from isolet.domain.public_routes import Access, CorsRules
from isolet.domain.retries import check_retry
from isolet.domain.triggers import stored_triggers
from isolet.errors import InvalidInput, LimitReached, NotFound
from isolet.ids import FunctionId, ProjectId

# What is counted beside a row.
_COUNTED = "schedules_on"
# What a route needs nothing of, and what may be large.
_NOT_OF_ROUTES = (
    "description",
    "bindings",
    "runtime_config",
    "deploy_error",
    "altair",
    "sealed_triggers",
    "sealed_env",
    "compatibility",
)
_BATCH = 500


def insert_function(connection: Connection, function: Function, *, most: int | None = None) -> None:
    """Raises InvalidInput for a slug that is taken in the project, LimitReached when it has `most` functions."""
    if most is not None:
        _check_room(connection, function.project_id, most)
    try:
        connection.execute(insert(functions).values(_values(function)))
    except IntegrityError as exc:
        if is_orphan(exc):
            raise
        raise InvalidInput("slug has already been taken") from exc
    leftovers.take_back(connection, function.id)
    connection.execute(
        insert(function_sources).values(function_id=function.id, code=function.code or "", files=function.files)
    )
    note_source(connection, function.id)
    _claim_hosts(connection, function)
    sync_triggers(connection, function)


def _check_room(connection: Connection, project_id: ProjectId, most: int) -> None:
    """Raises LimitReached."""
    lock_project(connection, project_id)
    query = select(func.count()).select_from(functions).where(functions.c.project_id == project_id)
    if connection.execute(query).scalar_one() >= most:
        raise LimitReached(f"The project has {most} functions, which is its limit: delete one, or ask for more")


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
    _claim_hosts(connection, function)
    sync_triggers(connection, function)
    if function.code is not None:
        size = source_bytes(connection, function.id)
        here = function_sources.c.function_id == function.id
        connection.execute(update(function_sources).where(here).values(code=function.code, files=function.files))
        note_source(connection, function.id, size)


def _claim_hosts(connection: Connection, function: Function) -> None:
    """Raises InvalidInput for a host that another function has."""
    connection.execute(delete(function_hosts).where(function_hosts.c.function_id == function.id))
    if not function.hosts:
        return
    query = select(function_hosts.c.host).where(function_hosts.c.host.in_(function.hosts)).limit(1)
    if (taken := connection.execute(query).scalar_one_or_none()) is not None:
        raise InvalidInput(f"hosts: {taken} is another function's")
    rows = [{"host": host, "function_id": function.id} for host in function.hosts]
    try:
        connection.execute(insert(function_hosts), rows)
    except IntegrityError as exc:
        raise InvalidInput("hosts: one of them has just become another function's") from exc


def modify_function(
    connection: Connection,
    function_id: FunctionId,
    modify: Callable[[Function], Function],
    *,
    with_code: bool = False,
) -> Function:
    """Read, change and write one function in one transaction. Raises NotFound, and what `modify` raises."""
    before = get_function(connection, function_id, for_update=True, with_code=with_code)
    after = modify(before)
    if after is not before:
        replace_function(connection, after)
    return after


def delete_function(connection: Connection, function_id: FunctionId) -> bool:
    """Whether there was such a function; nobody finds its versions and pending deploys any more."""
    own = functions.c.id == function_id
    if connection.execute(select(functions.c.id).where(own).with_for_update()).first() is None:
        return False
    timed = connection.scalars(select(schedules.c.id).where(schedules.c.function_id == function_id)).all()
    connection.execute(delete(functions).where(own))
    # Few of one function, and nothing that is to be on a disk any longer.
    for sealed in (secrets, function_environments):
        connection.execute(delete(sealed).where(sealed.c.function_id == function_id))
    leftovers.note(connection, [function_id, *timed])
    return True


def get_function(
    connection: Connection, function_id: FunctionId, *, for_update: bool = False, with_code: bool = False
) -> Function:
    """Raises NotFound."""
    query = _select(with_code).where(functions.c.id == function_id)
    row = connection.execute(query.with_for_update(of=functions) if for_update else query).one_or_none()
    if row is None:
        raise NotFound("Function not found")
    return _function(row)


def find_function(connection: Connection, project_id: ProjectId, name: str, *, with_code: bool = False) -> Function:
    """By slug, else by name, then the oldest. Raises NotFound."""
    query = (
        _select(with_code)
        .where(functions.c.project_id == project_id, (functions.c.slug == name) | (functions.c.name == name))
        .order_by(case((functions.c.slug == name, 0), else_=1), functions.c.id)
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound("Function not found")
    return _function(row)


def present_names(connection: Connection, project_id: ProjectId, wanted: Collection[str]) -> set[str]:
    """Which of these are the id, the slug or the name of a function of the project."""
    found: set[str] = set()
    columns = (functions.c.id, functions.c.slug, functions.c.name)
    # Others are no function's, and no database looks for them.
    names = sorted(filter(is_storable, wanted))
    for start in range(0, len(names), _BATCH):
        named = or_(*(column.in_(names[start : start + _BATCH]) for column in columns))
        for row in connection.execute(select(*columns).where(functions.c.project_id == project_id, named)):
            found |= set(row)
    return found & set(wanted)


def list_functions(
    connection: Connection,
    project_id: ProjectId | None = None,
    *,
    limit: int | None = None,
    offset: int = 0,
    after: FunctionId | None = None,
    text: str | None = None,
    with_code: bool = False,
    for_update: bool = False,
) -> list[Function]:
    """Oldest first, from behind `after`; of every project when none is named. Without `limit` all of them.

    Those only that have `text` in their name or slug.
    """
    query = _listed(_select(with_code), project_id, limit=limit, after=after, text=text).offset(offset)
    if for_update:
        query = query.with_for_update(of=functions)
    return [_function(row) for row in connection.execute(query)]


def list_with_schedules(
    connection: Connection, project_id: ProjectId, *, limit: int, after: FunctionId | None, text: str | None
) -> list[tuple[Function, int]]:
    """As `list_functions`, each with how many schedules of it are on."""
    on = (schedules.c.function_id == functions.c.id) & schedules.c.enabled
    count = select(func.count()).select_from(schedules).where(on).correlate(functions).scalar_subquery()
    query = _listed(select(functions, count.label(_COUNTED)), project_id, limit=limit, after=after, text=text)
    return [(_function(row), row._mapping[_COUNTED]) for row in connection.execute(query)]


def _listed(
    query: Select[Any], project_id: ProjectId | None, *, limit: int | None, after: FunctionId | None, text: str | None
) -> Select[Any]:
    query = query.order_by(functions.c.id).limit(limit)
    if project_id is not None:
        query = query.where(functions.c.project_id == project_id)
    if after is not None:
        query = query.where(functions.c.id > after)
    if text:
        holds = [column.icontains(text, autoescape=True) for column in (functions.c.name, functions.c.slug)]
        query = query.where(or_(*holds))
    return query


def get_functions(connection: Connection, ids: Sequence[FunctionId]) -> list[Function]:
    """Those that are there, in the order of `ids`."""
    found = {row.id: _function(row) for row in connection.execute(_select().where(functions.c.id.in_(ids)))}
    return [found[id_] for id_ in ids if id_ in found]


def list_names(connection: Connection, project_id: ProjectId) -> list[tuple[str, FunctionId]]:
    """The name and id of each function of a project, by name."""
    query = select(functions.c.name, functions.c.id).where(functions.c.project_id == project_id)
    return sorted((row.name, FunctionId(row.id)) for row in connection.execute(query))


def list_for_routes(connection: Connection) -> list[Function]:
    """Every function, as far as a route needs it: without code, description and what only management shows."""
    columns = [column for column in functions.columns if column.name not in _NOT_OF_ROUTES]
    return [_function(row) for row in _batches(connection, select(*columns))]


def _batches(connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
    """All rows by id, some at a time."""
    after = ""
    while rows := connection.execute(query.where(functions.c.id > after).order_by(functions.c.id).limit(_BATCH)).all():
        yield from rows
        after = rows[-1].id


def _select(with_code: bool = False) -> Select[Any]:
    if not with_code:
        return select(functions)
    found = select(functions, function_sources.c.code, function_sources.c.files)
    return found.join_from(functions, function_sources, function_sources.c.function_id == functions.c.id)


def _values(function: Function) -> dict[str, Any]:
    values = {
        column.name: getattr(function, column.name) for column in functions.columns if hasattr(function, column.name)
    }
    values["altair"] = function.door_settings
    values["function_type"] = function.function_type.value
    values["response_mode"] = function.response_mode.value
    values["status"] = function.status.value
    values["access"] = function.access.value
    values["cors"] = function.cors.value
    values["compatibility"] = function.compatibility.to_json()
    values["limits"] = function.limits.to_json()
    values["deploy_error"] = asdict(function.deploy_error) if function.deploy_error else None
    values["retry"] = function.retry.to_json()
    if function.triggers is not None:
        values["triggers"] = [trigger.to_json() for trigger in function.triggers]
    return values


def _function(row: Row[Any]) -> Function:
    values = {name: value for name, value in row._mapping.items() if name != _COUNTED}
    values.pop("code_bytes", None)
    values.pop("settings_bytes", None)
    if "altair" in values:
        values["door_settings"] = values.pop("altair")
    values["function_type"] = FunctionType(row.function_type)
    values["response_mode"] = ResponseMode(row.response_mode)
    values["status"] = FunctionStatus(row.status)
    values["access"] = Access(row.access)
    values["cors"] = CorsRules(row.cors)
    values["limits"] = Limits.from_json(row.limits)
    values["retry"] = check_retry(row.retry)
    if row.triggers is not None:
        values["triggers"] = stored_triggers(row.triggers)
    values["compatibility"] = Compatibility.from_json(values.get("compatibility"))
    if error := values.get("deploy_error"):
        values["deploy_error"] = DeployError(**error)
    return Function(**values)
