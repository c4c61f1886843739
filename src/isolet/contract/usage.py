"""Figures of functions, and what projects use."""

from __future__ import annotations

from isolet.contract.models import Number, Page, Reply
from isolet.contract.operations import Mode, Resource, operation


class DurationReply(Reply):
    average: Number | None
    p50: Number | None
    p95: Number | None
    p99: Number | None


class AverageReply(Reply):
    average: Number | None


class MaximumReply(Reply):
    max: Number


class MetricsReply(Reply):
    """Of the calls since `since`. `error_rate` is a percentage; `exact`: percentiles were taken from the calls."""

    function_id: str
    window: str
    since: str | None
    until: str
    exact: bool
    total: int
    errors: int
    error_rate: Number
    duration_ms: DurationReply
    cold_starts: int
    cold_start_ms: AverageReply
    memory_mb: MaximumReply
    last_invocation_at: str | None


class SpanReply(Reply):
    """The calls that began in a span of time from `at` on."""

    at: str
    total: int
    errors: int
    cold_starts: int
    memory_mb: Number
    p50_ms: Number | None
    p95_ms: Number | None
    p99_ms: Number | None


class SeriesReply(Reply):
    """`whole` is all spans as one."""

    window: str
    whole: SpanReply
    spans: list[SpanReply]


class UsageReply(Reply):
    project: str
    month: str
    invocations: int
    errors: int
    gb_seconds: Number
    egress_bytes: int
    storage_bytes: int


class Usage(Resource[Mode]):
    tag = "metrics"

    @operation("GET", "/functions/{function_id}/metrics")
    def of_function(self, function_id: str, *, window: str = "24h") -> MetricsReply:
        """Figures of a function's calls: numbers, times, errors."""

    @operation("GET", "/functions/{function_id}/metrics/series")
    def series(self, function_id: str, *, window: str = "24h") -> SeriesReply:
        """The window, `1h`, `24h`, `7d` or `30d`, in spans of equal length, oldest first."""

    @operation("GET", "/usage")
    def list(self, *, project: str | None = None, month: str | None = None) -> Page[UsageReply]:
        """Of a month, `2026-01`; of this one without `month`."""
