"""Calls of functions on a line of time: for a list of functions at a glance, and for the charts of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

from isolet.clock import Clock
from isolet.database import series as stored
from isolet.database.connection import Connection, Database
from isolet.domain.durations import PERCENTILES, percentile
from isolet.domain.metrics import DAY_MS, HOUR_MS, MINUTE_MS, Glance, Line, Span, Step, Sums, start_of
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

    async def line(self, function_id: FunctionId, window: str) -> Line:
        """The window in spans, those without calls too. Raises InvalidInput."""
        if window not in _WINDOWS:
            raise InvalidInput(f"window must be one of {', '.join(_WINDOWS)}")
        await self._recorder.catch_up()
        length_ms, step, span_ms = _WINDOWS[window]
        now_ms = self._clock.now_ms()
        first_ms = now_ms - now_ms % span_ms - length_ms + span_ms
        return await self._database.read(_line, function_id, step, span_ms, first_ms, length_ms // span_ms)


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


def _line(connection: Connection, function_id: FunctionId, step: Step, span_ms: int, first_ms: int, count: int) -> Line:
    sums = [Sums()] * count
    buckets: list[dict[int, int]] = [{}] * count
    for at_ms, found in stored.list_sums(connection, function_id, step, first_ms).items():
        index = min((at_ms - first_ms) // span_ms, count - 1)
        sums[index] = sums[index].plus(found)
    for number, counted in stored.list_durations(connection, function_id, step, first_ms, span_ms).items():
        index = min(number, count - 1)
        buckets[index] = _added(buckets[index], counted)
    spans = [_span(first_ms + index * span_ms, sums[index], buckets[index]) for index in range(count)]
    return Line(whole=_span(first_ms, reduce(Sums.plus, sums), reduce(_added, buckets, {})), spans=spans)


def _added(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    return {bucket: one.get(bucket, 0) + other.get(bucket, 0) for bucket in {*one, *other}}


def _span(at_ms: int, sums: Sums, buckets: Mapping[int, int]) -> Span:
    return Span(at_ms=at_ms, sums=sums, percentiles_us={one: percentile(buckets, one) for one in PERCENTILES})
