"""Read and change the step policies of workflows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from isolet.database import workflow_policies as stored
from isolet.database.connection import Connection, Database
from isolet.domain.flows.policies import Policy, check_policies, read_policies
from isolet.domain.flows.workflows import Workflow, WorkflowStatus
from isolet.flows.activation import Activation
from isolet.ids import WorkflowId


class WorkflowPolicies:
    """Every change is on disk before a method returns. A run that is under way keeps the policies it began with."""

    def __init__(self, *, database: Database, activation: Activation) -> None:
        self._database = database
        self._activation = activation

    async def get(self, workflow_id: str) -> dict[str, Any]:
        """As they were sent, by node id."""
        return await self._database.read(stored.get_policies, WorkflowId(workflow_id.lower()))

    async def put(self, workflow_id: str, sent: Mapping[str, Any]) -> dict[str, Any]:
        """In the place of all that there were, or nothing changes.

        Raises NotFound; InvalidInput for a policy that breaks a rule or names a node that is not there, and for those
        with which an active workflow could not be active.
        """
        policies = await asyncio.to_thread(read_policies, sent)
        check = partial(self._check, policies)
        await self._database.write(stored.put_policies, WorkflowId(workflow_id.lower()), sent, check)
        return dict(sent)

    def _check(self, policies: Mapping[str, Policy], connection: Connection, workflow: Workflow) -> None:
        graph = workflow.known_graph
        check_policies(policies, graph)
        if workflow.status is WorkflowStatus.ACTIVE:
            self._activation.check(connection, workflow, graph)
