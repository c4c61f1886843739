"""Schedules: functions and workflows that run by the clock."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field, RootModel, StrictInt

from isolet.contract.models import Body, Page, Reply
from isolet.contract.operations import Mode, Resource, operation


class ScheduleMembers(RootModel[dict[str, Any]]):
    """`cron`, `name`, `dialect`, `timezone`, `payload`, and the policies that a schedule's object has.

    The use case checks them, and names the one that is wrong.
    """


class SchedulePreview(Body):
    cron: str
    timezone: str | None = None
    dialect: str = "standard"
    count: StrictInt = 5


class SchedulePause(Body):
    reason: str | None = None


class ScheduleBackfill(Body):
    """Two moments in ISO 8601; one without a zone is in UTC."""

    model_config = ConfigDict(populate_by_name=True)

    from_: str = Field(alias="from")
    to: str


class ScheduleReply(Reply):
    """`payload` is any JSON; `next_at` is null while it is paused or has no due time left."""

    id: str
    project_id: str
    function_id: str | None
    flow_id: str | None
    name: str
    cron: str
    dialect: str
    timezone: str
    payload: Any
    overlap: str
    missed: str
    missed_window_s: int
    jitter_s: int
    retries: int
    retry_backoff_s: int
    pause_after_failures: int
    enabled: bool
    paused_reason: str | None
    next_at: str | None
    last_due_at: str | None
    last_status: str | None
    missed_total: int
    created_at: str
    updated_at: str


class FiringReply(Reply):
    """`invocation_id` is of a function, `execution_id` of a workflow's run."""

    due_at: str
    fired_at: str
    status: str
    attempt: int
    invocation_id: str | None
    execution_id: str | None


class PreviewReply(Reply):
    times: list[str]
    text: str


class RunReply(Reply):
    """`invocation_id` of a function, null when the policy of overlaps skipped it; `execution_id` of a workflow."""

    invocation_id: str | None = None
    execution_id: str | None = None


class BackfillReply(Reply):
    count: int


class Schedules(Resource[Mode]):
    tag = "schedules"

    @operation("POST", "/functions/{function_id}/schedules", status=201)
    def create(self, function_id: str, body: ScheduleMembers) -> ScheduleReply:
        """Make a schedule of a function."""

    @operation("GET", "/functions/{function_id}/schedules")
    def list_of_function(self, function_id: str, *, limit: int = 50, cursor: str | None = None) -> Page[ScheduleReply]:
        """The schedules of a function."""

    @operation("POST", "/flows/{workflow_id}/schedules", status=201)
    def create_of_flow(self, workflow_id: str, body: ScheduleMembers) -> ScheduleReply:
        """`payload` becomes the variables of the runs."""

    @operation("GET", "/flows/{workflow_id}/schedules")
    def list_of_flow(self, workflow_id: str, *, limit: int = 50, cursor: str | None = None) -> Page[ScheduleReply]:
        """The schedules of a workflow."""

    @operation("GET", "/schedules")
    def list(
        self,
        *,
        project: str | None = None,
        function: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[ScheduleReply]:
        """Schedules of all functions and workflows, or of one project or function."""

    @operation("POST", "/schedules/preview")
    def preview(self, body: SchedulePreview) -> PreviewReply:
        """The next due times of an expression, and what it says."""

    @operation("GET", "/schedules/{schedule_id}")
    def get(self, schedule_id: str) -> ScheduleReply:
        """A schedule, and when it is due next."""

    @operation("PATCH", "/schedules/{schedule_id}")
    def update(self, schedule_id: str, body: ScheduleMembers) -> ScheduleReply:
        """Only what is sent changes; a change of the times counts from now."""

    @operation("DELETE", "/schedules/{schedule_id}", status=204)
    def delete(self, schedule_id: str) -> None:
        """Delete a schedule."""

    @operation("POST", "/schedules/{schedule_id}/run", status=202)
    def run(self, schedule_id: str) -> RunReply:
        """One firing now, outside the count."""

    @operation("POST", "/schedules/{schedule_id}/pause")
    def pause(self, schedule_id: str, body: SchedulePause | None = None) -> ScheduleReply:
        """Stop a schedule until it is resumed."""

    @operation("POST", "/schedules/{schedule_id}/resume")
    def resume(self, schedule_id: str) -> ScheduleReply:
        """Let a paused schedule fire again."""

    @operation("POST", "/schedules/{schedule_id}/backfill", status=202)
    def backfill(self, schedule_id: str, body: ScheduleBackfill) -> BackfillReply:
        """Run every due time from one moment to another, both included, one after the other."""

    @operation("GET", "/schedules/{schedule_id}/firings")
    def list_firings(self, schedule_id: str, *, limit: int = 50, cursor: str | None = None) -> Page[FiringReply]:
        """Newest first."""
