"""Workflows with their graphs in the database, and which calls which. Graphs are read where they are asked for only."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from isolet.database import leftovers
from isolet.database.engine import is_orphan
from isolet.database.tables.projects import projects
from isolet.database.tables.schedules import schedules
from isolet.database.tables.workflows import workflow_graphs, workflows
from isolet.domain.flows.call_cycles import Called, CallMap
from isolet.domain.flows.graph import Graph, stored_graph
from isolet.domain.flows.workflows import (
    GRAPHS_MAX_BYTES,
    WORKFLOWS_MAX,
    ReadMode,
    Workflow,
    WorkflowStatus,
    calls_of,
)
from isolet.domain.functions import free_slug
from isolet.errors import InvalidInput, LimitReached, NotFound
from isolet.ids import ProjectId, WorkflowId

_MISSING = "Workflow not found"


class WorkflowFilter(Struct, frozen=True, kw_only=True):
    """Times are milliseconds, the bounds within. `name_contains` looks at no case; SQLite knows that of ASCII."""

    status: WorkflowStatus | None = None
    name_contains: str | None = None
    created_after_ms: int | None = None
    created_before_ms: int | None = None


def insert_workflow(connection: Connection, workflow: Workflow) -> None:
    """With its graph. Raises InvalidInput for a name or slug that is taken, LimitReached."""
    text = _graph_text(workflow.graph)
    _check_room(connection, workflow, len(text), new=True)
    _check_free(connection, workflow)
    row = {
        **_values(workflow),
        "id": workflow.id,
        "project_id": workflow.project_id,
        "execution_count": 0,
        "created_at_ms": workflow.created_at_ms,
        **_of_graph(workflow, text),
    }
    try:
        connection.execute(insert(workflows).values(row))
    except IntegrityError as exc:
        if is_orphan(exc):
            raise
        raise InvalidInput("name or slug has already been taken") from exc
    connection.execute(insert(workflow_graphs).values(workflow_id=workflow.id, graph=text))


def pick_slug(connection: Connection, project_id: ProjectId, wanted: str) -> str:
    """`wanted`, or the first of `wanted-2`, `wanted-3` … that is free in the project."""
    here = (workflows.c.project_id == project_id) & workflows.c.slug.startswith(wanted, autoescape=True)
    return free_slug(wanted, set(connection.execute(select(workflows.c.slug).where(here)).scalars()))


def get_workflow(
    connection: Connection, workflow_id: WorkflowId, *, with_graph: bool = False, for_update: bool = False
) -> Workflow:
    """Raises NotFound."""
    query = _select(with_graph).where(workflows.c.id == workflow_id)
    row = connection.execute(query.with_for_update(of=workflows) if for_update else query).one_or_none()
    if row is None:
        raise NotFound(_MISSING)
    return _workflow(row)


def find_workflow(
    connection: Connection, project_id: ProjectId, slug: str, *, with_graph: bool = False
) -> Workflow | None:
    """By its slug."""
    query = _select(with_graph).where(workflows.c.project_id == project_id, workflows.c.slug == slug)
    row = connection.execute(query).one_or_none()
    return None if row is None else _workflow(row)


def list_workflows(
    connection: Connection, project_id: ProjectId, wanted: WorkflowFilter | None = None, *, limit: int | None = None
) -> list[Workflow]:
    """Newest first, without graphs."""
    wanted = wanted or WorkflowFilter()
    query = _select(False).where(workflows.c.project_id == project_id).order_by(workflows.c.id.desc()).limit(limit)
    if wanted.status is not None:
        query = query.where(workflows.c.status == wanted.status.value)
    if wanted.name_contains:
        query = query.where(workflows.c.name.icontains(wanted.name_contains, autoescape=True))
    if wanted.created_after_ms is not None:
        query = query.where(workflows.c.created_at_ms >= wanted.created_after_ms)
    if wanted.created_before_ms is not None:
        query = query.where(workflows.c.created_at_ms <= wanted.created_before_ms)
    return [_workflow(row) for row in connection.execute(query)]


def list_statuses(connection: Connection, ids: Sequence[str]) -> dict[str, WorkflowStatus]:
    """Of those that are there, by id."""
    query = select(workflows.c.id, workflows.c.status).where(workflows.c.id.in_(ids))
    return {row.id: WorkflowStatus(row.status) for row in connection.execute(query)}


def modify_workflow(
    connection: Connection, workflow_id: WorkflowId, modify: Callable[[Workflow], Workflow]
) -> Workflow:
    """Read, change and write one workflow. Raises NotFound, InvalidInput, LimitReached, and what `modify` raises.

    `modify` gets and gives the workflow with its graph.
    """
    before = get_workflow(connection, workflow_id, with_graph=True, for_update=True)
    after = modify(before)
    values = _values(after)
    if after.graph != before.graph:
        text = _graph_text(after.graph)
        _check_room(connection, after, len(text), new=False)
        values |= _of_graph(after, text)
        here = workflow_graphs.c.workflow_id == workflow_id
        connection.execute(update(workflow_graphs).where(here).values(graph=text))
    _check_free(connection, after)
    try:
        connection.execute(update(workflows).where(workflows.c.id == workflow_id).values(values))
    except IntegrityError as exc:
        raise InvalidInput("name or slug has already been taken") from exc
    return after


def delete_workflow(connection: Connection, workflow_id: WorkflowId) -> bool:
    """Whether there was one; what belongs to it goes with it, or is not found any more."""
    own = workflows.c.id == workflow_id
    if connection.execute(select(workflows.c.id).where(own).with_for_update()).first() is None:
        return False
    timed = connection.scalars(select(schedules.c.id).where(schedules.c.workflow_id == workflow_id)).all()
    connection.execute(delete(workflows).where(own))
    leftovers.note(connection, timed)
    return True


def count_execution(connection: Connection, workflow_id: WorkflowId, at_ms: int) -> None:
    """In the transaction that starts a run."""
    values = {"execution_count": workflows.c.execution_count + 1, "last_executed_at_ms": at_ms}
    connection.execute(update(workflows).where(workflows.c.id == workflow_id).values(values))


def call_map(connection: Connection, project_id: ProjectId) -> CallMap:
    """Which workflow of a project calls which."""
    query = select(workflows.c.id, workflows.c.slug, workflows.c.calls).where(workflows.c.project_id == project_id)
    return CallMap([Called(id=row.id, slug=row.slug, calls=tuple(row.calls)) for row in connection.execute(query)])


def _check_room(connection: Connection, workflow: Workflow, size: int, *, new: bool) -> None:
    """Raises LimitReached. Who writes graphs of one project takes turns here, each until its transaction ends."""
    connection.execute(select(projects.c.id).where(projects.c.id == workflow.project_id).with_for_update())
    others = (workflows.c.project_id == workflow.project_id) & (workflows.c.id != workflow.id)
    query = select(func.count(), func.coalesce(func.sum(workflows.c.graph_bytes), 0)).where(others)
    count, held = connection.execute(query).one()
    if new and count >= WORKFLOWS_MAX:
        raise LimitReached(f"The project has {WORKFLOWS_MAX} workflows, which is the most")
    if held + size > GRAPHS_MAX_BYTES:
        raise LimitReached(f"The graphs of a project may have at most {GRAPHS_MAX_BYTES} bytes together")


def _check_free(connection: Connection, workflow: Workflow) -> None:
    """Raises InvalidInput with the text that clients are shown."""
    others = (workflows.c.project_id == workflow.project_id) & (workflows.c.id != workflow.id)
    taken = (workflows.c.name == workflow.name) | (workflows.c.slug == workflow.slug)
    row = connection.execute(select(workflows.c.name).where(others, taken).limit(1)).one_or_none()
    if row is not None:
        raise InvalidInput(f"{'name' if row.name == workflow.name else 'slug'} has already been taken")


def _select(with_graph: bool) -> Select[Any]:
    if not with_graph:
        return select(workflows)
    return select(workflows, workflow_graphs.c.graph).join_from(workflows, workflow_graphs)


def _graph_text(graph: Graph | None) -> str:
    if graph is None:
        raise LookupError("a workflow is stored with its graph")
    return json.dumps(graph.to_json(), separators=(",", ":"))


def _of_graph(workflow: Workflow, text: str) -> dict[str, Any]:
    calls = [] if workflow.graph is None else sorted(set(calls_of(workflow.graph).values()))
    return {"calls": calls, "graph_bytes": len(text)}


def _values(workflow: Workflow) -> dict[str, Any]:
    """What a change may change; the graph apart."""
    return {
        "name": workflow.name,
        "slug": workflow.slug,
        "description": workflow.description,
        "status": workflow.status.value,
        "lock_version": workflow.lock_version,
        "message_debounce_seconds": workflow.message_debounce_seconds,
        "inbound_message_read_mode": workflow.inbound_message_read_mode.value,
        "agent_default_tools_version": workflow.agent_default_tools_version,
        "updated_at_ms": workflow.updated_at_ms,
    }


def _workflow(row: Row[Any]) -> Workflow:
    found = Workflow(
        id=WorkflowId(row.id),
        project_id=ProjectId(row.project_id),
        name=row.name,
        slug=row.slug,
        description=row.description,
        status=WorkflowStatus(row.status),
        lock_version=row.lock_version,
        message_debounce_seconds=row.message_debounce_seconds,
        inbound_message_read_mode=ReadMode(row.inbound_message_read_mode),
        agent_default_tools_version=row.agent_default_tools_version,
        execution_count=row.execution_count,
        last_executed_at_ms=row.last_executed_at_ms,
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
    )
    text = row._mapping.get("graph")
    return found if text is None else replace(found, graph=stored_graph(json.loads(text)))
