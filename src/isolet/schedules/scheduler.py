"""Looks for due times, and has each dealt with once, however many servers look."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Collection, Sequence
from functools import partial

from isolet.clock import Clock
from isolet.database import schedules as stored
from isolet.database.connection import Connection, Database
from isolet.database.due_times import Dealt, deal
from isolet.domain.changes import Change, FunctionChanged, ProjectChanged
from isolet.domain.triggers import CronTrigger
from isolet.errors import IsoletError, StoreError, StoreRefused
from isolet.ids import ProjectId, ScheduleId, new_id
from isolet.jobs.engine import Engine
from isolet.telemetry import get_logger

log = get_logger("schedules")

_AT_ONCE = 100
# So many share a transaction, which waits for the disk once.
_TOGETHER = 20
# A server that shares its database hears of others' changes by looking; the clock of one may be set at any time.
_LOOK_S = 1.0
_LOOK_ALONE_S = 5.0
# A server that starts leaves what is due right then to those that were there before.
_SETTLE_S = 2.0
_RETRY_S = 1.0


def may_be_due(change: Change) -> bool:
    """Whether something may be due sooner. Triggers of functions are schedules, too, and are written with them."""
    match change:
        case FunctionChanged(function=function):
            has_trigger = any(isinstance(trigger, CronTrigger) for trigger in function.triggers or ())
            return has_trigger or function.door_schedule is not None
        case ProjectChanged():
            # Its triggers switch the schedules of its functions.
            return True
        case _:
            # What goes away is not due any more.
            return False


class Scheduler:
    """`missed` counts due times that were not run, by schedule; `lags_ms` are how late the latest were found."""

    def __init__(self, *, database: Database, engine: Engine, clock: Clock) -> None:
        self._database = database
        self._engine = engine
        self._clock = clock
        self._changed = asyncio.Event()
        self.missed_total = 0
        self.lags_ms: deque[int] = deque(maxlen=1_000)
        self.lag_ms = 0

    def follow(self, change: Change) -> None:
        """A listener of all that changes."""
        if may_be_due(change):
            self.changed()

    def changed(self) -> None:
        """A schedule was made or is another one: look again when the next one is due."""
        self._changed.set()

    async def run(self) -> None:
        since_ms = self._clock.now_ms()
        if self._database.shared:
            await asyncio.sleep(_SETTLE_S)
        while True:
            self._changed.clear()
            try:
                wait_s = await self._look(since_ms)
            except StoreError as exc:
                log.error("cannot look for due schedules", error=exc.message)
                wait_s = _RETRY_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()

    async def _look(self, since_ms: int) -> float:
        """Deal with what is due; how many seconds to wait until more is."""
        due = await self._database.read(stored.due_schedules, self._clock.now_ms(), _AT_ONCE)
        refused = 0
        for first in range(0, len(due), _TOGETHER):
            refused += await self._deal(due[first : first + _TOGETHER], since_ms)
        if due:
            return _RETRY_S if refused else 0.0
        following = await self._database.read(stored.next_fire_ms)
        longest = _LOOK_S if self._database.shared else _LOOK_ALONE_S
        if following is None:
            return longest
        return min(max(following - self._clock.now_ms(), 0) / 1000, longest)

    async def _deal(self, due: Sequence[ScheduleId], since_ms: int) -> int:
        """How many could not be dealt with: they hold up no other one. Raises StoreError when the store is away."""
        # In one order on every server, so that none waits for another's rows while that waits for its own.
        full = self._engine.backlog.full()
        work = partial(_deal_all, due=sorted(due), now_ms=self._clock.now_ms(), since_ms=since_ms, full=full)
        try:
            for dealt in await self._database.write(work):
                self._note(dealt)
        except IsoletError as exc:
            if isinstance(exc, StoreError) and not isinstance(exc, StoreRefused):
                raise
            if len(due) > 1:
                return sum([await self._deal([schedule_id], since_ms) for schedule_id in due])
            log.error("cannot deal with the due times of a schedule", schedule_id=due[0], error=exc.message)
            return 1
        return 0

    def _note(self, dealt: Dealt) -> None:
        self._engine.joined(dealt.jobs, dealt.cancelled)
        self.missed_total += dealt.missed
        if dealt.jobs:
            self.lag_ms = max(dealt.late_ms, 0)
            self.lags_ms.append(self.lag_ms)
        if dealt.missed:
            log.warning("due times were missed", schedule_id=dealt.schedule.id, count=dealt.missed)


def _deal_all(
    connection: Connection, *, due: Sequence[ScheduleId], now_ms: int, since_ms: int, full: Collection[ProjectId]
) -> list[Dealt]:
    dealt = (deal(connection, one, now_ms=now_ms, since_ms=since_ms, new_id=new_id, full=full) for one in due)
    return [one for one in dealt if one is not None]
