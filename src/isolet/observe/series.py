"""Calls of functions on a line of time: for a list of functions at a glance, and for the charts of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isolet.clock import Clock
from isolet.database import series as stored
from isolet.database.connection import Connection, Database
from isolet.domain.durations import PERCENTILES, percentile
from isolet.domain.metrics import DAY_MS, HOUR_MS, MINUTE_MS, Glance, Span, Step, Sums, start_of
from isolet.errors import InvalidInput
from isolet.ids import FunctionId
from isolet.observe.recorder import Recorder

_HOURS = DAY_MS // HOUR_MS
# How long a window is, what its calls are rolled up by, and how long a span is.
_WINDOWS = {
    "1h": (HOUR_MS, Step.MINUTE, MINUTE_MS),
    "24h": (DAY_MS, Step.HOUR, HOUR_MS),
    "7d": (7 * DAY_MS, Step.HOUR, 6 * HOUR_MS),
    "30d": (30 * DAY_MS, Step.HOUR, DAY_MS),
}


class Series:
    def __init__(self, database: Database, recorder: Recorder, clock: Clock) -> None:
        self._database = database
        self._recorder = recorder
        self._clock = clock

    async def glances(self, function_ids: Sequence[FunctionId]) -> Mapping[FunctionId, Glance]:
        """The last day of each of these functions, called or not. It begins with a whole hour."""
        await self._recorder.catch_up()
        since_ms = start_of(Step.HOUR, self._clock.now_ms()) - (_HOURS - 1) * HOUR_MS
        return await self._database.read(_glances, function_ids, since_ms)

    async def spans(self, function_id: FunctionId, window: str) -> Sequence[Span]:
        """The window in spans of equal length, oldest first, those without calls too. Raises InvalidInput."""
        if window not in _WINDOWS:
            raise InvalidInput(f"window must be one of {', '.join(_WINDOWS)}")
        await self._recorder.catch_up()
        length_ms, step, span_ms = _WINDOWS[window]
        now_ms = self._clock.now_ms()
        first_ms = now_ms - now_ms % span_ms - length_ms + span_ms
        return await self._database.read(_spans, function_id, step, span_ms, first_ms, length_ms // span_ms)


def _glances(connection: Connection, ids: Sequence[FunctionId], since_ms: int) -> Mapping[FunctionId, Glance]:
    calls = {id_: [0] * _HOURS for id_ in ids}
    errors = dict.fromkeys(ids, 0)
    for id_, at_ms, total, failed in stored.list_counts(connection, ids, Step.HOUR, since_ms):
        calls[id_][min((at_ms - since_ms) // HOUR_MS, _HOURS - 1)] += total
        errors[id_] += failed
    durations = stored.count_durations_of(connection, ids, Step.HOUR, since_ms)
    return {
        id_: Glance(calls=calls[id_], errors=errors[id_], p95_us=percentile(durations.get(id_, {}), 95)) for id_ in ids
    }


def _spans(
    connection: Connection, function_id: FunctionId, step: Step, span_ms: int, first_ms: int, count: int
) -> Sequence[Span]:
    sums = [Sums()] * count
    buckets: list[dict[int, int]] = [{} for _ in range(count)]
    for at_ms, found in stored.list_sums(connection, function_id, step, first_ms).items():
        index = min((at_ms - first_ms) // span_ms, count - 1)
        sums[index] = sums[index].plus(found)
    for at_ms, counted in stored.list_durations(connection, function_id, step, first_ms).items():
        place = buckets[min((at_ms - first_ms) // span_ms, count - 1)]
        for bucket, number in counted.items():
            place[bucket] = place.get(bucket, 0) + number
    return [
        Span(
            at_ms=first_ms + index * span_ms,
            sums=sums[index],
            percentiles_us={percent: percentile(buckets[index], percent) for percent in PERCENTILES},
        )
        for index in range(count)
    ]
