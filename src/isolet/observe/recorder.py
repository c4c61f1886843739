"""Writes the records of calls in batches: at most 100 ms or 500 rows behind. Never on the path of a reply.

What was kept of a call is cut and redacted in a thread, before anybody sees it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import islice
from operator import attrgetter

from isolet.database import invocations as stored
from isolet.database.connection import Database
from isolet.database.metrics import insert_ended
from isolet.domain.invocations import ConsoleLine, Invocation
from isolet.domain.outgoing import OutgoingEvent
from isolet.errors import StoreError, StoreRefused
from isolet.ids import FunctionId, InvocationId, ProjectId
from isolet.observe.counters import Counters
from isolet.observe.own_lines import OwnLines
from isolet.observe.redaction import Kept
from isolet.observe.tail import Owner, Tail
from isolet.telemetry import get_logger

log = get_logger("recorder")

_BEHIND_S = 0.1
_BATCH_ROWS = 500
_BATCH_BYTES = 16 * 1024 * 1024
# Records of one project may take a tenth of a second each: those of others wait for so much of it.
_FILL_S = 0.25
_QUEUE_ROWS = 20_000
_QUEUE_BYTES = 64 * 1024 * 1024
_LATE_LINES = 10_000
_LATE_BYTES = 16 * 1024 * 1024
_RECENT_CALLS = 5_000
# What calls said takes in memory until their records are written, those of one project together. Each line has so much
# besides its text.
_SAID_BYTES = 48 * 1024 * 1024
_LINE_BYTES = 200
_CATCH_UP_S = 1.0
# What one project has of these at most.
_SHARE = 0.75
_owner: Callable[[Invocation], Owner] = attrgetter("project_id", "function_id", "function_name")
# With what it holds in bytes.
Entry = tuple[Invocation, Kept | None, int]


class Recorder:
    """Holds every call until its record is written, so that console lines find theirs.

    Those in `on_ended` get what has ended, in batches, whether or not it can be written; `on_written` hears how many
    bytes of records a project wrote. `exists` tells whether a function is still there.
    """

    def __init__(
        self,
        database: Database,
        tail: Tail | None = None,
        on_ended: Sequence[Callable[[Sequence[Invocation]], None]] = (),
        *,
        on_written: Callable[[ProjectId, int], None] = lambda _project_id, _size_bytes: None,
        figures: Counters | None = None,
        exists: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._database = database
        self._tail = tail or Tail()
        self._on_ended = on_ended
        self._on_written = on_written
        self.figures = figures or Counters()
        self._exists = exists
        self._queued_bytes = 0
        self._recent: dict[str, Owner] = {}
        self._open: dict[str, Invocation] = {}
        self._concluding: set[str] = set()
        self._late: deque[tuple[InvocationId, ConsoleLine | OutgoingEvent]] = deque()
        self._late_bytes = 0
        self._late_of: dict[str, int] = {}
        # What waits, of each project.
        self._held: dict[ProjectId, _Held] = {}
        self._rows = 0
        self._own = OwnLines()
        # Of each project what its calls said that are not written yet.
        self._said: Counter[ProjectId] = Counter()
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

    def end(self, invocation: Invocation, kept: Kept | None = None) -> None:
        """The call is over: its record is written soon. When the store stalls for long, records are counted as lost.

        `kept` is what its record is still to be filled with.
        """
        if self._concluding:
            self._concluding.discard(invocation.id)
        size = _body_bytes(invocation, kept)
        if kept is not None and self._rows >= _BATCH_ROWS:
            # Fewer hold little, and their headers are not looked at.
            size += sum(len(name) + len(value) for name, value in kept.headers)
        held = self._held.get(invocation.project_id) or _Held()
        if (
            self._rows >= _QUEUE_ROWS
            or self._queued_bytes + size > _QUEUE_BYTES
            or len(held.entries) >= _SHARE * _QUEUE_ROWS
            or held.size_bytes + size > _SHARE * _QUEUE_BYTES
        ):
            self._close(invocation)
            self._let_go(invocation)
            self.lost += 1
            self._tell([invocation])
            return
        self._queued_bytes += size
        self._held[invocation.project_id] = held
        held.size_bytes += size
        if not self._rows:
            self._idle.clear()
            self._wake.set()
        self._rows += 1
        held.entries.append((invocation, kept, size))
        if self._rows == _BATCH_ROWS:
            self._full.set()

    def drop(self, invocation: Invocation) -> None:
        """The call never ran: it leaves no record."""
        self._close(invocation)
        self._let_go(invocation)

    def print(self, invocation_id: InvocationId, line: ConsoleLine) -> None:
        """A line that a call printed, while it ran or after its reply."""
        invocation = self._open.get(invocation_id)
        if invocation is not None:
            if line.ends or not self._takes(invocation, _line_bytes(line)):
                invocation.console_truncated = True
            else:
                invocation.console.append(line)
            self._tail.printed(_owner(invocation), invocation_id, line)
            return
        recent = self._recent.get(invocation_id)
        size = len(line.message) + len(line.stack or "")
        if self._keep_late(invocation_id, line, size, recent) and recent is not None:
            self._tail.printed(recent, invocation_id, line)

    def _takes(self, invocation: Invocation, size_bytes: int) -> bool:
        """Count what a call said; False where the calls of its project hold as much as they may."""
        size_bytes += self._said[invocation.project_id]
        if size_bytes > _SAID_BYTES:
            return False
        self._said[invocation.project_id] = size_bytes
        return True

    def _let_go(self, invocation: Invocation) -> None:
        """Its record is written or lost, or there is none."""
        if not (invocation.console or invocation.outgoing):
            return
        size = sum(map(_line_bytes, invocation.console)) + sum(event.size_bytes for event in invocation.outgoing)
        self._said[invocation.project_id] -= size
        if not self._said[invocation.project_id]:
            del self._said[invocation.project_id]

    def requested(self, invocation_id: InvocationId, event: OutgoingEvent) -> None:
        """A request that a call made has begun, or is answered; while the call ran or after its reply."""
        invocation = self._open.get(invocation_id)
        if invocation is not None:
            if self._takes(invocation, event.size_bytes):
                invocation.outgoing.append(event)
        else:
            self._keep_late(invocation_id, event, event.size_bytes, self._recent.get(invocation_id))

    def _keep_late(
        self, invocation_id: InvocationId, said: ConsoleLine | OutgoingEvent, size_bytes: int, owner: Owner | None
    ) -> bool:
        if not invocation_id or len(self._late) >= _LATE_LINES or self._late_bytes >= _LATE_BYTES:
            return False
        # Each counts as its part of the lines or of the bytes, whichever is more.
        whose, part = owner[0] if owner is not None else "", max(size_bytes * _LATE_LINES // _LATE_BYTES, 1)
        if self._late_of.get(whose, 0) + part > _SHARE * _LATE_LINES:
            return False
        self._late_of[whose] = self._late_of.get(whose, 0) + part
        self._late.append((invocation_id, said))
        self._late_bytes += size_bytes
        self._idle.clear()
        self._wake.set()
        return True

    def print_own(self, owner: Owner, line: ConsoleLine) -> None:
        """A line of a function that is of no call that one could tell: it is shown, and kept for a while."""
        project_id, function_id, _ = owner
        self._own.add(project_id, function_id, line)
        self._tail.printed(owner, InvocationId(""), line)

    def own_lines(self, function_id: FunctionId) -> Sequence[ConsoleLine]:
        """The latest lines of a function that are of no call, oldest first, since this server started."""
        return self._own.of(function_id)

    def forget(self, project_id: ProjectId) -> None:
        """The project is gone."""
        self._own.forget(project_id)

    @property
    def waiting(self) -> int:
        """How many records are not written yet."""
        return self._rows

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
        self.figures.add(batch, self._exists)
        self._tail.ended(batch)
        for hear in self._on_ended:
            hear(batch)

    def _forget(self, batch: Sequence[Invocation]) -> None:
        """They are no longer open; for a while their late lines still find whose they are."""
        for invocation in batch:
            self._close(invocation)
            self._recent[invocation.id] = _owner(invocation)
        for invocation_id in list(islice(self._recent, max(len(self._recent) - _RECENT_CALLS, 0))):
            del self._recent[invocation_id]

    async def _write(self) -> None:
        # What ends meanwhile waits for the next round, so that a busy server writes large batches.
        rest = self._rows
        while rest > 0:
            entries = self._next_batch(rest)
            filled = await self._fill(entries)
            self._put_back(entries[:filled], entries[filled:])
            rest -= filled
            batch = [invocation for invocation, _, _ in entries[:filled]]
            self._tell(batch)
            self._forget(batch)
            lost = await self._insert(batch)
            for invocation in batch:
                self._let_go(invocation)
            if lost:
                self.lost += lost
        await self._append_late()
        if self._rows or self._late:
            self._wake.set()
        elif not self._concluding:
            self._idle.set()

    def _next_batch(self, rows: int) -> list[Entry]:
        """One of each project, then another one of each, and so on.

        Bounded in rows and in bytes, so that one transaction holds nobody up for long.
        """
        entries, size = list[Entry](), 0
        most = min(rows, _BATCH_ROWS)
        while len(entries) < most and size < _BATCH_BYTES:
            for held in list(self._held.values()):
                if len(entries) < most and size < _BATCH_BYTES:
                    invocation, _, held_bytes = entry = self._take(held)
                    entries.append(entry)
                    size += held_bytes
                    if invocation.console:
                        size += sum(len(line.message) + len(line.stack or "") for line in invocation.console)
        return entries

    def _take(self, held: _Held) -> Entry:
        invocation, _, size = entry = held.entries.popleft()
        self._rows -= 1
        self._queued_bytes -= size
        held.size_bytes -= size
        if not held.entries:
            del self._held[invocation.project_id]
        return entry

    def _put_back(self, done: Sequence[Entry], rest: Sequence[Entry]) -> None:
        """What was not done is the next of its projects again, behind the others of which nothing was done."""
        if not rest:
            return
        for entry in reversed(rest):
            invocation, _, size = entry
            held = self._held.get(invocation.project_id)
            if held is None:
                held = self._held[invocation.project_id] = _Held()
            self._rows += 1
            self._queued_bytes += size
            held.size_bytes += size
            held.entries.appendleft(entry)
        for invocation, _, _ in done:
            if (held := self._held.pop(invocation.project_id, None)) is not None:
                self._held[invocation.project_id] = held

    async def _fill(self, entries: Sequence[Entry]) -> int:
        """Cut and redact, in a thread: texts are as large, and values as many, as their owners like. How many were done
        in the time of one step.
        """
        if any(kept is not None for _, kept, _ in entries):
            return await asyncio.to_thread(_fill_some, entries)
        return len(entries)

    async def _insert(self, batch: Sequence[Invocation]) -> int:
        """Write these records; how many are lost.

        A batch that the store refuses is written in halves, so that a record costs no other one; a store that is away
        would refuse those too.
        """
        waiting, lost, cause = [batch], 0, ""
        while waiting:
            part = waiting.pop()
            try:
                sizes = await self._database.write(insert_ended, part)
            except StoreError as exc:
                middle = len(part) // 2
                if isinstance(exc, StoreRefused) and middle:
                    waiting += (part[middle:], part[:middle])
                else:
                    lost, cause = lost + len(part), exc.message
            else:
                for project_id, size in sizes.items():
                    self._on_written(project_id, size)
        if lost:
            log.error("cannot write the records of calls", rows=lost, error=cause)
        return lost

    async def _append_late(self) -> None:
        late: dict[InvocationId, stored.Late] = {}
        while self._late:
            invocation_id, said = self._late.popleft()
            added = late.setdefault(invocation_id, stored.Late())
            if isinstance(said, ConsoleLine):
                added.console.append(said)
            else:
                added.outgoing.append(said)
        self._late_bytes = 0
        self._late_of.clear()
        if late:
            try:
                await self._database.write(stored.append_late, late)
            except StoreError as exc:
                log.error("cannot write console lines", calls=len(late), error=exc.message)


class _Held:
    """What a project has in the queue."""

    __slots__ = ("entries", "size_bytes")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.size_bytes = 0


def _line_bytes(line: ConsoleLine) -> int:
    return _LINE_BYTES + len(line.message) + len(line.stack or "")


def _body_bytes(invocation: Invocation, kept: Kept | None) -> int:
    if kept is None:
        return len(invocation.request_body) + len(invocation.response_body)
    return len(invocation.request_body) + len(kept.response) + len(kept.query)


def _fill_some(entries: Sequence[Entry]) -> int:
    """As many as take `_FILL_S` of processor time, at least one; how many."""
    until = time.thread_time() + _FILL_S
    for done, (invocation, kept, _) in enumerate(entries):
        if done and time.thread_time() > until:
            return done
        if kept is None:
            continue
        try:
            kept.recording.fill(invocation, kept)
        except Exception:
            # Nothing of it may be shown as it came; the other records have no part in it.
            log.exception("cannot prepare the record of a call", invocation_id=invocation.id)
            invocation.request_body = invocation.response_body = b""
            invocation.path = ""
    return len(entries)
