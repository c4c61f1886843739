"""Deployed versions, and deploys that were accepted and have not ended."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, Row, delete, func, insert, literal, select, update

from isolet.database.code_sizes import Room, check_room, drop_version, no_bound, note_version, over_bytes
from isolet.database.tables.functions import deployments, function_sources, functions, versions
from isolet.domain.compatibility import Compatibility
from isolet.domain.limits import Limits
from isolet.domain.sources import Sources
from isolet.domain.versions import Deployment, Language, Module, ModuleKind, Version, VersionSummary
from isolet.errors import NotFound
from isolet.ids import DeploymentId, FunctionId, ProjectId


def insert_version(connection: Connection, version: Version) -> None:
    connection.execute(
        insert(versions).values(
            function_id=version.function_id,
            number=version.number,
            code=version.code,
            bundle=version.bundle,
            files=version.files,
            modules=_modules_json(version.modules),
            compatibility=version.compatibility.to_json(),
            language=version.language.value,
            limits=version.limits.to_json(),
            created_at_ms=version.created_at_ms,
        )
    )
    note_version(connection, version.function_id, version.number)


def next_number(connection: Connection, deployment: Deployment) -> int:
    """The number of the version that a deploy makes. Those that made way for it have had theirs."""
    skipped = select(deployments.c.skipped).where(deployments.c.id == deployment.id)
    return newest_number(connection, deployment.function_id) + (connection.execute(skipped).scalar() or 0) + 1


def newest_number(connection: Connection, function_id: FunctionId) -> int:
    """0 for none."""
    newest = select(func.max(versions.c.number)).where(versions.c.function_id == function_id)
    return connection.execute(newest).scalar() or 0


def get_version(connection: Connection, function_id: FunctionId, number: int) -> Version:
    """Raises NotFound."""
    row = connection.execute(
        select(versions).where(versions.c.function_id == function_id, versions.c.number == number)
    ).one_or_none()
    if row is None:
        raise NotFound(f"Version {number} not found")
    return _version(row)


def get_bundle(connection: Connection, function_id: FunctionId, number: int) -> str:
    """The module that an instance loads. Raises NotFound."""
    bundle: str | None = connection.execute(
        select(versions.c.bundle).where(versions.c.function_id == function_id, versions.c.number == number)
    ).scalar()
    if bundle is None:
        raise NotFound(f"Version {number} not found")
    return bundle


def list_versions(
    connection: Connection, function_id: FunctionId, *, limit: int | None = None, before: int | None = None
) -> list[VersionSummary]:
    """Newest first, from below the number `before`. Without `limit` all of them."""
    query = select(versions.c.number, versions.c.language, versions.c.created_at_ms)
    query = query.where(versions.c.function_id == function_id).order_by(versions.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(versions.c.number < before)
    return [
        VersionSummary(number=row.number, language=Language(row.language), created_at_ms=row.created_at_ms)
        for row in connection.execute(query)
    ]


def prune_versions(
    connection: Connection,
    function_id: FunctionId,
    *,
    keep: int,
    live: int,
    project_id: ProjectId | None = None,
    room: Room = no_bound,
) -> None:
    """Drop all but the `keep` newest and the live one, and the oldest of those while the project has too much code.

    Raises LimitReached when it has too much with the live one alone.
    """
    of_function = select(versions.c.number).where(versions.c.function_id == function_id)
    numbers = list(connection.execute(of_function.order_by(versions.c.number)).scalars())
    beyond = [number for number in numbers[:-keep] if number != live]
    for number in beyond:
        drop_version(connection, function_id, number)
    if project_id is None:
        return
    over = over_bytes(connection, project_id, room)
    for number in numbers:
        if over > 0 and number != live and number not in beyond:
            over -= drop_version(connection, function_id, number)
    if over > 0:
        check_room(connection, project_id, room)


def put_deployment(connection: Connection, deployment: Deployment, now_ms: int) -> None:
    """Keep a deploy of the function's code as it stands. One of the same function that has not begun makes way."""
    waiting = (deployments.c.function_id == deployment.function_id) & deployments.c.started_at_ms.is_(None)
    older = connection.execute(select(func.max(deployments.c.skipped)).where(waiting)).scalar()
    connection.execute(delete(deployments).where(waiting))
    source = function_sources.c
    kept = {
        "id": literal(deployment.id),
        "function_id": source.function_id,
        "code": source.code,
        "files": source.files,
        "created_at_ms": literal(now_ms, BigInteger),
        "skipped": literal(0 if older is None else older + 1, Integer),
    }
    code = select(*kept.values()).where(source.function_id == deployment.function_id)
    connection.execute(insert(deployments).from_select(list(kept), code))


def start_deployment(connection: Connection, deployment_id: DeploymentId, now_ms: int) -> Sources:
    """The sources to deploy; the deploy makes way for no other any more. Raises NotFound when it has."""
    here = deployments.c.id == deployment_id
    if connection.execute(update(deployments).where(here).values(started_at_ms=now_ms)).rowcount == 0:
        raise NotFound("the deploy has made way for a newer one")
    row = connection.execute(select(deployments.c.code, deployments.c.files).where(here)).one()
    return Sources.of_code(row.code) if row.files is None else Sources.from_json(row.files)


def delete_deployment(connection: Connection, deployment_id: DeploymentId) -> bool:
    """Whether it was still there; it leaves with its function."""
    return connection.execute(delete(deployments).where(deployments.c.id == deployment_id)).rowcount > 0


def delete_older_deployments(connection: Connection, deployment: Deployment) -> None:
    """What was accepted before and is under way on another server is not to go live after this one."""
    under_way = (deployments.c.function_id == deployment.function_id) & deployments.c.started_at_ms.is_not(None)
    connection.execute(delete(deployments).where(under_way, deployments.c.id < deployment.id))


def has_deployment(connection: Connection, function_id: FunctionId) -> bool:
    """Whether a deploy of the function was accepted and has not ended."""
    query = select(deployments.c.id).where(deployments.c.function_id == function_id).limit(1)
    return connection.execute(query).first() is not None


def list_deployments(connection: Connection, before_ms: int | None = None) -> list[Deployment]:
    """In the order they were accepted; those only that were by that time, if one is given."""
    query = select(deployments.c.id, deployments.c.function_id, functions.c.project_id)
    query = query.join_from(deployments, functions, functions.c.id == deployments.c.function_id)
    query = query.order_by(deployments.c.id)
    if before_ms is not None:
        query = query.where(deployments.c.created_at_ms < before_ms)
    return [
        Deployment(id=row.id, function_id=row.function_id, project_id=row.project_id)
        for row in connection.execute(query)
    ]


def _modules_json(modules: Mapping[str, Module]) -> dict[str, Any] | None:
    return {name: {one.kind.value: base64.b64encode(one.body).decode()} for name, one in modules.items()} or None


def _modules(stored: Mapping[str, Any] | None) -> dict[str, Module]:
    return {
        name: Module(kind=ModuleKind(kind), body=base64.b64decode(text))
        for name, module in (stored or {}).items()
        for kind, text in module.items()
    }


def _version(row: Row[Any]) -> Version:
    return Version(
        function_id=row.function_id,
        number=row.number,
        code=row.code,
        bundle=row.bundle,
        files=row.files,
        modules=_modules(row.modules),
        compatibility=Compatibility.from_json(row.compatibility),
        language=Language(row.language),
        limits=Limits.from_json(row.limits),
        created_at_ms=row.created_at_ms,
    )
