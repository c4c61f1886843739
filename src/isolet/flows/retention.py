"""Deletes runs that ended long ago, the oldest runs of projects that keep too much, and graphs that no run needs.

It also knows which projects have open runs that hold far too much: those runs fail at their next step.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from isolet.clock import Clock
from isolet.database import run_retention as stored
from isolet.database.connection import Database
from isolet.domain.flows.executions import GRAPHS_KEPT
from isolet.domain.project_limits import ProjectLimits
from isolet.errors import StoreError
from isolet.ids import ProjectId
from isolet.telemetry import get_logger

log = get_logger("flows")

_WATCH_EVERY_S = 10.0
_KEEP_EVERY = 6
# No run begins beyond the limit; those that are under way may grow to so many times of it.
_FULL_AT = 2
_MIB = 1024 * 1024
# A graph that was used this long ago is in no transaction that begins a run.
_GRAPH_UNUSED_MS = 3_600_000
# So long after a graph was used, the run that it was used for has been written.
_GRAPH_BEGUN_MS = 60_000
# Runs that one transaction deletes, with all their steps and events.
_AT_ONCE = 20


class RunRetention:
    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        retention_ms: int,
        limits_of: Callable[[ProjectId], ProjectLimits],
        graphs_kept: int = GRAPHS_KEPT,
    ) -> None:
        self._graphs_kept = graphs_kept
        self._database = database
        self._clock = clock
        self._retention_ms = retention_ms
        self._limits_of = limits_of
        self._full: frozenset[ProjectId] = frozenset()

    def is_full(self, project_id: ProjectId) -> bool:
        """Whether the project's open runs have to end, as was seen some seconds ago."""
        return project_id in self._full

    async def run(self) -> None:
        """The background loop; ends by cancellation."""
        for rounds in itertools.count(1):
            await asyncio.sleep(_WATCH_EVERY_S)
            try:
                await self.watch()
                if rounds % _KEEP_EVERY == 0:
                    await self.keep()
            except StoreError as exc:
                log.error("cannot delete old runs of workflows", error=exc.message)

    async def watch(self) -> None:
        """Look once at what open runs hold. Raises StoreError."""
        sizes = await self._database.read(stored.open_sizes)
        self._full = frozenset(
            project_id for project_id, size in sizes if size > _FULL_AT * self._limits_of(project_id).runs_mb * _MIB
        )

    async def keep(self) -> None:
        """Once. Raises StoreError."""
        now_ms = self._clock.now_ms()
        while ids := await self._database.read(stored.ended_before, now_ms - self._retention_ms, _AT_ONCE):
            await self._database.write(stored.drop_runs, ids)
        for project_id, size in await self._database.read(stored.sizes):
            over = size - self._limits_of(project_id).runs_mb * _MIB
            if over > 0:
                await self._shrink(project_id, over)
        while await self._database.write(stored.drop_graphs, now_ms - _GRAPH_UNUSED_MS, limit=_AT_ONCE):
            pass
        for project_id, count in await self._database.read(stored.crowded, self._graphs_kept):
            await self._drop_oldest_graphs(project_id, count - self._graphs_kept)

    async def _drop_oldest_graphs(self, project_id: ProjectId, over: int) -> None:
        """With the runs that began with them, which have ended."""
        before_ms = self._clock.now_ms() - _GRAPH_BEGUN_MS
        while over > 0:
            ids = await self._database.read(stored.oldest_graphs, project_id, before_ms, min(over, _AT_ONCE))
            if not ids:
                return
            while runs := await self._database.read(stored.ended_with_graphs, ids, _AT_ONCE):
                await self._database.write(stored.drop_runs, runs)
            await self._database.write(stored.drop_graphs, before_ms, limit=_AT_ONCE, ids=ids)
            over -= len(ids)

    async def _shrink(self, project_id: ProjectId, over: int) -> None:
        """Drop the oldest runs that have ended, until as many bytes are free."""
        while over > 0:
            found = await self._database.read(stored.oldest_ended, project_id, _AT_ONCE)
            if not found:
                return
            chosen = []
            for execution_id, size in found:
                if over > 0:
                    chosen.append(execution_id)
                    over -= size
            await self._database.write(stored.drop_runs, chosen)

    async def delete_project(self, project_id: ProjectId) -> None:
        """All that it has, in small pieces between which others write."""
        while ids := await self._database.read(stored.of_project, project_id, _AT_ONCE):
            await self._database.write(stored.drop_runs, ids)
        while await self._database.write(stored.drop_project_graphs, project_id, _AT_ONCE):
            pass
