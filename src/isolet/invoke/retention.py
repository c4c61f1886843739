"""Keeps records bounded: by age, and by rows a project. In small steps with pauses, so that no record waits long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from isolet.clock import Clock
from isolet.domain.metrics import DAY_MS, Step
from isolet.errors import StoreError
from isolet.store import metrics as stored_metrics
from isolet.store import retention as stored
from isolet.store.database import Database
from isolet.telemetry import get_logger

log = get_logger("retention")

_EVERY_S = 60.0
_PAUSE_S = 0.05
_STEP_ROWS = 500
_ROLLUPS_MS = {Step.MINUTE: 2 * DAY_MS, Step.HOUR: 400 * DAY_MS}


class Retention:
    def __init__(self, database: Database, clock: Clock, *, days: float, rows: int) -> None:
        self._database = database
        self._clock = clock
        self._keep_ms = round(days * DAY_MS)
        self._rows = rows
        self.deleted = 0

    async def run(self) -> None:
        """The background loop; ends by cancellation."""
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self.sweep()
            except StoreError as exc:
                log.error("cannot delete old records", error=exc.message)

    async def sweep(self) -> None:
        """Delete what is too old or too much. Raises StoreError."""
        now, database = self._clock.now_ms(), self._database
        await self._steps(lambda: database.write(stored.delete_older, now - self._keep_ms, limit=_STEP_ROWS))
        for project_id in await database.read(stored.recorded_projects):
            oldest = await database.read(stored.oldest_to_keep, project_id, rows=self._rows)
            if oldest is not None:
                await self._steps(
                    lambda project=project_id, kept=oldest: database.write(  # type: ignore[misc]
                        stored.delete_before, project, kept, limit=_STEP_ROWS
                    )
                )
        for step, keep_ms in _ROLLUPS_MS.items():
            before = now - keep_ms
            await self._steps(
                lambda step=step, before=before: database.write(  # type: ignore[misc]
                    stored_metrics.prune_rollups, step, before, limit=_STEP_ROWS
                ),
                counted=False,
            )

    async def _steps(self, delete: Callable[[], Awaitable[int]], *, counted: bool = True) -> None:
        while True:
            deleted = await delete()
            if counted:
                self.deleted += deleted
            if deleted < _STEP_ROWS:
                return
            await asyncio.sleep(_PAUSE_S)
