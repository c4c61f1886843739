"""Durable work: states and their one transition function, and leases. Knows no kind of job.

A job is a row that is its own queue entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NewType

from msgspec import Struct
from msgspec.structs import asdict, force_setattr, replace

from isolet.domain.invocations import cut_error
from isolet.errors import Conflict
from isolet.ids import FunctionId, JobId, ProjectId

LEASE_MS = 15_000
HEARTBEAT_S = 5.0
# A call that found no room asks again after this; nothing ran, so no attempt is counted.
NO_ROOM_DELAY_MS = 500
# What is added to when a job is due while it is held, which gives a time that does not come. The sum takes as many
# bytes as a time that does.
HELD_UNTIL_MS = 100_000_000_000_000
HISTORY_MAX = 50


# The name under which a kind of job is registered with the engine, of 20 characters at most.
JobKind = NewType("JobKind", str)


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


class Attempt(Struct, frozen=True, kw_only=True):
    """One try. `status` is the HTTP status that it ended with, None without a reply and for other kinds of work.

    Whatever `error` says is cut to what is stored of an error, and made storable.
    """

    at_ms: int
    duration_ms: int
    status: int | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if self.error is not None:
            force_setattr(self, "error", cut_error(self.error))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Job(Struct, frozen=True, kw_only=True):
    """`lane` is `{project}:{part}`: the jobs of a kind that share a limit. Where it is empty the engine fills it in.

    `payload` says what is to be done and `result` what came of it, as texts of the kind's own; the engine does not read
    them. `body` and `result_body` are the large parts of both. `target` is what people know a job by and search for:
    the path and query of a call, the URL of a callback. `function_id` and `function_name` are empty for a job that is
    not about a function. `parent_id` is the job that this one tells of, or goes on with. `due_at_ms` may be in the
    future: the job waits until then.

    `claims` counts leases and is the fence: an outcome counts only from the newest claim. `crashes` counts leases in a
    row that ended without an outcome.

    `body_bytes` is the size of `body`, which stays in the store until the job starts: then it is longer than what is
    here. `keeps_result` says that the result of an earlier try stays in the store as it is.
    """

    id: JobId
    kind: JobKind
    project_id: ProjectId
    function_id: FunctionId
    function_name: str
    created_at_ms: int
    due_at_ms: int
    lane: str = ""
    target: str = ""
    payload: str = ""
    body: bytes = b""
    parent_id: JobId | None = None
    state: JobState = JobState.QUEUED
    lease_owner: str | None = None
    lease_until_ms: int | None = None
    claims: int = 0
    crashes: int = 0
    attempts: int = 0
    cancel_requested: bool = False
    finished_at_ms: int | None = None
    result: str = ""
    result_body: bytes = b""
    error: str | None = None
    history: tuple[Attempt, ...] = ()
    body_bytes: int = 0
    keeps_result: bool = False

    def __post_init__(self) -> None:
        if self.body_bytes < len(self.body):
            force_setattr(self, "body_bytes", len(self.body))

    @property
    def size_bytes(self) -> int:
        """What is asked for, with all that goes with its body: headers and addresses may be long."""
        return self.body_bytes + len(self.payload) + len(self.target)

    @property
    def held(self) -> bool:
        """Whether it waits in a copy of the database that it was accepted in."""
        return self.state is JobState.QUEUED and self.due_at_ms >= HELD_UNTIL_MS


class Result(Struct, frozen=True, kw_only=True):
    """What a try gave: `payload` is the kind's own text, `body` may be large.

    `error` is None when the work was done as asked; it is made storable as an attempt's.
    """

    payload: str = ""
    body: bytes = b""
    error: str | None = None

    def __post_init__(self) -> None:
        if self.error is not None:
            force_setattr(self, "error", cut_error(self.error))


# The members of a job that say what is to be done; the others say how far that is.
_ASKED = ("kind", "project_id", "function_id", "function_name", "lane", "target", "payload", "body", "parent_id")


def lane(project_id: ProjectId, part: str) -> str:
    """Projects share places by what is before the colon."""
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
    """The job after a try. Every try that ended counts; those that were handed back or expired are only listed.

    What would be queued again though its end was asked for is cancelled.
    """
    state = next_state(job.state, event)
    counts = event in (JobEvent.SUCCEEDED, JobEvent.FAILED, JobEvent.RETRIED)
    # Or it would be behind all that came meanwhile, after each stop of a server.
    keeps_turn = event is JobEvent.HANDED_BACK and not delay_ms
    if state is JobState.QUEUED and job.cancel_requested:
        state = next_state(job.state, JobEvent.CANCELLED)
    return replace(
        job,
        state=state,
        lease_owner=None,
        lease_until_ms=None,
        attempts=job.attempts + 1 if counts and attempt is not None else job.attempts,
        crashes=job.crashes + 1 if event is JobEvent.EXPIRED else 0 if counts else job.crashes,
        due_at_ms=now_ms + delay_ms if state is JobState.QUEUED and not keeps_turn else job.due_at_ms,
        finished_at_ms=now_ms if state.ended else None,
        result=job.result if result is None else result.payload,
        result_body=job.result_body if result is None else result.body,
        keeps_result=job.keeps_result and result is None,
        error=job.error if attempt is None else attempt.error,
        history=job.history if attempt is None else (*job.history, attempt)[-HISTORY_MAX:],
    )
