"""Whether the live versions of functions start."""

from __future__ import annotations

from msgspec.structs import replace

from isolet.clock import Clock
from isolet.database import functions as stored
from isolet.database.connection import Database
from isolet.domain.changes import Change, FunctionChanged
from isolet.domain.functions import DeployError, Function, FunctionStatus
from isolet.errors import NotFound
from isolet.ids import FunctionId
from isolet.listeners import Listeners
from isolet.tasks import Tasks


class Health:
    """Keeps what the pool reports in the status of functions."""

    def __init__(self, database: Database, events: Listeners[Change], clock: Clock) -> None:
        self._database = database
        self._events = events
        self._clock = clock
        self._tasks = Tasks()

    def report(self, function_id: FunctionId, reason: str | None) -> None:
        """A live version does not start any more, or (None) does again; `status` says so until a deploy ends."""
        self._tasks.spawn(self._set(function_id, reason), name=f"health {function_id}")

    async def close(self) -> None:
        await self._tasks.close()

    async def _set(self, function_id: FunctionId, reason: str | None) -> None:
        def modify(before: Function) -> Function:
            if reason is None:
                return replace(before, status=FunctionStatus.DEPLOYED, deploy_error=None)
            error = DeployError(message=f"The live version does not start: {reason}", at_ms=self._clock.now_ms())
            return replace(before, status=FunctionStatus.ERROR, deploy_error=error)

        try:
            function = await self._database.write(stored.modify_function, function_id, modify)
        except NotFound:
            return
        self._events.publish(FunctionChanged(function=function))
