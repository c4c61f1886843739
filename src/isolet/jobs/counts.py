"""How many jobs wait and run, for whoever watches the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from isolet.database import jobs as stored
from isolet.database.connection import Database
from isolet.domain.jobs import JobKind, JobState
from isolet.errors import StoreError
from isolet.jobs.kinds import Kinds
from isolet.telemetry import get_logger

log = get_logger("jobs")

_COUNTED_S = 2.0
_COUNT_TIMEOUT_S = 2.0

Counts = Mapping[tuple[JobKind, JobState], int]


class OpenCounts:
    def __init__(self, database: Database, kinds: Kinds) -> None:
        self._database = database
        self._kinds = kinds
        self._counting = asyncio.Lock()
        self._counted_at: float | None = None
        self._counts: Counts = {}

    async def read(self) -> Counts:
        """Jobs that wait and run on all servers, of each kind that is known here or has any; at most two seconds old,
        the last known while the store is away.
        """
        async with self._counting:
            if self._counted_at is None or time.monotonic() - self._counted_at > _COUNTED_S:
                try:
                    async with asyncio.timeout(_COUNT_TIMEOUT_S):
                        self._counts = await self._database.read(stored.count_open)
                except (StoreError, TimeoutError) as exc:
                    log.warning("cannot count jobs", error=str(exc))
                self._counted_at = time.monotonic()
        none = {(kind, state): 0 for kind in self._kinds.names for state in (JobState.QUEUED, JobState.RUNNING)}
        return {**none, **self._counts}
