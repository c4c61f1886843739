"""What follows for a schedule when one of its firings has ended: in the transaction that ends it."""

from __future__ import annotations

from msgspec.structs import replace
from sqlalchemy import Connection

from isolet.database import schedules as stored
from isolet.domain.schedules import FiringStatus, paused
from isolet.errors import NotFound
from isolet.ids import JobId, ScheduleId

# What started a run of a workflow, when that was a schedule.
SCHEDULE = "schedule"


def note_end(
    connection: Connection,
    firing_id: JobId,
    schedule_id: ScheduleId,
    status: FiringStatus,
    *,
    counted: bool,
    at_ms: int | None,
) -> None:
    """Write how a firing ended; firings that failed in a row may pause the schedule."""
    stored.change_firing(connection, firing_id, status=status.value)
    try:
        schedule = stored.get_schedule(connection, schedule_id, for_update=True)
    except NotFound:
        return
    failed = status is FiringStatus.FAILED
    after = replace(schedule, last_status=status, failures=schedule.failures + 1 if failed else 0)
    most = schedule.policies.pause_after_failures
    if counted and most and after.failures >= most and schedule.enabled:
        reason = f"{after.failures} firings failed in a row"
        after = paused(after, reason, at_ms or schedule.updated_at_ms)
    stored.write_schedule(connection, after)


def run_ended(connection: Connection, execution_id: str, *, failed: bool, at_ms: int) -> None:
    """A run of a workflow that a schedule began has ended. Its id is that of its firing.

    What counted as ended already stays: the run was tried again, or another one took its place.
    """
    firing = stored.get_firing(connection, JobId(execution_id))
    if firing is None or firing.status is not FiringStatus.RUNNING:
        return
    status = FiringStatus.FAILED if failed else FiringStatus.SUCCEEDED
    note_end(connection, firing.id, firing.schedule_id, status, counted=firing.counted, at_ms=at_ms)
