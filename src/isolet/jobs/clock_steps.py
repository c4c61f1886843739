"""Notices that the clock was set back: what waits would wait so much longer."""

from __future__ import annotations

from time import monotonic

from isolet.clock import Clock

# Less is how clocks are kept right all the time.
_STEP_MIN_MS = 2_000


class ClockSteps:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall_ms = clock.now_ms()
        self._steady_s = monotonic()

    def back_ms(self) -> int:
        """How far the clock was set back since this was asked last; 0 when it was not."""
        wall_ms, steady_s = self._clock.now_ms(), monotonic()
        expected_ms = self._wall_ms + round((steady_s - self._steady_s) * 1000)
        self._wall_ms, self._steady_s = wall_ms, steady_s
        back_ms = expected_ms - wall_ms
        return back_ms if back_ms >= _STEP_MIN_MS else 0
