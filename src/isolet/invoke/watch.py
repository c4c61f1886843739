"""Tells calls that they are no longer short, with one timer for all of them: most calls end before it comes round."""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from typing import Protocol

from isolet.spread import IN_A_TURN

# A call is told between this time and twice of it.
WATCH_AFTER_S = 0.05


class Watched(Protocol):
    began_s: float

    def tick(self) -> None: ...


class Watch:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # In the order that they began.
        self._young: dict[Watched, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, call: Watched) -> None:
        self._young[call] = None
        if self._timer is None:
            self._timer = self._loop.call_later(WATCH_AFTER_S, self._look)

    def remove(self, call: Watched) -> None:
        self._young.pop(call, None)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        """Tell those that are due: of a crowd some in each turn of the loop."""
        latest = time.monotonic() - WATCH_AFTER_S
        due = [call for call in islice(self._young, IN_A_TURN) if call.began_s <= latest]
        for call in due:
            del self._young[call]
            call.tick()
        pause_s = 0 if len(due) == IN_A_TURN else WATCH_AFTER_S
        self._timer = self._loop.call_later(pause_s, self._look) if self._young else None
