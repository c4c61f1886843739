"""Lines in the server's log of calls that failed or were refused. A project's tenant can make as many as it likes, so
each project has so many a minute; how many more there were stands in its next line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from msgspec import Struct

from isolet.domain.invocations import Invocation
from isolet.errors import IsoletError
from isolet.ids import FunctionId, ProjectId
from isolet.telemetry import get_logger

log = get_logger("calls")

LINES_A_MINUTE = 120
_WINDOW_S = 60.0
_PROJECTS_MAX = 10_000


class _Window(Struct):
    began_s: float
    lines: int = 0
    untold: int = 0


class Failures:
    """`clock` gives seconds that never go back. `later` runs what it is given: a line takes a tenth of a millisecond,
    and a hundred calls may end at once.
    """

    def __init__(self, clock: Callable[[], float], later: Callable[[Callable[[], None]], None]) -> None:
        self._clock = clock
        self._later = later
        self._windows: dict[ProjectId, _Window] = {}

    def ended(self, calls: Iterable[Invocation]) -> None:
        """Calls that have their records, with what is secret taken out of them."""
        for call in calls:
            if call.failed and (more := self._place(call.project_id)) is not None:
                self._later(partial(_tell, call, more))

    def refused(self, project_id: ProjectId, function_id: FunctionId, error: IsoletError) -> None:
        """A call that ran nothing, and has no record."""
        if (more := self._place(project_id)) is not None:
            log.info(
                "call refused",
                project_id=project_id,
                function_id=function_id,
                reason=_line(error.message),
                **more,
            )

    def _place(self, project_id: ProjectId) -> Mapping[str, int] | None:
        """What to add to a line of this project; None when it has had its lines."""
        now_s = self._clock()
        window = self._windows.get(project_id)
        if window is None or now_s - window.began_s >= _WINDOW_S:
            untold = window.untold if window is not None else 0
            if len(self._windows) >= _PROJECTS_MAX:
                self._windows.clear()
            window = self._windows[project_id] = _Window(now_s, untold=untold)
        if window.lines == LINES_A_MINUTE:
            window.untold += 1
            return None
        window.lines += 1
        untold, window.untold = window.untold, 0
        return {"untold": untold} if untold else {}


def _tell(call: Invocation, more: Mapping[str, int]) -> None:
    log.info(
        "call failed",
        invocation_id=call.id,
        project_id=call.project_id,
        function_id=call.function_id,
        outcome=call.outcome.value,
        status=call.status,
        duration_ms=round(call.duration_us / 1000, 1),
        error=_line(call.error or ""),
        **more,
    )


def _line(text: str) -> str:
    """Text of a tenant's as one line, which changes nothing of a terminal that shows it."""
    return "".join(char if char.isprintable() else " " for char in text)
