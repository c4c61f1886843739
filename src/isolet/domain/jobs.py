"""Durable work: states and their one transition function, leases, retries, and fair shares of a queue.

A job is a row that is its own queue entry. The id of an asynchronous call's job is the id of its invocation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from isolet.errors import Conflict, InvalidInput
from isolet.ids import FunctionId, JobId, ProjectId

LEASE_MS = 15_000
HEARTBEAT_S = 5.0
# A call that found no room asks again after this; nothing ran, so no attempt is counted.
NO_ROOM_DELAY_MS = 500
# When a job that is held is due: a time that does not come. It takes as many bytes as one that does.
HELD_UNTIL_MS = 100_000_000_000_000
HISTORY_MAX = 50
RETRY_AFTER_MAX_MS = 24 * 3_600_000
_JITTER = 0.1


class JobKind(StrEnum):
    CALL = "call"
    CALLBACK = "callback"


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class JobEvent(StrEnum):
    """`HANDED_BACK` is a server that stops, `EXPIRED` one that died; neither counts as an attempt that ended."""

    CLAIMED = "claimed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"
    HANDED_BACK = "handed_back"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REOPENED = "reopened"


_NEXT: Mapping[tuple[JobState, JobEvent], JobState] = {
    (JobState.QUEUED, JobEvent.CLAIMED): JobState.RUNNING,
    (JobState.QUEUED, JobEvent.CANCELLED): JobState.CANCELLED,
    (JobState.RUNNING, JobEvent.SUCCEEDED): JobState.SUCCEEDED,
    (JobState.RUNNING, JobEvent.FAILED): JobState.FAILED,
    (JobState.RUNNING, JobEvent.CANCELLED): JobState.CANCELLED,
    (JobState.RUNNING, JobEvent.RETRIED): JobState.QUEUED,
    (JobState.RUNNING, JobEvent.HANDED_BACK): JobState.QUEUED,
    (JobState.RUNNING, JobEvent.EXPIRED): JobState.QUEUED,
    (JobState.FAILED, JobEvent.REOPENED): JobState.QUEUED,
    (JobState.SUCCEEDED, JobEvent.REOPENED): JobState.QUEUED,
    (JobState.CANCELLED, JobEvent.REOPENED): JobState.QUEUED,
}


def next_state(state: JobState, event: JobEvent) -> JobState:
    """The one transition function. Raises Conflict for a pair that is not listed."""
    try:
        return _NEXT[state, event]
    except KeyError:
        raise Conflict(f"A job that is {state} cannot be {event}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try. `status` is the HTTP status that it ended with, None when there was no reply."""

    at_ms: int
    duration_ms: int
    status: int | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`lane` is `{project}:{function}` or `{project}:{host}`: what has a concurrency limit of its own.

    `claims` counts leases and is the fence: an outcome counts only from the newest claim. `target` is the path and
    query of a call, the URL of a callback. A callback's `parent_id` is the call that it tells of.
    """

    id: JobId
    kind: JobKind
    project_id: ProjectId
    function_id: FunctionId
    function_name: str
    lane: str
    method: str
    target: str
    created_at_ms: int
    due_at_ms: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    parent_id: JobId | None = None
    callback_url: str | None = None
    state: JobState = JobState.QUEUED
    lease_owner: str | None = None
    lease_until_ms: int | None = None
    claims: int = 0
    attempts: int = 0
    cancel_requested: bool = False
    finished_at_ms: int | None = None
    result_status: int | None = None
    result_headers: Sequence[tuple[str, str]] = ()
    result_body: bytes = b""
    error: str | None = None
    history: tuple[Attempt, ...] = ()

    @property
    def held(self) -> bool:
        """Whether it waits in a copy of the database that it was accepted in."""
        return self.state is JobState.QUEUED and self.due_at_ms >= HELD_UNTIL_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a try gave. `error` is None for a reply of the function's own."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    error: str | None = None


# The members of a job that say what is to be done; the others say how far that is.
_ASKED = (
    *("kind", "project_id", "function_id", "function_name", "lane", "method", "target", "headers", "body"),
    *("parent_id", "callback_url"),
)


def lane(project_id: ProjectId, part: str) -> str:
    return f"{project_id}:{part}"


def asked_again(job: Job, job_id: JobId, now_ms: int) -> Job:
    """A new job that asks for the same."""
    asked = {name: getattr(job, name) for name in _ASKED}
    return Job(id=job_id, created_at_ms=now_ms, due_at_ms=now_ms, **asked)


def claimed(job: Job, owner: str, now_ms: int) -> Job:
    return replace(
        job,
        state=next_state(job.state, JobEvent.CLAIMED),
        lease_owner=owner,
        lease_until_ms=now_ms + LEASE_MS,
        claims=job.claims + 1,
    )


def concluded(
    job: Job, event: JobEvent, now_ms: int, *, attempt: Attempt | None, result: Result | None = None, delay_ms: int = 0
) -> Job:
    """The job after a try. Every try that ended counts; those that were handed back or expired are only listed."""
    state = next_state(job.state, event)
    counts = event in (JobEvent.SUCCEEDED, JobEvent.FAILED, JobEvent.RETRIED)
    return replace(
        job,
        state=state,
        lease_owner=None,
        lease_until_ms=None,
        attempts=job.attempts + 1 if counts and attempt is not None else job.attempts,
        due_at_ms=now_ms + delay_ms if state is JobState.QUEUED else job.due_at_ms,
        finished_at_ms=now_ms if state.ended else None,
        result_status=job.result_status if result is None else result.status,
        result_headers=job.result_headers if result is None else result.headers,
        result_body=job.result_body if result is None else result.body,
        error=job.error if attempt is None else attempt.error,
        history=job.history if attempt is None else (*job.history, attempt)[-HISTORY_MAX:],
    )


# Retries.


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """A function's `retry` setting. The delay doubles from `backoff_ms` up to `backoff_max_ms`."""

    attempts: int = 1
    backoff_ms: int = 1_000
    backoff_max_ms: int = 3_600_000
    statuses: tuple[int, ...] = (500, 502, 503, 504)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "statuses": list(self.statuses)}

    def delay_ms(self, attempts: int, status: int, random: float) -> int | None:
        """How long to wait after so many attempts, the last with `status`; None when there is to be no other."""
        if attempts >= self.attempts or status not in self.statuses:
            return None
        return jittered(min(self.backoff_ms * 2 ** (attempts - 1), self.backoff_max_ms), random)


_RETRY_BOUNDS = {"attempts": (1, 20), "backoff_ms": (0, 3_600_000), "backoff_max_ms": (0, 86_400_000)}


def check_retry(value: object) -> Retry:
    """From JSON; None is the default. Raises InvalidInput."""
    if value is None:
        return Retry()
    if not isinstance(value, Mapping):
        raise InvalidInput("retry must be an object or null")
    values: dict[str, Any] = {}
    for name, given in value.items():
        if name == "statuses":
            values[name] = _check_statuses(given)
        elif name in _RETRY_BOUNDS:
            low, high = _RETRY_BOUNDS[name]
            if isinstance(given, bool) or not isinstance(given, int) or not low <= given <= high:
                raise InvalidInput(f"retry.{name} must be a whole number from {low} to {high}")
            values[name] = given
        else:
            raise InvalidInput(f"retry.{name} is not known")
    return Retry(**values)


def _check_statuses(given: object) -> tuple[int, ...]:
    if not isinstance(given, list) or not all(
        isinstance(status, int) and not isinstance(status, bool) and 300 <= status <= 599 for status in given
    ):
        raise InvalidInput("retry.statuses must be a list of statuses from 300 to 599")
    return tuple(given)


def jittered(delay_ms: int, random: float) -> int:
    """The delay, ten per cent more or less; `random` is from 0 to 1."""
    return round(delay_ms * (1 - _JITTER + 2 * _JITTER * random))


def delivery_delay_ms(
    schedule_s: Sequence[float], attempts: int, random: float, *, retry_after_ms: int = 0
) -> int | None:
    """How long to wait after so many attempts at a callback; None when the schedule is used up."""
    if attempts >= len(schedule_s):
        return None
    return max(jittered(round(schedule_s[attempts] * 1000), random), min(retry_after_ms, RETRY_AFTER_MAX_MS))


# Fairness.


def shares(
    lanes: Sequence[str], limit: int, *, running: Mapping[str, int], room: Callable[[str], int]
) -> dict[str, int]:
    """How many jobs to take from each lane: always from the project that has the fewest, then from its least lane.

    `running` counts jobs by project; `room` tells how many more a lane may run.
    """
    left = {name: room(name) for name in lanes}
    by_project: dict[str, list[str]] = {}
    for name in lanes:
        if left[name] > 0:
            by_project.setdefault(name.partition(":")[0], []).append(name)
    load = {project: running.get(project, 0) for project in by_project}
    taken: dict[str, int] = {}
    for _ in range(limit):
        if not load:
            break
        project = min(load, key=load.__getitem__)
        name = min(by_project[project], key=lambda one: taken.get(one, 0))
        taken[name] = taken.get(name, 0) + 1
        load[project] += 1
        if taken[name] == left[name]:
            by_project[project].remove(name)
            if not by_project[project]:
                del load[project]
    return taken
