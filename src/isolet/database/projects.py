"""Projects in the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from isolet.database.tables.projects import projects
from isolet.domain.projects import Plan, Project
from isolet.errors import Conflict, NotFound
from isolet.ids import ProjectId


def insert_project(connection: Connection, project: Project) -> None:
    """Raises Conflict when the slug is taken."""
    try:
        connection.execute(insert(projects).values(_values(project)))
    except IntegrityError as exc:
        raise Conflict(f"cannot create project {project.slug!r}: the slug is taken") from exc


def update_project(connection: Connection, project: Project) -> None:
    """Raises NotFound."""
    if not connection.execute(update(projects).where(projects.c.id == project.id).values(_values(project))).rowcount:
        raise NotFound("Project not found")


def delete_project(connection: Connection, project_id: ProjectId) -> None:
    """The project with its functions, versions and keys."""
    connection.execute(delete(projects).where(projects.c.id == project_id))


def lock_project(connection: Connection, project_id: ProjectId) -> None:
    """Who counts what a project has, to add to it, takes turns here, each until its transaction ends."""
    connection.execute(select(projects.c.id).where(projects.c.id == project_id).with_for_update())


def get_project(connection: Connection, project_id: ProjectId) -> Project:
    """Raises NotFound."""
    row = connection.execute(select(projects).where(projects.c.id == project_id)).one_or_none()
    if row is None:
        raise NotFound("Project not found")
    return _project(row)


def find_project(connection: Connection, slug: str) -> Project | None:
    row = connection.execute(select(projects).where(projects.c.slug == slug)).one_or_none()
    return None if row is None else _project(row)


def list_projects(connection: Connection, *, after: str | None = None, limit: int | None = None) -> list[Project]:
    """By slug, from behind `after`. Without `limit` all of them."""
    query = select(projects).order_by(projects.c.slug).limit(limit)
    if after is not None:
        query = query.where(projects.c.slug > after)
    return [_project(row) for row in connection.execute(query)]


def _values(project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "slug": project.slug,
        "name": project.name,
        "plan": project.plan.value,
        "allowed_origins": list(project.allowed_origins),
        "limits": dict(project.limits),
        "egress_allow": None if project.egress_allow is None else list(project.egress_allow),
        "created_at_ms": project.created_at_ms,
    }


def _project(row: Row[Any]) -> Project:
    return Project(
        id=row.id,
        slug=row.slug,
        name=row.name,
        plan=Plan(row.plan),
        allowed_origins=tuple(row.allowed_origins),
        limits=row.limits or {},
        egress_allow=None if row.egress_allow is None else tuple(row.egress_allow),
        created_at_ms=row.created_at_ms,
    )
