"""Rate limits: how many requests a key may make in a minute by its project's plan (`wire-facts.md` 7, items 8–10).

Counted in memory, and anew after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from isolet.domain.access import Principal
from isolet.domain.projects import Plan
from isolet.invoke.routes import Routes

WINDOW_S = 60
_SWEEP_KEYS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a key has left in its minute, after this request."""

    limit: int
    remaining: int
    allowed: bool

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"x-ratelimit-limit", b"%d" % self.limit), (b"x-ratelimit-remaining", b"%d" % self.remaining)]


@dataclass(slots=True)
class _Window:
    began_s: float
    count: int = 0


class Rates:
    """A key's minute begins with its first request. `clock` gives seconds that never go back."""

    def __init__(self, routes: Routes, limits: Mapping[Plan, int], *, clock: Callable[[], float]) -> None:
        self._routes = routes
        self._limits = limits
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    @property
    def any(self) -> bool:
        """Whether any project has a plan with a limit; without one a request need not be looked at."""
        return bool(self._routes.plans)

    def take(self, principal: Principal) -> Allowance | None:
        """Count a request; None where no limit applies: plan `unlimited`, the root key."""
        if principal.project_id is None or principal.key_id is None:
            return None
        plan = self._routes.plans.get(principal.project_id)
        limit = self._limits.get(plan) if plan is not None else None
        if limit is None:
            return None
        window = self._window(principal.key_id)
        if window.count >= limit:
            return Allowance(limit=limit, remaining=0, allowed=False)
        window.count += 1
        return Allowance(limit=limit, remaining=limit - window.count, allowed=True)

    def _window(self, key_id: str) -> _Window:
        now = self._clock()
        window = self._windows.get(key_id)
        if window is None or now - window.began_s >= WINDOW_S:
            if len(self._windows) >= _SWEEP_KEYS:
                self._windows = {id_: old for id_, old in self._windows.items() if now - old.began_s < WINDOW_S}
            window = self._windows[key_id] = _Window(now)
        return window
