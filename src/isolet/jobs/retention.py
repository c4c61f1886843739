"""Deletes jobs that ended long ago, the oldest of projects that keep too much, and keys that ran out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from isolet.clock import Clock
from isolet.database import job_retention as stored
from isolet.database.connection import Database
from isolet.domain.jobs import Job
from isolet.domain.project_limits import ProjectLimits
from isolet.errors import StoreError
from isolet.ids import ProjectId
from isolet.telemetry import get_logger

log = get_logger("jobs")

_EVERY_S = 60.0
_PAUSE_S = 0.02
_KEYS_AT_ONCE = 500
# So often every project is looked at, whatever this server saw: others work on the database too.
_ALL_EVERY = 60
_MIB = 1024 * 1024
# A project whose jobs ended with such a part of what it may keep, and so much, is looked at at once.
_SHARE = 8
_SHARE_MIN_BYTES = 16 * _MIB


class JobRetention:
    """`limits_of` gives a project's limits as they are now."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        retention_ms: int,
        limits_of: Callable[[ProjectId], ProjectLimits],
    ) -> None:
        self._database = database
        self._clock = clock
        self._retention_ms = retention_ms
        self._limits_of = limits_of
        self._ended: dict[ProjectId, int] = {}
        self._much_ended = asyncio.Event()

    def ended(self, job: Job) -> None:
        """A job has ended: what a project keeps grows."""
        size = self._ended.get(job.project_id, 0) + job.size_bytes + len(job.result_body)
        self._ended[job.project_id] = size
        if size > max(self._limits_of(job.project_id).results_mb * _MIB // _SHARE, _SHARE_MIN_BYTES):
            self._much_ended.set()

    async def run(self) -> None:
        """The background loop; ends by cancellation."""
        rounds = 0
        while True:
            try:
                if rounds % _ALL_EVERY == 0:
                    await self.keep()
                else:
                    await self.keep_ended()
                await self._age_out()
            except StoreError as exc:
                log.error("cannot delete old jobs", error=exc.message)
            rounds += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await self._much_ended.wait()
            self._much_ended.clear()

    async def keep(self) -> None:
        """Bound what each project keeps. Raises StoreError."""
        self._ended.clear()
        for project_id, size in await self._database.read(stored.kept_sizes):
            await self._shrink(project_id, size)
        await self._drop_keys()

    async def keep_ended(self) -> None:
        """Bound what those projects keep of which jobs ended since they were last looked at. Raises StoreError."""
        for project_id in list(self._ended):
            self._ended.pop(project_id, None)
            for _, size in await self._database.read(stored.kept_sizes, project_id):
                await self._shrink(project_id, size)

    async def _shrink(self, project_id: ProjectId, size: int) -> None:
        over = size - self._limits_of(project_id).results_mb * _MIB
        while over > 0:
            freed = await self._database.write(stored.delete_oldest, project_id, over)
            if not freed:
                return
            over -= freed
            await asyncio.sleep(_PAUSE_S)

    async def _drop_keys(self) -> None:
        """Keys that ask for calls which are gone: there are no more than calls are kept."""
        after: tuple[str, str] | None = None
        while True:
            keys, after = await self._database.read(stored.keys_without_jobs, after)
            for first in range(0, len(keys), _KEYS_AT_ONCE):
                await self._database.write(stored.delete_these_keys, keys[first : first + _KEYS_AT_ONCE])
            if after is None:
                return
            await asyncio.sleep(_PAUSE_S)

    async def _age_out(self) -> None:
        now_ms, database = self._clock.now_ms(), self._database
        await _steps(lambda: database.write(stored.delete_ended_before, now_ms - self._retention_ms))
        await _steps(lambda: database.write(stored.delete_keys, now_ms))


async def _steps(delete: Callable[[], Awaitable[int]]) -> None:
    """With pauses, so that no other write waits long."""
    while await delete():
        await asyncio.sleep(_PAUSE_S)
