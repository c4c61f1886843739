"""How many runs of one workflow a key may start in a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from isolet.domain.projects import Plan

# As in Kapso's API. A plan without a limit of calls has one here all the same, far beyond what a person starts.
LIMITS: Mapping[Plan, int] = {
    Plan.FREE: 5,
    Plan.PRO: 15,
    Plan.ENTERPRISE: 30,
    Plan.PLATFORM: 30,
    Plan.UNLIMITED: 1_000,
}


class Burst(Struct, frozen=True, kw_only=True):
    """What is left of the second, after this start."""

    limit: int
    remaining: int
    allowed: bool


class Bursts:
    """`clock` gives seconds that never go back. Counted in memory of one server."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = 0
        self._counts: dict[tuple[str | None, str], int] = {}

    def take(self, plan: Plan, key_id: str | None, workflow_id: str) -> Burst:
        """Count a start, if it is allowed. What was counted in an earlier second is forgotten at once."""
        now_s = int(self._clock())
        if now_s != self._second:
            self._second, self._counts = now_s, {}
        limit, before = LIMITS[plan], self._counts.get((key_id, workflow_id), 0)
        allowed = before < limit
        if allowed:
            self._counts[key_id, workflow_id] = before + 1
        return Burst(limit=limit, remaining=max(0, limit - before - 1), allowed=allowed)
