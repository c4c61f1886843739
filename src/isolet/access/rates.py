"""Rate limits: how many requests a minute a project takes by its plan.

All of a project's requests count together, whoever makes them: its keys and their tokens, its end users, and callers
of its public functions. Each door counts the project whose principal it accepted, or whose function it lets anybody
call. What it refuses for its credentials is not counted, so that nobody uses up another's minute; the root key's
requests are not counted either. Counted in memory, and anew after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any

from msgspec import Struct

from isolet.access.open_requests import OpenRequests
from isolet.domain.projects import Plan
from isolet.errors import RateExceeded
from isolet.ids import ProjectId
from isolet.routing.routes import Routes
from isolet.threads import work_for
from isolet.wire.exchange import ON_END

WINDOW_S = 60
_SWEEP_PROJECTS = 10_000
_PLACE = "isolet.rates"
_OPENING = "isolet.open_requests"


class Allowance(Struct, frozen=True, kw_only=True):
    """What a project has left in its minute, after this request."""

    limit: int
    remaining: int
    allowed: bool

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"x-ratelimit-limit", b"%d" % self.limit), (b"x-ratelimit-remaining", b"%d" % self.remaining)]


class _Window(Struct):
    began_s: float
    count: int = 0


class Rates:
    """A project's minute begins with its first request. `clock` gives seconds that never go back."""

    def __init__(self, routes: Routes, limits: Mapping[Plan, int], *, clock: Callable[[], float]) -> None:
        self._routes = routes
        self._limits = limits
        self._clock = clock
        self._windows: dict[ProjectId, _Window] = {}

    @property
    def any(self) -> bool:
        """Whether any project has a plan with a limit; without one a request need not be looked at."""
        return bool(self._routes.plans)

    def take(self, project_id: ProjectId) -> Allowance | None:
        """Count a request; None where no limit applies, as for the plan `unlimited`."""
        plan = self._routes.plans.get(project_id)
        limit = self._limits.get(plan) if plan is not None else None
        if limit is None:
            return None
        window = self._window(project_id)
        if window.count >= limit:
            return Allowance(limit=limit, remaining=0, allowed=False)
        window.count += 1
        return Allowance(limit=limit, remaining=limit - window.count, allowed=True)

    def _window(self, project_id: ProjectId) -> _Window:
        now = self._clock()
        window = self._windows.get(project_id)
        if window is None or now - window.began_s >= WINDOW_S:
            if len(self._windows) >= _SWEEP_PROJECTS:
                self._windows = {id_: old for id_, old in self._windows.items() if now - old.began_s < WINDOW_S}
            window = self._windows[project_id] = _Window(now)
        return window


class Counting:
    """The counting of one request: the first project that is named counts, and only once."""

    __slots__ = ("_rates", "allowance")

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self.allowance: Allowance | None = None

    def count(self, project_id: ProjectId) -> None:
        """Raises RateExceeded."""
        if self.allowance is None:
            self.allowance = self._rates.take(project_id)
            if self.allowance is not None and not self.allowance.allowed:
                limit = self.allowance.limit
                raise RateExceeded(f"Rate limit exceeded: {limit} requests a minute", retry_after_s=WINDOW_S)


def begin(scope: MutableMapping[str, Any], rates: Rates) -> Counting:
    """A request comes: from here on `count` counts it."""
    counting = scope[_PLACE] = Counting(rates)
    return counting


def opened(scope: MutableMapping[str, Any], opening: OpenRequests) -> None:
    """A request comes: `hold` notes it among those of its project that are open, until it ends."""
    scope[_OPENING] = opening


def count(scope: MutableMapping[str, Any], project_id: ProjectId | None) -> None:
    """Count a request for the project that its door found; None is the root key's.

    Raises RateExceeded, and what `hold` does.
    """
    counting: Counting | None = scope.get(_PLACE)
    if counting is not None and project_id is not None:
        counting.count(project_id)
    hold(scope, project_id)


def hold(scope: MutableMapping[str, Any], project_id: ProjectId | None) -> None:
    """A request that is a project's, whoever makes it: it is open until it ends, though it may count in no minute.

    What it asks of threads is the project's from here on. Raises TooManyRequests when too many of the project's are
    open.
    """
    work_for(project_id)
    opening: OpenRequests | None = scope.get(_OPENING)
    if opening is not None and project_id is not None and not scope[ON_END]:
        scope[ON_END].append(opening.begin(project_id))


def told(scope: MutableMapping[str, Any], headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of a reply with those of its project's minute, in place of what a function says under their names."""
    ours = headers_of(scope)
    names = {name for name, _ in ours}
    return [*(header for header in headers if header[0] not in names), *ours]


def headers_of(scope: MutableMapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """What the reply says of its project's minute; nothing where no limit applies."""
    counting: Counting | None = scope.get(_PLACE)
    return counting.allowance.headers if counting is not None and counting.allowance is not None else []
