"""How many jobs of each project have not ended, and what they hold: a project may have so many and no more.

The numbers are those of the last count in the store and of what this server did since. What other servers do is seen at
the next count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from isolet.database import jobs as stored
from isolet.database.connection import Database
from isolet.domain.jobs import Job, JobKind
from isolet.domain.project_limits import ProjectLimits
from isolet.errors import TooLarge, TooManyRequests
from isolet.ids import ProjectId

RETRY_AFTER_S = 10
_MIB = 1024 * 1024
# Counting takes at most this part of the time.
_SHARE = 0.05


class _Sum(Struct):
    """`following_bytes` is what those of it take that follow from others."""

    jobs: int = 0
    size_bytes: int = 0
    following_bytes: int = 0


class Backlog:
    """`limits_of` gives a project's limits as they are now; `on_ended` hears of each job that ended."""

    def __init__(
        self,
        database: Database,
        limits_of: Callable[[ProjectId], ProjectLimits],
        *,
        on_ended: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self._on_ended = on_ended
        self._database = database
        self._limits_of = limits_of
        self._counted: dict[ProjectId, _Sum] = {}
        self._changes: dict[ProjectId, _Sum] = {}
        self._since: dict[ProjectId, _Sum] | None = None
        self._following: set[JobKind] = set()
        self._pending: dict[ProjectId, _Sum] = {}
        self._next_count = 0.0

    def let_follow(self, kind: JobKind) -> None:
        """Jobs of this kind follow from others, and are never refused."""
        self._following.add(kind)

    async def count(self) -> None:
        """Take the numbers from the store, unless it was done a short while ago. Raises StoreError."""
        began = time.monotonic()
        if began < self._next_count:
            return
        # What happens while the store counts may be in its count or not.
        since = self._since = {}
        try:
            found = await self._database.read(stored.count_by_project)
        finally:
            self._since = None
        counted: dict[ProjectId, _Sum] = {}
        for project_id, kind, jobs, size_bytes in found:
            self._grow(counted, project_id, kind, jobs, size_bytes)
        self._counted, self._changes = counted, since
        self._next_count = time.monotonic() + (time.monotonic() - began) / _SHARE

    def room(self, project_id: ProjectId) -> int:
        """How many more jobs a project may have."""
        return max(0, self._limits_of(project_id).queued_calls - self._total(project_id).jobs)

    def is_held_back(self, project_id: ProjectId) -> bool:
        """Whether what follows from a project's jobs takes as much as all that waits for it may: then none of those run
        from which more would follow. It may be asked in any thread.
        """
        sums = [found for sums in self._sums if (found := sums.get(project_id)) is not None]
        return sum(found.following_bytes for found in sums) > self._limits_of(project_id).queued_mb * _MIB

    def full(self) -> frozenset[ProjectId]:
        """Projects that have as many jobs as they may."""
        known = self._counted.keys() | self._changes.keys() | self._pending.keys()
        return frozenset(project_id for project_id in known if not self.room(project_id))

    def check(self, project_id: ProjectId, size_bytes: int) -> None:
        """Raises TooManyRequests when there is no room for one more, TooLarge when there never is."""
        limits, now = self._limits_of(project_id), self._total(project_id)
        if size_bytes > limits.queued_mb * _MIB:
            raise TooLarge(f"The body is larger than all that waits for this project may be: {limits.queued_mb} MiB")
        if now.jobs >= limits.queued_calls:
            raise _too_many(limits.queued_calls)
        if now.size_bytes + size_bytes > limits.queued_mb * _MIB:
            raise TooManyRequests(
                f"The asynchronous calls and callbacks of this project that have not ended hold {limits.queued_mb} MiB "
                "(queued_mb)",
                retry_after_s=RETRY_AFTER_S,
            )

    @contextmanager
    def admitted(self, job: Job) -> Iterator[None]:
        """Count a job while it is being written; `added` is to be called when it was. Raises as `check` does."""
        self.check(job.project_id, job.size_bytes)
        self._add(self._pending, job, 1)
        try:
            yield
        finally:
            self._add(self._pending, job, -1)

    @contextmanager
    def reserved(self, project_id: ProjectId, count: int) -> Iterator[None]:
        """The same for so many jobs without bodies. Raises TooManyRequests when there is no room for all of them."""
        if self.room(project_id) < count:
            raise _too_many(self._limits_of(project_id).queued_calls)
        self._grow(self._pending, project_id, None, count, 0)
        try:
            yield
        finally:
            self._grow(self._pending, project_id, None, -count, 0)

    def added(self, job: Job) -> None:
        self._change(job, 1)

    def ended(self, job: Job) -> None:
        self._change(job, -1)
        self._on_ended(job)

    def forget(self, project_id: ProjectId) -> None:
        """The project is gone, and its jobs with it."""
        for sums in (self._counted, self._changes):
            sums.pop(project_id, None)

    def _change(self, job: Job, sign: int) -> None:
        self._add(self._changes, job, sign)
        if self._since is not None:
            self._add(self._since, job, sign)

    @property
    def _sums(self) -> tuple[dict[ProjectId, _Sum], ...]:
        return self._counted, self._changes, self._pending

    def _total(self, project_id: ProjectId) -> _Sum:
        parts = [sums[project_id] for sums in self._sums if project_id in sums]
        return _Sum(sum(part.jobs for part in parts), sum(part.size_bytes for part in parts))

    def _add(self, sums: dict[ProjectId, _Sum], job: Job, sign: int) -> None:
        self._grow(sums, job.project_id, job.kind, sign, sign * job.size_bytes)

    def _grow(
        self, sums: dict[ProjectId, _Sum], project_id: ProjectId, kind: JobKind | None, jobs: int, size_bytes: int
    ) -> None:
        found = sums.setdefault(project_id, _Sum())
        found.jobs += jobs
        found.size_bytes += size_bytes
        found.following_bytes += size_bytes if kind in self._following else 0
        if not found.jobs and not found.size_bytes and not found.following_bytes:
            del sums[project_id]


def _too_many(most: int) -> TooManyRequests:
    return TooManyRequests(
        f"This project has {most} asynchronous calls and callbacks that have not ended (queued_calls)",
        retry_after_s=RETRY_AFTER_S,
    )
