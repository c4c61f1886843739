"""Figures of calls: sums over a window, and what is derived from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from msgspec import Struct, field

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


class Step(StrEnum):
    """The lengths of time that calls are rolled up by."""

    MINUTE = "minute"
    HOUR = "hour"
    MONTH = "month"


def start_of(step: Step, at_ms: int) -> int:
    """The beginning, in UTC, of the minute, hour or month that holds `at_ms`."""
    if step is not Step.MONTH:
        length = MINUTE_MS if step is Step.MINUTE else HOUR_MS
        return at_ms - at_ms % length
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return round(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()) * 1000


class Sums(Struct, frozen=True, kw_only=True):
    """`errors` counts failed calls (an error, or a 5xx of the function's own), `faults` only those with an error,
    `http_errors` every reply with a status of 400 or more, whoever gave it.

    `mb_us` is the memory limit in MiB times the duration; `memory_bytes` the most an instance was seen to hold.
    """

    total: int = 0
    errors: int = 0
    faults: int = 0
    duration_us: int = 0
    cold_starts: int = 0
    cold_start_us: int = 0
    mb_us: int = 0
    egress_bytes: int = 0
    http_errors: int = 0
    memory_bytes: int = 0
    last_at_ms: int = 0

    @property
    def average_us(self) -> float | None:
        return self.duration_us / self.total if self.total else None

    @property
    def average_cold_start_us(self) -> float | None:
        return self.cold_start_us / self.cold_starts if self.cold_starts else None

    @property
    def error_rate(self) -> float:
        """A fraction from 0 to 1."""
        return self.errors / self.total if self.total else 0.0

    def plus(self, other: Sums) -> Sums:
        names = self.__struct_fields__
        most = {name: max(getattr(self, name), getattr(other, name)) for name in names[-2:]}
        return Sums(**{name: getattr(self, name) + getattr(other, name) for name in names[:-2]}, **most)

    @property
    def gb_seconds(self) -> float:
        return self.mb_us / 1024 / 1_000_000


class Summary(Struct, frozen=True, kw_only=True):
    """A function's calls at a glance: all there ever were, and those of the last day. `last_status` is the last call's,
    None when no record of it is left."""

    ever: Sums = Sums()
    day: Sums = Sums()
    last_status: int | None = None


class FunctionMetrics(Struct, frozen=True, kw_only=True):
    """Of one function from `since_ms` (None: from the first) up to `until_ms`. Percentiles are in µs, by percent.

    `exact` says that every figure was taken from the calls themselves; else percentiles are within a bucket's width.
    """

    since_ms: int | None
    until_ms: int
    sums: Sums
    percentiles_us: Mapping[int, float | None] = field(default_factory=dict)
    exact: bool = False


class Glance(Struct, frozen=True, kw_only=True):
    """The last day of a function: its calls in each hour, oldest first, and those that failed."""

    calls: Sequence[int]
    errors: int
    p95_us: float | None


class Span(Struct, frozen=True, kw_only=True):
    """The calls of a function in one of some spans of equal length, which begins at `at_ms`."""

    at_ms: int
    sums: Sums
    percentiles_us: Mapping[int, float | None]


class Line(Struct, frozen=True, kw_only=True):
    """Spans of equal length, oldest first, and the calls of all of them as one."""

    whole: Span
    spans: Sequence[Span]


class Usage(Struct, frozen=True, kw_only=True):
    """Of one project in one month."""

    project_id: str
    month_ms: int
    sums: Sums
    storage_bytes: int = 0
