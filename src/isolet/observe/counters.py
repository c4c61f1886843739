"""Counts of calls since the server started, for monitoring. Bounded: beyond so many functions they share one name."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

from msgspec import Struct, field

from isolet.domain.invocations import Invocation

DURATION_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
COLD_START_BOUNDS_S = (0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
_FUNCTIONS = 500
OTHER = "_other"
FunctionKey = tuple[str, str]


class Histogram(Struct):
    """`counts[i]` is how many fell at or below `bounds_us[i]` and above the bound before; the last has no bound."""

    bounds_us: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    sum_us: int = 0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds_us) + 1)

    def add(self, us: int) -> None:
        self.counts[bisect_left(self.bounds_us, us)] += 1
        self.sum_us += us


_DURATION_US = tuple(bound * 1_000_000 for bound in DURATION_BOUNDS_S)


class Counters:
    """By project id and function id; `calls` by door and outcome as well."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str, str, str], int] = {}
        self.durations: dict[FunctionKey, Histogram] = {}
        self.cold_starts = Histogram(tuple(bound * 1_000_000 for bound in COLD_START_BOUNDS_S))

    def add(self, batch: Iterable[Invocation], exists: Callable[[str], bool] = lambda _: True) -> None:
        """`exists` tells whether a function is still there.

        Calls are counted a moment after they ended, and those of a function that was deleted meanwhile would keep its
        place for ever.
        """
        calls, durations = self.calls, self.durations
        for call in batch:
            place: FunctionKey = (call.project_id, call.function_id)
            histogram = durations.get(place)
            if histogram is None:
                if len(durations) >= _FUNCTIONS or not exists(call.function_id):
                    place = (OTHER, OTHER)
                histogram = durations.setdefault(place, Histogram(_DURATION_US))
            histogram.add(call.duration_us)
            key = (*place, call.door, call.outcome)
            calls[key] = calls.get(key, 0) + 1
            if call.cold_start_us:
                self.cold_starts.add(call.cold_start_us)

    def forget(self, function_id: str) -> None:
        """A function is gone: its place is free for another."""
        self.durations = {key: value for key, value in self.durations.items() if key[1] != function_id}
        self.calls = {key: value for key, value in self.calls.items() if key[1] != function_id}
