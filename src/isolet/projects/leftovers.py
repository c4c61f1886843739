"""Ends what was begun as functions, schedules and projects were deleted, in steps; at the next start too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from isolet.database import leftovers as stored
from isolet.database.connection import Database
from isolet.domain.changes import Change, FunctionDeleted, ProjectDeleted
from isolet.ids import ProjectId
from isolet.telemetry import get_logger

log = get_logger("leftovers")

_EVERY_S = 60.0
_PAUSE_S = 0.02


class Leftovers:
    """`drop` drops what the server has of a project that is gone; it may be called again when it failed, or was cut."""

    def __init__(self, database: Database, drop: Callable[[ProjectId], Awaitable[None]]) -> None:
        self._database = database
        self._drop = drop
        self._dropping = asyncio.Lock()
        self._some = asyncio.Event()

    def follow(self, change: Change) -> None:
        """A listener: what was deleted does not wait for the next look."""
        if isinstance(change, FunctionDeleted | ProjectDeleted):
            self._some.set()

    async def run(self) -> None:
        """The background loop; ends by cancellation."""
        while True:
            self._some.clear()
            try:
                await self.clear()
            except Exception as exc:
                log.error("cannot delete what is left of something deleted; it is tried again", error=str(exc))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await self._some.wait()

    async def clear(self) -> None:
        """Delete all that is left, with pauses in which others write. Raises StoreError, and at the end the first that
        `drop` raised.
        """
        while await self._database.write(stored.delete_some):
            await asyncio.sleep(_PAUSE_S)
        failures: list[Exception] = []
        for project_id in await self._database.read(stored.deleted_projects):
            try:
                await self.drop_project(project_id)
            except Exception as exc:
                failures.append(exc)
        if failures:
            raise failures[0]

    async def drop_project(self, project_id: ProjectId) -> None:
        """Drop what the server has of one project that is gone. Raises what `drop` raises, and StoreError."""
        async with self._dropping:
            if project_id in await self._database.read(stored.deleted_projects):
                await self._drop(project_id)
                await self._database.write(stored.forget_project, project_id)
