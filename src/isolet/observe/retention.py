"""Keeps records bounded: by age, and by rows and bytes a project.

In small steps with pauses, so that no record waits long.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from isolet.clock import Clock
from isolet.database import metrics as stored_metrics
from isolet.database import retention as stored
from isolet.database.connection import Database
from isolet.database.schedules import delete_old_firings
from isolet.domain.metrics import DAY_MS, Step
from isolet.errors import StoreError
from isolet.ids import ProjectId
from isolet.telemetry import get_logger

log = get_logger("retention")

_EVERY_S = 60.0
_PAUSE_S = 0.05
_STEP_ROWS = 500
_FOLD_EVERY = 10
_UNBOUNDED = 2**62
# A project that wrote such a part of what it may keep, and so much, is looked at before the next sweep.
_SHARE = 8
_SHARE_MIN_BYTES = 16 * 1024 * 1024
_ROLLUPS_MS = {Step.MINUTE: 2 * DAY_MS, Step.HOUR: 400 * DAY_MS}


class Retention:
    """`max_bytes` is what the records of a project may take."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        days: float,
        rows: int,
        max_bytes: Callable[[ProjectId], int] = lambda _: _UNBOUNDED,
    ) -> None:
        self._database = database
        self._clock = clock
        self._keep_ms = round(days * DAY_MS)
        self._rows = rows
        self._max_bytes = max_bytes
        self._written: dict[ProjectId, int] = {}
        self._many_written = asyncio.Event()
        self._sweeps = 0
        self.deleted = 0

    def written(self, project_id: ProjectId, size_bytes: int) -> None:
        """A project wrote records; when they are many, its old ones do not wait for the next sweep."""
        size = self._written[project_id] = self._written.get(project_id, 0) + size_bytes
        if size > max(self._max_bytes(project_id) // _SHARE, _SHARE_MIN_BYTES):
            self._many_written.set()

    async def run(self) -> None:
        """The background loop; ends by cancellation."""
        while True:
            full = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await self._many_written.wait()
                full = False
            self._many_written.clear()
            try:
                await (self.sweep() if full else self.sweep_written())
            except StoreError as exc:
                log.error("cannot delete old records", error=exc.message)

    async def sweep(self) -> None:
        """Delete what is too old or too much. Raises StoreError."""
        now, database = self._clock.now_ms(), self._database
        oldest_ms = now - self._keep_ms
        await self._steps(lambda: database.write(stored.delete_older, oldest_ms, limit=_STEP_ROWS))
        await self._steps(lambda: database.write(delete_old_firings, oldest_ms, limit=_STEP_ROWS), counted=False)
        for project_id in await database.read(stored.recorded_projects):
            oldest = await database.read(stored.oldest_to_keep, project_id, rows=self._rows)
            if oldest is not None:
                await self._steps(
                    lambda project=project_id, kept=oldest: database.write(  # type: ignore[misc]
                        stored.delete_before, project, kept, limit=_STEP_ROWS
                    )
                )
            await self._sweep_bytes(project_id)
        if self._sweeps % _FOLD_EVERY == 0:
            await self._steps(lambda: database.write(stored_metrics.fold_deleted, limit=_STEP_ROWS), counted=False)
        self._sweeps += 1
        for step, keep_ms in _ROLLUPS_MS.items():
            before = now - keep_ms
            await self._steps(
                lambda step=step, before=before: database.write(  # type: ignore[misc]
                    stored_metrics.prune_rollups, step, before, limit=_STEP_ROWS
                ),
                counted=False,
            )

    async def sweep_written(self) -> None:
        """Look at the sizes of projects that wrote since they were last looked at. Raises StoreError."""
        for project_id in list(self._written):
            await self._sweep_bytes(project_id)

    async def _sweep_bytes(self, project_id: ProjectId) -> None:
        self._written.pop(project_id, None)
        max_bytes = self._max_bytes(project_id)
        newest = await self._database.read(stored.newest_over, project_id, max_bytes=max_bytes)
        if newest is not None:
            await self._steps(lambda: self._database.write(stored.delete_up_to, project_id, newest, limit=_STEP_ROWS))

    async def _steps(self, delete: Callable[[], Awaitable[int]], *, counted: bool = True) -> None:
        """Until there is nothing to delete."""
        while deleted := await delete():
            if counted:
                self.deleted += deleted
            await asyncio.sleep(_PAUSE_S)
