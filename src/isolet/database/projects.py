"""Projects in the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from isolet.database import leftovers
from isolet.database.tables.functions import functions
from isolet.database.tables.projects import projects
from isolet.database.tables.schedules import schedules
from isolet.domain.projects import Plan, Project
from isolet.errors import Conflict, NotFound
from isolet.ids import ProjectId


def insert_project(connection: Connection, project: Project) -> None:
    """Raises Conflict when the slug is taken."""
    try:
        connection.execute(insert(projects).values(_values(project)))
    except IntegrityError as exc:
        raise Conflict(f"cannot create project {project.slug!r}: the slug is taken") from exc


def modify_project(connection: Connection, project_id: ProjectId, modify: Callable[[Project], Project]) -> Project:
    """Read, change and write one project. Raises NotFound, and what `modify` raises."""
    own = projects.c.id == project_id
    row = connection.execute(select(projects).where(own).with_for_update()).one_or_none()
    if row is None:
        raise NotFound("Project not found")
    after = modify(_project(row))
    connection.execute(update(projects).where(own).values(_values(after)))
    return after


def delete_project(connection: Connection, project_id: ProjectId) -> None:
    """The project with its keys, functions, schedules and workflows. What is large or many is noted, and deleted later.

    Raises NotFound.
    """
    # Nothing is added to it meanwhile.
    lock_project(connection, project_id)
    gone = connection.scalars(select(functions.c.id).where(functions.c.project_id == project_id)).all()
    timed = connection.scalars(select(schedules.c.id).where(schedules.c.project_id == project_id)).all()
    if connection.execute(delete(projects).where(projects.c.id == project_id)).rowcount == 0:
        raise NotFound("Project not found")
    leftovers.note(connection, [*gone, *timed])
    leftovers.note_project(connection, project_id)


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
