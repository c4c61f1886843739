"""Reads the records of calls, those not written yet included."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from isolet.domain.invocations import Invocation
from isolet.ids import FunctionId
from isolet.invoke.recorder import Recorder
from isolet.store import invocations as stored
from isolet.store.database import Database

_FLUSH_TIMEOUT_S = 1.0


class Records:
    def __init__(self, database: Database, recorder: Recorder) -> None:
        self._database = database
        self._recorder = recorder

    async def latest(self, function_id: FunctionId, *, limit: int, succeeded: bool | None = None) -> list[Invocation]:
        """Newest first. `succeeded` keeps statuses 200–299 (true) or all others (false)."""
        with contextlib.suppress(TimeoutError):
            await self._recorder.flush(_FLUSH_TIMEOUT_S)
        return await self._database.read(stored.list_invocations, function_id, limit=limit, succeeded=succeeded)

    async def counts(self, function_ids: Sequence[FunctionId]) -> dict[str, int]:
        """How many calls of each function are on record."""
        with contextlib.suppress(TimeoutError):
            await self._recorder.flush(_FLUSH_TIMEOUT_S)
        return await self._database.read(stored.count_invocations, function_ids)
