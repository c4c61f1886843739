"""Writes the records of calls in batches: at most 50 ms or 500 rows behind. Never on the path of a reply."""

from __future__ import annotations

import asyncio
from collections import deque

from isolet.domain.invocations import ConsoleLine, Invocation
from isolet.errors import StoreError
from isolet.ids import InvocationId
from isolet.store import invocations as stored
from isolet.store.database import Database
from isolet.telemetry import get_logger

log = get_logger("recorder")

_BEHIND_S = 0.05
_BATCH_ROWS = 500
_QUEUE_ROWS = 20_000
_LATE_LINES = 10_000


class Recorder:
    """Holds every call until its record is written, so that console lines find theirs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open: dict[str, Invocation] = {}
        self._ended: deque[Invocation] = deque()
        self._late: deque[tuple[InvocationId, ConsoleLine]] = deque()
        self._wake = asyncio.Event()
        self._full = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.lost = 0

    def begin(self, invocation: Invocation) -> None:
        self._open[invocation.id] = invocation

    def end(self, invocation: Invocation) -> None:
        """The call is over: its record is written soon. When the store stalls for long, records are counted as lost."""
        if len(self._ended) >= _QUEUE_ROWS:
            self._close(invocation)
            self.lost += 1
            return
        self._ended.append(invocation)
        self._idle.clear()
        self._wake.set()
        if len(self._ended) >= _BATCH_ROWS:
            self._full.set()

    def drop(self, invocation: Invocation) -> None:
        """The call never ran: it leaves no record."""
        self._close(invocation)

    def print(self, invocation_id: InvocationId, line: ConsoleLine) -> None:
        """A line that a call printed, while it ran or after its reply."""
        invocation = self._open.get(invocation_id)
        if invocation is not None:
            invocation.console.append(line)
        elif invocation_id and len(self._late) < _LATE_LINES:
            self._late.append((invocation_id, line))
            self._idle.clear()
            self._wake.set()

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

    async def _write(self) -> None:
        # What ends meanwhile waits for the next round, so that a busy server writes large batches.
        rest = len(self._ended)
        while rest > 0:
            batch = [self._ended.popleft() for _ in range(min(_BATCH_ROWS, rest))]
            rest -= len(batch)
            for invocation in batch:
                self._close(invocation)
            try:
                await self._database.write(stored.insert_invocations, batch)
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
        else:
            self._idle.set()
