"""Reads the records of calls, those not written yet included, and runs stored calls again."""

from __future__ import annotations

from collections.abc import Sequence

from isolet.domain.invocations import Invocation
from isolet.domain.search import CallFilter, CallPage, Status
from isolet.ids import FunctionId, ProjectId
from isolet.invoke.recorder import Recorder
from isolet.store import function_stats
from isolet.store import invocations as stored
from isolet.store.database import Database
from isolet.store.function_stats import FunctionStats


class Records:
    def __init__(self, database: Database, recorder: Recorder) -> None:
        self._database = database
        self._recorder = recorder

    async def latest(self, function_id: FunctionId, *, limit: int, succeeded: bool | None = None) -> list[Invocation]:
        """Newest first. `succeeded` keeps statuses 200–299 (true) or all others (false)."""
        await self._recorder.catch_up()
        return await self._database.read(stored.list_invocations, function_id, limit=limit, succeeded=succeeded)

    async def since(
        self, function_id: FunctionId, *, limit: int, since_ms: int | None = None, status: Status | None = None
    ) -> list[Invocation]:
        """Newest first, of calls made at `since_ms` or later; `Status.FAULT` keeps those with an error."""
        await self._recorder.catch_up()
        return await self._database.read(stored.list_calls, function_id, limit=limit, since_ms=since_ms, status=status)

    async def find(self, wanted: CallFilter) -> CallPage:
        """A page of a project's calls, newest first."""
        await self._recorder.catch_up()
        return await self._database.read(stored.find_invocations, wanted)

    async def get(self, invocation_id: str) -> Invocation:
        """A call that has ended. Raises NotFound."""
        await self._recorder.catch_up()
        return await self._database.read(stored.get_invocation, invocation_id)

    async def stats(
        self, project_id: ProjectId, *, recent_from_ms: int, function_id: FunctionId | None = None
    ) -> dict[FunctionId, FunctionStats]:
        """What the records say of the functions of a project, or of one."""
        await self._recorder.catch_up()
        return await self._database.read(
            function_stats.project_stats, project_id, recent_from_ms=recent_from_ms, function_id=function_id
        )

    async def log(
        self, function_id: FunctionId, *, limit: int, since_ms: int | None = None, failed: bool | None = None
    ) -> list[Invocation]:
        """Newest first, those that began after `since_ms`. `failed` keeps calls with an error, or those without."""
        await self._recorder.catch_up()
        return await self._database.read(
            function_stats.list_log, function_id, limit=limit, since_ms=since_ms, failed=failed
        )

    async def counts(self, function_ids: Sequence[FunctionId]) -> dict[str, int]:
        """How many calls of each function are on record."""
        await self._recorder.catch_up()
        return await self._database.read(stored.count_invocations, function_ids)
