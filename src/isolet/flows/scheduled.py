"""Runs that a schedule begins."""

from __future__ import annotations

from isolet.clock import iso
from isolet.database.executions import Draft
from isolet.database.firing_ends import SCHEDULE
from isolet.domain.flows.workflows import WorkflowStatus
from isolet.domain.schedules import Schedule
from isolet.errors import InvalidInput, NotFound
from isolet.flows.drafts import Start
from isolet.flows.service import Executions
from isolet.flows.workflows import Workflows
from isolet.ids import ExecutionId, JobId


class ScheduledRuns:
    def __init__(self, *, workflows: Workflows, executions: Executions) -> None:
        self._workflows = workflows
        self._executions = executions

    async def draft(self, schedule: Schedule, due_ms: int, firing_id: JobId) -> Draft:
        """The run for one due time, with the id of the firing; the schedule's payload is its variables.

        Raises NotFound, and InvalidInput when the workflow is not active.
        """
        if schedule.workflow_id is None:
            raise NotFound("Workflow not found")
        workflow = await self._workflows.get(schedule.project_id, schedule.workflow_id, with_graph=True)
        if workflow.status is not WorkflowStatus.ACTIVE:
            raise InvalidInput(f"The workflow is not active: its status is {workflow.status}")
        start = Start(
            variables=schedule.payload,
            id=ExecutionId(firing_id),
            trigger=SCHEDULE,
            system={"schedule_id": schedule.id, "scheduled_time": iso(due_ms), "timezone": schedule.cron.zone},
        )
        return await self._executions.draft(workflow, start)
