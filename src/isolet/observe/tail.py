"""What functions do, as it happens: an in-process bus that readers follow.

A project that somebody follows, or has lately, has a ring of its latest events; others cost nothing. A reader holds
only its place in the ring, so a slow one slows nobody: when the ring has moved past it, it is told how many events it
missed. The same place lets a reader that comes back go on where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Iterable
from itertools import islice
from typing import NamedTuple

from msgspec import Struct

from isolet.domain.invocations import ConsoleLine, Invocation
from isolet.errors import TooManyRequests
from isolet.ids import FunctionId, InvocationId, ProjectId
from isolet.rounds import Rounds

_RING_EVENTS = 2_000
_RING_BYTES = 512 * 1024
_RINGS = 128
_EVENT_BYTES = 200
# So long after its last reader has left a project's ring still waits for it to come back.
_AWAIT_READER_S = 300.0
# A reader looks at so many in a turn of the loop: all of a project wake at once, and each has what it gets written.
_AT_ONCE = 50
# So often a silent stream looks whether it may go on.
_ALLOWED_S = 1.0


Owner = tuple[ProjectId, FunctionId, str]


class Event(NamedTuple):
    """A line that a call printed, or (without `line`) the end of a call. `number` counts the project's events."""

    number: int
    function_id: FunctionId
    function_name: str
    invocation_id: InvocationId
    line: ConsoleLine | None = None
    at_ms: int = 0
    status: int = 0
    duration_us: int = 0
    failed: bool = False
    error: str | None = None

    @property
    def size(self) -> int:
        line, error = self.line, self.error
        return _EVENT_BYTES + (len(line.message) + len(line.stack or "") if line else 0) + len(error or "")


class Missed(Struct, frozen=True, kw_only=True):
    """So many of the project's events, wanted or not, went by; None when nobody counted: the server
    started anew, or the reader was away for too long."""

    count: int | None


class _Ring:
    __slots__ = ("bytes", "events", "first", "left_at", "next", "readers")

    def __init__(self, first: int) -> None:
        self.events: deque[Event] = deque()
        self.bytes = 0
        self.first = self.next = first
        self.left_at = 0.0
        self.readers: set[asyncio.Event] = set()

    @property
    def oldest(self) -> int:
        return self.events[0].number if self.events else self.next

    def add(self, event: Event) -> None:
        self.events.append(event)
        self.next += 1
        self.bytes += event.size
        while len(self.events) > _RING_EVENTS or (self.bytes > _RING_BYTES and len(self.events) > 1):
            self.bytes -= self.events.popleft().size
        for reader in self.readers:
            reader.set()


class Tail:
    """`run` tells this run of the server from others: places are only good within one."""

    def __init__(self) -> None:
        self.run = secrets.token_hex(4)
        self._rings: dict[ProjectId, _Ring] = {}
        self._numbered = 0
        self._streams: Counter[ProjectId] = Counter()
        self._closing = asyncio.Event()
        self._rounds: Rounds | None = None

    @property
    def readers(self) -> int:
        return sum(len(ring.readers) for ring in self._rings.values())

    def printed(self, owner: Owner, invocation_id: InvocationId, line: ConsoleLine) -> None:
        """`owner` is the project's id, the function's, and its name."""
        project_id, function_id, name = owner
        ring = self._rings.get(project_id)
        if ring is not None:
            ring.add(Event(ring.next, function_id, name, invocation_id, line, line.at_ms))

    def ended(self, calls: Iterable[Invocation]) -> None:
        if self._rings:
            for call in calls:
                self._ended(call)

    def _ended(self, call: Invocation) -> None:
        ring = self._rings.get(call.project_id)
        if ring is None:
            return
        if not ring.readers and time.monotonic() - ring.left_at > _AWAIT_READER_S:
            self._drop(call.project_id)
            return
        ring.add(
            Event(
                number=ring.next,
                function_id=call.function_id,
                function_name=call.function_name,
                invocation_id=call.id,
                at_ms=call.started_at_ms + call.duration_us // 1000,
                status=call.status,
                duration_us=call.duration_us,
                failed=call.failed,
                error=call.error,
            )
        )

    def place(self, number: int) -> str:
        """The id of an event as readers see it and give it back."""
        return f"{self.run}-{number}"

    async def follow(
        self,
        project_id: ProjectId,
        *,
        after: str | None = None,
        wanted: Callable[[Event], bool],
        keep_alive_s: float,
        allowed: Callable[[], bool] = lambda: True,
    ) -> AsyncGenerator[Event | Missed | None, None]:
        """Events as they come, None after `keep_alive_s` without one that is wanted; ends when the server stops.

        It ends, too, about a second after the reader is no longer `allowed` to read.
        `after` is the place of the last event seen; without it the reader sees what comes from now on.
        """
        ring, wake = self._ring(project_id), asyncio.Event()
        rounds = self._rounds = self._rounds or Rounds()
        ring.readers.add(wake)
        try:
            place, missed = self._start(ring, after)
            if missed is not None:
                yield missed
            silent_at = time.monotonic() + keep_alive_s
            while not self._closing.is_set() and allowed():
                if place < ring.oldest:
                    # More may go by while the reader takes this: that is for the next round.
                    missed, place = Missed(count=ring.oldest - place), ring.oldest
                    yield missed
                    continue
                if place < ring.next:
                    await rounds.wait(project_id)
                for event in self._since(ring, place):
                    if event.number < ring.oldest:
                        # The ring moved on while the reader was busy with the one before.
                        break
                    place = event.number + 1
                    if wanted(event):
                        yield event
                        silent_at = time.monotonic() + keep_alive_s
                if place < ring.next:
                    continue
                left_s = silent_at - time.monotonic()
                if left_s <= 0:
                    yield None
                    silent_at = time.monotonic() + keep_alive_s
                    continue
                wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left_s, _ALLOWED_S)):
                        await wake.wait()
        finally:
            ring.readers.discard(wake)
            ring.left_at = time.monotonic()

    def take_stream(self, project_id: ProjectId, most: int) -> None:
        """One more live stream of a project, until `give_stream`. Raises TooManyRequests when it has `most`."""
        if self._streams[project_id] >= most:
            raise TooManyRequests(f"The project has {most} log streams open, which is the most it may", retry_after_s=5)
        self._streams[project_id] += 1

    def give_stream(self, project_id: ProjectId) -> None:
        self._streams[project_id] -= 1
        if not self._streams[project_id]:
            del self._streams[project_id]

    def close(self) -> None:
        """End every reader's stream."""
        self._closing.set()
        for ring in self._rings.values():
            for reader in ring.readers:
                reader.set()

    async def closes_within(self, seconds: float) -> bool:
        """Whether the server stops before so much time has passed; for streams that do not `follow`."""
        try:
            async with asyncio.timeout(seconds):
                return await self._closing.wait()
        except TimeoutError:
            return False

    def _start(self, ring: _Ring, after: str | None) -> tuple[int, Missed | None]:
        if after is None:
            return ring.next, None
        run, _, number = after.partition("-")
        if run != self.run or not (number.isascii() and number.isdigit()):
            return ring.oldest, Missed(count=None)
        place = int(number[:18]) + 1
        if place < ring.first:
            return ring.oldest, Missed(count=None)
        return min(place, ring.next), None

    @staticmethod
    def _since(ring: _Ring, place: int) -> list[Event]:
        """Some that come next."""
        skipped = max(place - ring.oldest, 0)
        return list(islice(ring.events, skipped, skipped + _AT_ONCE))

    def _ring(self, project_id: ProjectId) -> _Ring:
        ring = self._rings.get(project_id)
        if ring is None:
            ring = self._rings[project_id] = _Ring(self._numbered)
            idle = next((id_ for id_, other in self._rings.items() if not other.readers and other is not ring), None)
            if len(self._rings) > _RINGS and idle is not None:
                self._drop(idle)
        return ring

    def _drop(self, project_id: ProjectId) -> None:
        """The next ring has larger numbers, so that a reader of old learns that it missed some."""
        self._numbered = max(self._numbered, self._rings.pop(project_id).next + 1)
