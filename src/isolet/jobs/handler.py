"""What a kind of job is to the engine. A kind is a module with a handler, which its feature registers with `Engine`."""

from __future__ import annotations

from abc import ABC, abstractmethod

from isolet.database.conclusions import Outcome
from isolet.domain.jobs import Attempt, Job, JobEvent, concluded

INTERNAL_ERROR = "internal error"


class Handler(ABC):
    """Runs the jobs of one kind, and says which of them share a limit.

    Whatever ends a job gives an `Outcome`: the job after it, made with `isolet.domain.jobs.concluded`, the jobs that
    follow, and a join. A try is repeated by the event `RETRIED` with a delay.
    """

    @abstractmethod
    def lane(self, job: Job) -> str:
        """What in the project the job's limit is for, such as a function. It runs in any thread, and does no I/O."""

    @abstractmethod
    def lane_limit(self, lane: str) -> int:
        """How many jobs of `{project}:{what lane() gave}` may run at once. It runs in any thread, and does no I/O."""

    def alone(self, lane: str) -> bool:
        """Whether a lane whose limit is 1 has that one place on all servers together, not on each. Jobs of such a lane
        are queued by transactions of their kind. It runs in any thread, and does no I/O.
        """
        return False

    @abstractmethod
    async def run(self, job: Job) -> Outcome:
        """One try. It is cancelled when the job's end is asked for, when its lease is lost, and when the server stops:
        what it began must end then. StoreError puts it off, as a try that did not count; what it raises else, and
        StoreRefused, is a fault of ours, and ends the job by `failed`.
        """

    def failed(self, job: Job, attempt: Attempt, now_ms: int) -> Outcome:
        """The job after it was given up for a reason other than its own: a fault of ours, servers that ended while they
        ran it, an outcome that could not be written or whose join refused. It runs in any thread, and does no I/O.
        """
        return Outcome(job=concluded(job, JobEvent.FAILED, now_ms, attempt=attempt))

    def cancelled(self, job: Job, attempt: Attempt, now_ms: int) -> Outcome:
        """The job after a try that was ended because its end was asked for. It runs in any thread, and does no I/O.

        A job that waits is cancelled without its handler: see `join` of `Engine.cancel`.
        """
        return Outcome(job=concluded(job, JobEvent.CANCELLED, now_ms, attempt=attempt))
