"""Writes the records of calls in batches: at most 100 ms or 500 rows behind. Never on the path of a reply."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from operator import attrgetter

from isolet.domain.invocations import ConsoleLine, Invocation
from isolet.errors import StoreError
from isolet.ids import InvocationId
from isolet.invoke.figures import Figures
from isolet.invoke.tail import Owner, Tail
from isolet.store import invocations as stored
from isolet.store.database import Database
from isolet.store.metrics import insert_ended
from isolet.telemetry import get_logger

log = get_logger("recorder")

_BEHIND_S = 0.1
_BATCH_ROWS = 500
_QUEUE_ROWS = 20_000
_QUEUE_BYTES = 64 * 1024 * 1024
_LATE_LINES = 10_000
_RECENT_CALLS = 5_000
_CATCH_UP_S = 1.0
_owner: Callable[[Invocation], Owner] = attrgetter("project_id", "function_id", "function_name")


class Recorder:
    """Holds every call until its record is written, so that console lines find theirs.

    `on_ended` gets what has ended, in batches, whether or not it can be written.
    """

    def __init__(
        self,
        database: Database,
        tail: Tail | None = None,
        on_ended: Callable[[Sequence[Invocation]], None] | None = None,
    ) -> None:
        self._database = database
        self._tail = tail or Tail()
        self._on_ended = on_ended
        self.figures = Figures()
        self._queued_bytes = 0
        self._recent: dict[str, Owner] = {}
        self._open: dict[str, Invocation] = {}
        self._concluding: set[str] = set()
        self._ended: deque[Invocation] = deque()
        self._late: deque[tuple[InvocationId, ConsoleLine]] = deque()
        self._wake = asyncio.Event()
        self._full = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.lost = 0

    def begin(self, invocation: Invocation) -> None:
        self._open[invocation.id] = invocation

    def conclude(self, invocation: Invocation) -> None:
        """The call is over, but for what its record still waits; `end` follows. Readers wait for it with `flush`."""
        self._concluding.add(invocation.id)
        self._idle.clear()

    def end(self, invocation: Invocation) -> None:
        """The call is over: its record is written soon. When the store stalls for long, records are counted as lost."""
        if self._concluding:
            self._concluding.discard(invocation.id)
        size = len(invocation.request_body) + len(invocation.response_body)
        if len(self._ended) >= _QUEUE_ROWS or self._queued_bytes + size > _QUEUE_BYTES:
            self._close(invocation)
            self.lost += 1
            self._tell([invocation])
            return
        self._queued_bytes += size
        if not self._ended:
            self._idle.clear()
            self._wake.set()
        self._ended.append(invocation)
        if len(self._ended) == _BATCH_ROWS:
            self._full.set()

    def drop(self, invocation: Invocation) -> None:
        """The call never ran: it leaves no record."""
        self._close(invocation)

    def print(self, invocation_id: InvocationId, line: ConsoleLine) -> None:
        """A line that a call printed, while it ran or after its reply."""
        invocation = self._open.get(invocation_id)
        if invocation is not None:
            invocation.console.append(line)
            self._tail.printed(_owner(invocation), invocation_id, line)
        elif invocation_id and len(self._late) < _LATE_LINES:
            self._late.append((invocation_id, line))
            if (recent := self._recent.get(invocation_id)) is not None:
                self._tail.printed(recent, invocation_id, line)
            self._idle.clear()
            self._wake.set()

    @property
    def waiting(self) -> int:
        """How many records are not written yet."""
        return len(self._ended)

    def _close(self, invocation: Invocation) -> None:
        """Another attempt of the same call may be open by now."""
        if self._open.get(invocation.id) is invocation:
            del self._open[invocation.id]

    async def run(self) -> None:
        """The background loop; ends by cancellation, after `flush`."""
        while True:
            await self._wake.wait()
            try:
                async with asyncio.timeout(_BEHIND_S):
                    await self._full.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            self._full.clear()
            await self._write()

    async def flush(self, timeout_s: float) -> None:
        """Wait until everything that ended is written."""
        async with asyncio.timeout(timeout_s):
            while not self._idle.is_set():
                self._full.set()
                await self._idle.wait()

    async def drain(self, timeout_s: float) -> None:
        """Before the end: wait as `flush` does; what cannot be written by then is told, and lost."""
        try:
            await self.flush(timeout_s)
        except TimeoutError:
            log.error("the records of calls could not be written in time", rows=self.waiting, seconds=timeout_s)

    async def catch_up(self) -> None:
        """Wait until what has ended can be read; for a second at most, when the store stalls."""
        with contextlib.suppress(TimeoutError):
            await self.flush(_CATCH_UP_S)

    def _tell(self, batch: Sequence[Invocation]) -> None:
        """Let those know who look at calls as they end: all that is off the path of calls."""
        self.figures.add(batch)
        self._tail.ended(batch)
        if self._on_ended is not None:
            self._on_ended(batch)

    def _forget(self, batch: Sequence[Invocation]) -> None:
        """They are no longer open; for a while their late lines still find whose they are."""
        for invocation in batch:
            self._close(invocation)
            self._queued_bytes -= len(invocation.request_body) + len(invocation.response_body)
            self._recent[invocation.id] = _owner(invocation)
        for invocation_id in list(islice(self._recent, max(len(self._recent) - _RECENT_CALLS, 0))):
            del self._recent[invocation_id]

    async def _write(self) -> None:
        # What ends meanwhile waits for the next round, so that a busy server writes large batches.
        rest = len(self._ended)
        while rest > 0:
            batch = [self._ended.popleft() for _ in range(min(_BATCH_ROWS, rest))]
            rest -= len(batch)
            self._tell(batch)
            self._forget(batch)
            try:
                await self._database.write(insert_ended, batch)
            except StoreError as exc:
                self.lost += len(batch)
                log.error("cannot write the records of calls", rows=len(batch), error=exc.message)
        late: dict[InvocationId, list[ConsoleLine]] = {}
        while self._late:
            invocation_id, line = self._late.popleft()
            late.setdefault(invocation_id, []).append(line)
        if late:
            try:
                await self._database.write(stored.append_console, late)
            except StoreError as exc:
                log.error("cannot write console lines", calls=len(late), error=exc.message)
        if self._ended or self._late:
            self._wake.set()
        elif not self._concluding:
            self._idle.set()
