"""Figures of functions over windows, and what projects used in a month."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from isolet.clock import Clock
from isolet.database import metrics as stored
from isolet.database.connection import Connection, Database
from isolet.database.invocations import last_statuses
from isolet.domain.durations import PERCENTILES, exact_percentile, percentile
from isolet.domain.metrics import DAY_MS, HOUR_MS, FunctionMetrics, Step, Summary, Sums, Usage, start_of
from isolet.errors import InvalidInput
from isolet.ids import FunctionId, ProjectId
from isolet.observe.recorder import Recorder

# Minutes are kept for two days, hours for four hundred.
WINDOWS_MS = {"1h": HOUR_MS, "24h": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS, "90d": 90 * DAY_MS}
# Up to so many calls of the last hour are read one by one, for percentiles that are exact.
_EXACT_CALLS = 10_000


class UsageStats:
    """`sizes` tells how many bytes each of some projects stores."""

    def __init__(
        self,
        database: Database,
        recorder: Recorder,
        clock: Clock,
        sizes: Callable[[Sequence[ProjectId]], Awaitable[Sequence[int]]],
    ) -> None:
        self._database = database
        self._recorder = recorder
        self._clock = clock
        self._sizes = sizes

    async def function(self, function_id: FunctionId, window: str) -> FunctionMetrics:
        """Over one of WINDOWS_MS, or `all`. Raises InvalidInput for another.

        The last hour is exact to the call; longer windows begin with a whole minute (up to a day) or hour.
        """
        await self._recorder.catch_up()
        now = self._clock.now_ms() + 1
        if window == "all":
            return await self._database.read(_rolled_up, function_id, Step.MONTH, None, now)
        if window not in WINDOWS_MS:
            raise InvalidInput(f"window must be one of {', '.join(WINDOWS_MS)}, all")
        since = now - WINDOWS_MS[window]
        if window == "1h":
            return await self._database.read(_to_the_call, function_id, since, now)
        step = Step.MINUTE if WINDOWS_MS[window] <= DAY_MS else Step.HOUR
        return await self._database.read(_rolled_up, function_id, step, since, now)

    async def summaries(self, function_ids: Sequence[FunctionId]) -> Mapping[FunctionId, Summary]:
        """Of each of these functions, called or not. The last day begins with a whole hour."""
        await self._recorder.catch_up()
        return await self._database.read(_summaries, function_ids, self._clock.now_ms() - DAY_MS)

    async def totals(self, function_ids: Sequence[FunctionId]) -> Mapping[FunctionId, int]:
        """How many calls each of these functions ever had."""
        await self._recorder.catch_up()
        found = await self._database.read(stored.sum_functions, function_ids, Step.MONTH)
        return {function_id: found.get(function_id, Sums()).total for function_id in function_ids}

    async def usage(self, projects: Sequence[ProjectId], month_ms: int) -> list[Usage]:
        """What each of these projects used in the month; its stores' size is that of now."""
        await self._recorder.catch_up()
        found = await self._database.read(stored.sum_projects, month_ms)
        sizes = await self._sizes(projects)
        return [
            Usage(project_id=project_id, month_ms=month_ms, sums=found.get(project_id, Sums()), storage_bytes=size)
            for project_id, size in zip(projects, sizes, strict=True)
        ]


def _summaries(
    connection: Connection, function_ids: Sequence[FunctionId], day_from_ms: int
) -> Mapping[FunctionId, Summary]:
    ever = stored.sum_functions(connection, function_ids, Step.MONTH)
    day = stored.sum_functions(connection, list(ever), Step.HOUR, start_of(Step.HOUR, day_from_ms))
    statuses = last_statuses(connection, list(ever))
    return {
        one: Summary(ever=ever.get(one, Sums()), day=day.get(one, Sums()), last_status=statuses.get(one))
        for one in function_ids
    }


def _rolled_up(
    connection: Connection, function_id: FunctionId, step: Step, since_ms: int | None, until_ms: int
) -> FunctionMetrics:
    start = 0 if since_ms is None else start_of(step, since_ms)
    counts = stored.count_durations(connection, function_id, step, start)
    return FunctionMetrics(
        since_ms=None if since_ms is None else start,
        until_ms=until_ms,
        sums=stored.sum_function(connection, function_id, step, start),
        percentiles_us={percent: percentile(counts, percent) for percent in PERCENTILES},
    )


def _to_the_call(connection: Connection, function_id: FunctionId, since_ms: int, until_ms: int) -> FunctionMetrics:
    whole_ms = start_of(Step.MINUTE, since_ms) + HOUR_MS // 60
    rolled = stored.sum_function(connection, function_id, Step.MINUTE, whole_ms, until_ms)
    if rolled.total > _EXACT_CALLS:
        return _rolled_with_edge(connection, function_id, since_ms, whole_ms, until_ms, rolled)
    calls = stored.read_calls(connection, function_id, since_ms, until_ms, limit=2 * _EXACT_CALLS)
    if len(calls) < rolled.total:
        # Some were deleted, because the project keeps only so many.
        return _rolled_with_edge(connection, function_id, since_ms, whole_ms, until_ms, rolled)
    ordered = sorted(call.duration_us for call in calls)
    return FunctionMetrics(
        since_ms=since_ms,
        until_ms=until_ms,
        sums=stored.sum_calls(calls),
        percentiles_us={percent: exact_percentile(ordered, percent) for percent in PERCENTILES},
        exact=True,
    )


def _rolled_with_edge(
    connection: Connection, function_id: FunctionId, since_ms: int, whole_ms: int, until_ms: int, rolled: Sums
) -> FunctionMetrics:
    """The whole minutes from their sums, and the part of one before them from its calls."""
    edge = stored.sum_calls(stored.read_calls(connection, function_id, since_ms, whole_ms, limit=2 * _EXACT_CALLS))
    counts = stored.count_durations(connection, function_id, Step.MINUTE, whole_ms, until_ms)
    return FunctionMetrics(
        since_ms=since_ms,
        until_ms=until_ms,
        sums=rolled.plus(edge),
        percentiles_us={percent: percentile(counts, percent) for percent in PERCENTILES},
    )
