"""Counts of calls since the server started, for monitoring. Bounded: beyond so many functions they share one name,
those of the project first that has most places.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
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

    def add_all(self, other: Histogram) -> None:
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.sum_us += other.sum_us


_DURATION_US = tuple(bound * 1_000_000 for bound in DURATION_BOUNDS_S)


class Counters:
    """By project id and function id; `calls` by door and outcome as well."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str, str, str], int] = {}
        self.durations: dict[FunctionKey, Histogram] = {}
        self._places: Counter[str] = Counter()
        self._taken = 0
        # Projects that get no further place, until places change.
        self._refused: set[str] = set()
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
                if not (exists(call.function_id) and self._take_place(call.project_id)):
                    place = (OTHER, OTHER)
                histogram = durations.setdefault(place, Histogram(_DURATION_US))
            histogram.add(call.duration_us)
            key = (*place, call.door, call.outcome)
            calls[key] = calls.get(key, 0) + 1
            if call.cold_start_us:
                self.cold_starts.add(call.cold_start_us)

    def forget(self, function_id: str) -> None:
        """A function is gone: its place is free for another."""
        for place in [key for key in self.durations if key[1] == function_id]:
            del self.durations[place]
            self._give_place_back(place[0])
        for key in [key for key in self.calls if key[1] == function_id]:
            del self.calls[key]

    def _take_place(self, project_id: str) -> bool:
        """Whether a function of the project gets a place of its own: one of the project that has most may yield its."""
        if self._taken >= _FUNCTIONS:
            if project_id in self._refused:
                return False
            most, count = self._places.most_common(1)[0]
            if count <= self._places[project_id] + 1:
                self._refused.add(project_id)
                return False
            self._share_place(next(key for key in self.durations if key[0] == most))
        self._places[project_id] += 1
        self._taken += 1
        return True

    def _give_place_back(self, project_id: str) -> None:
        if project_id == OTHER:
            return
        self._places[project_id] -= 1
        if not self._places[project_id]:
            del self._places[project_id]
        self._taken -= 1
        self._refused.clear()

    def _share_place(self, place: FunctionKey) -> None:
        """What was counted of a function is counted with the others from here on."""
        self._give_place_back(place[0])
        self.durations.setdefault((OTHER, OTHER), Histogram(_DURATION_US)).add_all(self.durations.pop(place))
        for key in [key for key in self.calls if key[:2] == place]:
            shared = (OTHER, OTHER, *key[2:])
            self.calls[shared] = self.calls.get(shared, 0) + self.calls.pop(key)
