"""The kinds of jobs that are registered here: a handler and a worker each. Servers may queue what others know alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from msgspec.structs import replace

from isolet.domain.jobs import Job, JobKind, lane
from isolet.ids import JobId, ProjectId
from isolet.jobs.handler import Handler

# What the column holds.
_NAME_MAX_CHARS = 20


class Runs(Protocol):
    """What others need of a kind's worker."""

    @property
    def running(self) -> set[JobId]: ...
    def reserve(self, job: Job, instead_of: Job | None = None) -> Job: ...
    def kept(self, job: Job) -> None: ...
    def dropped(self, job: Job) -> None: ...
    def wake(self) -> None: ...
    def cancel(self, job_id: JobId) -> None: ...
    def forget(self, job_id: JobId) -> None: ...
    def forget_project(self, project_id: ProjectId) -> None: ...


class Kinds:
    def __init__(self) -> None:
        self._handlers: dict[JobKind, Handler] = {}
        self._workers: dict[JobKind, Runs] = {}

    def add(self, kind: JobKind, handler: Handler, worker: Runs) -> None:
        """Raises ValueError for a name that is taken or too long."""
        if kind in self._handlers or not 0 < len(kind) <= _NAME_MAX_CHARS:
            raise ValueError(f"cannot register jobs of kind {kind!r}: the name is taken, empty or too long")
        self._handlers[kind] = handler
        self._workers[kind] = worker

    @property
    def names(self) -> Iterable[JobKind]:
        return self._handlers.keys()

    def handler(self, kind: JobKind) -> Handler | None:
        return self._handlers.get(kind)

    @property
    def workers(self) -> Iterable[Runs]:
        return self._workers.values()

    @property
    def running(self) -> set[JobId]:
        return set().union(*(worker.running for worker in self.workers))

    def prepared(self, job: Job) -> Job:
        """The job with its lane. Raises ValueError for one without a lane whose kind is not known here."""
        if job.lane:
            return job
        if (handler := self.handler(job.kind)) is None:
            raise ValueError(f"cannot keep a job of kind {job.kind!r}: nobody registered it")
        return replace(job, lane=lane(job.project_id, handler.lane(job)))

    # A new job takes a free place of its kind as it is written: then nobody needs to claim it.

    def reserve(self, job: Job, instead_of: Job | None = None) -> Job:
        """The prepared job, leased to us when there is a place for it; see `Worker.reserve`."""
        job = self.prepared(job)
        worker = self._workers.get(job.kind)
        return job if worker is None else worker.reserve(job, instead_of)

    def kept(self, job: Job) -> None:
        """What `reserve` gave, or another job, is on disk now."""
        if (worker := self._workers.get(job.kind)) is not None:
            worker.kept(job)

    def dropped(self, job: Job) -> None:
        """What `reserve` gave was not written after all."""
        if (worker := self._workers.get(job.kind)) is not None:
            worker.dropped(job)

    def cancel(self, job_id: JobId) -> None:
        """End a try of this server's, if there is one."""
        for worker in self.workers:
            worker.cancel(job_id)

    def wake(self, kind: JobKind | None = None) -> None:
        """There is work in the store, of this kind or of any."""
        for name, worker in self._workers.items():
            if kind in (None, name):
                worker.wake()
