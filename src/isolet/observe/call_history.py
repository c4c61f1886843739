"""Reads the records of calls, those included that are not written yet."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from isolet.database import invocations as stored
from isolet.database.connection import Database
from isolet.domain.invocations import ConsoleLine, Invocation
from isolet.domain.search import CallFilter, CallPage
from isolet.ids import FunctionId, InvocationId
from isolet.observe.recorder import Recorder

_READ_AT_ONCE = 8


class CallHistory:
    def __init__(self, database: Database, recorder: Recorder) -> None:
        self._database = database
        self._recorder = recorder

    async def latest(self, function_id: FunctionId, *, limit: int, succeeded: bool | None = None) -> list[Invocation]:
        """Newest first. `succeeded` keeps statuses 200–299 (true) or all others (false)."""
        await self._recorder.catch_up()
        return await self._database.read(stored.list_invocations, function_id, limit=limit, succeeded=succeeded)

    async def find(self, wanted: CallFilter) -> CallPage:
        """A page of a project's calls, newest first."""
        await self._recorder.catch_up()
        return await self._database.read(stored.find_invocations, wanted)

    async def get(self, invocation_id: str) -> Invocation:
        """A call that has ended. Raises NotFound."""
        await self._recorder.catch_up()
        return await self._database.read(stored.get_invocation, invocation_id)

    async def log_ids(
        self, function_id: FunctionId, *, limit: int, after_ms: int | None = None, failed: bool | None = None
    ) -> list[InvocationId]:
        """Of calls that began after `after_ms`, newest first. `failed` keeps those with an error or a status of 400 or
        more, or all others."""
        await self._recorder.catch_up()
        return await self._database.read(
            stored.list_log_ids, function_id, limit=limit, after_ms=after_ms, failed=failed
        )

    async def log(
        self,
        function_id: FunctionId,
        ids: Sequence[InvocationId],
        *,
        after_ms: int | None = None,
        failed: bool | None = None,
    ) -> AsyncGenerator[list[Invocation], None]:
        """Those of these calls that are wanted, in the order of their ids, a few at a time: each may have printed two
        megabytes."""
        for first in range(0, len(ids), _READ_AT_ONCE):
            part = ids[first : first + _READ_AT_ONCE]
            found = await self._database.read(
                stored.list_log, function_id, limit=len(part), after_ms=after_ms, failed=failed, ids=part
            )
            yield sorted(found, key=lambda call: part.index(call.id))

    def own_lines(self, function_id: FunctionId) -> Sequence[ConsoleLine]:
        """The latest lines of a function that are of no call, oldest first."""
        return self._recorder.own_lines(function_id)

    async def ids(self, function_id: FunctionId, *, limit: int, after_ms: int) -> list[InvocationId]:
        """Of all calls that may have begun after `after_ms`, newest first."""
        await self._recorder.catch_up()
        return await self._database.read(stored.list_ids, function_id, limit=limit, after_ms=after_ms)
