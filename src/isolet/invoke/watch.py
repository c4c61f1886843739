"""Tells calls that they are no longer short, with one timer for all of them: most calls end before it comes round."""

from __future__ import annotations

import asyncio
from typing import Protocol

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
        latest = self._loop.time() - WATCH_AFTER_S
        for call in list(self._young):
            if call.began_s > latest:
                break
            del self._young[call]
            call.tick()
        self._timer = self._loop.call_later(WATCH_AFTER_S, self._look) if self._young else None
