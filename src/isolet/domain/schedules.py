"""Schedules: their policies, and which of their due times are run.

A due time is *missed* when no server was there to run it: it lies before this server began to look, or it is found
more than `GRACE_S` late, because the process was suspended or the clock was set forward. After the clock was set back,
nothing is due twice: due times are looked for after the last one that was dealt with.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice, takewhile
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from isolet.domain.choices import one_of
from isolet.domain.cron import Cron
from isolet.domain.json_bounds import bounded_json
from isolet.errors import InvalidInput
from isolet.ids import FunctionId, JobId, ProjectId, ScheduleId, WorkflowId

GRACE_S = 10
MISSED_RUNS_MAX = 100
# More than so many due times before the window are not counted: a schedule of each minute has them in five months.
MISSED_COUNTED_MAX = 200_000
BACKFILL_MAX = 1_000
SCHEDULES_MAX = 100
NAME_MAX_CHARS = 100
# The schedule that a function's cron trigger is.
TRIGGER_NAME = "trigger"
# And the one that it names in its options.
OPTIONS_NAME = "options.schedule"
PAYLOAD_MAX_BYTES = 65_536
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Overlap(StrEnum):
    """What becomes of a firing while the one before it runs."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"
    REPLACE = "replace"


class Missed(StrEnum):
    """Which of the missed due times are run later: the newest, none, or all."""

    ONE = "one"
    NONE = "none"
    ALL = "all"


class Policies(Struct, frozen=True, kw_only=True):
    """`missed_window_s` is how old a missed due time may be to be run. `jitter_s` spreads schedules over seconds.

    `retries` are further attempts at a firing that failed, the first after `retry_backoff_s`, which doubles each time.
    `pause_after_failures` firings that failed in a row pause the schedule; 0 is never.
    """

    overlap: Overlap = Overlap.SKIP
    missed: Missed = Missed.ONE
    missed_window_s: int = 86_400
    jitter_s: int = 0
    retries: int = 0
    retry_backoff_s: int = 10
    pause_after_failures: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def changed(self, values: Mapping[str, object]) -> Policies:
        """These policies with those that a caller sent in their place. Raises InvalidInput."""
        return replace(self, **{name: _checked(name, value) for name, value in values.items()})


POLICIES = Policies.__struct_fields__
_BOUNDS = {
    "missed_window_s": (0, 31 * 86_400),
    "jitter_s": (0, 3_600),
    "retries": (0, 20),
    "retry_backoff_s": (1, 3_600),
    "pause_after_failures": (0, 1_000),
}


def _checked(name: str, value: object) -> Any:
    if name == "overlap":
        return one_of(f"{name}:", value, Overlap)
    if name == "missed":
        return one_of(f"{name}:", value, Missed)
    if name not in _BOUNDS:
        raise InvalidInput(f"{name}: is not known")
    low, high = _BOUNDS[name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidInput(f"{name}: must be a whole number from {low} to {high}")
    return value


def jitter(schedule_id: str, jitter_s: int) -> timedelta:
    """How long after its due times a schedule fires: always the same for one schedule, from 0 up to `jitter_s`."""
    if jitter_s == 0:
        return timedelta()
    share = int.from_bytes(hashlib.sha256(schedule_id.encode()).digest()[:8]) / 2**64
    return timedelta(milliseconds=int(share * jitter_s * 1000))


class Plan(Struct, frozen=True, kw_only=True):
    """`runs` are due times to run now, oldest first; `missed` counts those not run, `passed` has the newest.

    `last_due` is the newest that was dealt with.
    """

    runs: tuple[datetime, ...]
    missed: int
    passed: tuple[datetime, ...] = ()
    last_due: datetime
    next_due: datetime | None


_KEPT = {Missed.ONE: 1, Missed.NONE: 0, Missed.ALL: MISSED_RUNS_MAX}


def plan(cron: Cron, policies: Policies, *, last_due: datetime, now: datetime, since: datetime) -> Plan:
    """What to do with the due times after `last_due` up to `now`. This server looks for them since `since`.

    Takes microseconds for each due time that passed, and the memory of `MISSED_RUNS_MAX` of them.
    """
    window = now - timedelta(seconds=policies.missed_window_s)
    begin = max(last_due, window - timedelta(microseconds=1))
    missed = sum(1 for _ in islice(takewhile(lambda due: due < window, cron.after(last_due)), MISSED_COUNTED_MAX))
    late = max(since, now - timedelta(seconds=GRACE_S))
    caught_up: deque[datetime] = deque(maxlen=_KEPT[policies.missed])
    passed: deque[datetime] = deque(maxlen=2 * MISSED_RUNS_MAX)
    on_time: list[datetime] = []
    newest, following = last_due, None
    for due in cron.after(begin):
        if due > now:
            following = due
            break
        newest = due
        if due > late:
            on_time.append(due)
        else:
            missed += 1
            caught_up.append(due)
            passed.append(due)
    if policies.missed is Missed.ONE and on_time:
        caught_up.clear()
    runs = (*caught_up, *on_time)
    left = tuple(due for due in passed if due not in runs)
    return Plan(runs=runs, missed=missed - len(caught_up), passed=left, last_due=max(newest, begin), next_due=following)


class FiringStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    MISSED = "missed"

    @property
    def is_open(self) -> bool:
        return self in (FiringStatus.QUEUED, FiringStatus.RUNNING)


class Schedule(Struct, frozen=True, kw_only=True):
    """When a function is run, or a workflow: one of the two ids is there. `seen_ms` is up to when due times
    have been dealt with, `next_due_ms` the next one.

    `last_due_ms` and `last_status` are of the newest due time that was run. `failures` failed in a row. Jitter is in
    `next_fire_ms` only.
    """

    id: ScheduleId
    project_id: ProjectId
    function_id: FunctionId | None = None
    workflow_id: WorkflowId | None = None
    name: str
    cron: Cron
    payload: Any = None
    policies: Policies = field(default_factory=Policies)
    enabled: bool = True
    paused_reason: str | None = None
    seen_ms: int
    next_due_ms: int | None = None
    last_due_ms: int | None = None
    last_status: FiringStatus | None = None
    missed_total: int = 0
    failures: int = 0
    created_at_ms: int
    updated_at_ms: int

    @property
    def jitter_ms(self) -> int:
        return jitter(self.id, self.policies.jitter_s) // timedelta(milliseconds=1)

    @property
    def next_fire_ms(self) -> int | None:
        return None if self.next_due_ms is None else self.next_due_ms + self.jitter_ms


class Firing(Struct, frozen=True, kw_only=True):
    """One due time that was dealt with. `run_id` is the id of the invocation, or of the workflow's run. `counted`
    is false for those that were asked for, by `run` and `backfill`.
    """

    id: JobId
    schedule_id: ScheduleId
    due_ms: int
    fired_at_ms: int
    status: FiringStatus
    counted: bool = True
    attempt: int = 0
    run_id: str | None = None

    @property
    def key(self) -> str:
        """No two firings have the same: of a due time there is one that counts."""
        return f"{self.schedule_id}:{self.due_ms}" if self.counted else self.id


def check_payload(value: Any, *, of_workflow: bool) -> Any:
    """Any JSON for a function; for a workflow the variables of its runs. Raises InvalidInput."""
    if of_workflow and value is not None and not isinstance(value, Mapping):
        raise InvalidInput("payload: must be an object, the variables of the workflow's runs")
    return bounded_json("payload", value, most=PAYLOAD_MAX_BYTES)


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def in_ms(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(milliseconds=1)


def started(schedule: Schedule, now_ms: int) -> Schedule:
    """The schedule from now on: what was due before is not made up for."""
    following = schedule.cron.next_after(moment(now_ms)) if schedule.enabled else None
    return replace(schedule, seen_ms=now_ms, next_due_ms=None if following is None else in_ms(following))


def paused(schedule: Schedule, reason: str | None, now_ms: int) -> Schedule:
    return replace(schedule, enabled=False, paused_reason=reason, next_due_ms=None, updated_at_ms=now_ms)


def check_schedule_name(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= NAME_MAX_CHARS or not value.isprintable():
        raise InvalidInput(f"name: must be 1 to {NAME_MAX_CHARS} characters of one line")
    if value in (TRIGGER_NAME, OPTIONS_NAME):
        raise InvalidInput(f"name: {value} is that of the function's own trigger")
    return value
