"""Deployed versions, and deploys that were accepted and have not ended."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from isolet.domain.limits import Limits
from isolet.domain.versions import Deployment, Language, Version
from isolet.errors import NotFound
from isolet.ids import DeploymentId, FunctionId
from isolet.store.schema import deployments, versions


def insert_version(connection: Connection, version: Version) -> None:
    connection.execute(
        insert(versions).values(
            function_id=version.function_id,
            number=version.number,
            code=version.code,
            bundle=version.bundle,
            language=version.language.value,
            limits=version.limits.to_json(),
            created_at_ms=version.created_at_ms,
        )
    )


def next_number(connection: Connection, function_id: FunctionId) -> int:
    newest = connection.execute(
        select(func.max(versions.c.number)).where(versions.c.function_id == function_id)
    ).scalar()
    return (newest or 0) + 1


def get_version(connection: Connection, function_id: FunctionId, number: int) -> Version:
    """Raises NotFound."""
    row = connection.execute(
        select(versions).where(versions.c.function_id == function_id, versions.c.number == number)
    ).one_or_none()
    if row is None:
        raise NotFound(f"Version {number} not found")
    return _version(row)


def list_versions(connection: Connection, function_id: FunctionId) -> list[Version]:
    """Newest first."""
    rows = connection.execute(
        select(versions).where(versions.c.function_id == function_id).order_by(versions.c.number.desc())
    )
    return [_version(row) for row in rows]


def prune_versions(connection: Connection, function_id: FunctionId, *, keep: int, live: int) -> None:
    """Drop all but the `keep` newest and the live one."""
    newest = (
        select(versions.c.number)
        .where(versions.c.function_id == function_id)
        .order_by(versions.c.number.desc())
        .limit(keep)
    )
    kept = [*connection.execute(newest).scalars(), live]
    connection.execute(delete(versions).where(versions.c.function_id == function_id, versions.c.number.not_in(kept)))


def insert_deployment(connection: Connection, deployment: Deployment) -> None:
    connection.execute(
        insert(deployments).values(
            id=deployment.id,
            function_id=deployment.function_id,
            code=deployment.code,
            created_at_ms=deployment.created_at_ms,
        )
    )


def delete_deployment(connection: Connection, deployment_id: DeploymentId) -> bool:
    """Whether it was still there; it leaves with its function."""
    return connection.execute(delete(deployments).where(deployments.c.id == deployment_id)).rowcount > 0


def has_deployment(connection: Connection, function_id: FunctionId) -> bool:
    """Whether a deploy of the function was accepted and has not ended."""
    query = select(deployments.c.id).where(deployments.c.function_id == function_id).limit(1)
    return connection.execute(query).first() is not None


def list_deployments(connection: Connection) -> list[Deployment]:
    """In the order they were accepted."""
    return [
        Deployment(id=row.id, function_id=row.function_id, code=row.code, created_at_ms=row.created_at_ms)
        for row in connection.execute(select(deployments).order_by(deployments.c.id))
    ]


def _version(row: Row[Any]) -> Version:
    return Version(
        function_id=row.function_id,
        number=row.number,
        code=row.code,
        bundle=row.bundle,
        language=Language(row.language),
        limits=Limits.from_json(row.limits),
        created_at_ms=row.created_at_ms,
    )
