"""Step policies of workflows in the database, as their owners wrote them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from isolet.database.tables.workflows import workflow_policies
from isolet.database.workflows import get_workflow
from isolet.domain.flows.policies import further_targets, read_policies
from isolet.domain.flows.workflows import Workflow
from isolet.ids import WorkflowId


def get_policies(connection: Connection, workflow_id: WorkflowId) -> dict[str, Any]:
    """By node id; some may name nodes that the graph no longer has."""
    found = connection.execute(
        select(workflow_policies.c.policies).where(workflow_policies.c.workflow_id == workflow_id)
    ).scalar()
    policies: dict[str, Any] = {} if found is None else json.loads(found)
    return policies


def policy_targets(connection: Connection, workflow_id: WorkflowId) -> Mapping[str, Iterable[str]]:
    """The nodes to which the policies of a workflow lead, by node."""
    return further_targets(read_policies(get_policies(connection, workflow_id)))


def put_policies(
    connection: Connection,
    workflow_id: WorkflowId,
    policies: Mapping[str, Any],
    check: Callable[[Connection, Workflow], None],
) -> None:
    """In the place of all that there were. `check` gets the workflow with its graph.

    Raises NotFound, and what `check` does.
    """
    workflow = get_workflow(connection, workflow_id, with_graph=True, for_update=True)
    connection.execute(delete(workflow_policies).where(workflow_policies.c.workflow_id == workflow_id))
    connection.execute(insert(workflow_policies).values(workflow_id=workflow_id, policies=json.dumps(policies)))
    check(connection, workflow)
