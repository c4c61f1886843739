"""What pages make of numbers, times and texts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from isolet.contract.usage import SpanReply
from isolet.dashboard import charts, rendering
from isolet.dashboard.pages.function_metrics import charts_of
from isolet.dashboard.starters import STARTERS


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (None, "never"),
        ("2027-01-01T12:00:00.000Z", "now"),
        ("2027-01-01T11:59:01.000Z", "59 s ago"),
        ("2027-01-01T11:00:00.000Z", "1 h ago"),
        ("2026-12-01T12:00:00.000Z", "31 d ago"),
        ("2027-01-01T12:02:30.000Z", "in 2 min"),
    ],
)
def test_times_are_told_from_now(at: str | None, shown: str) -> None:
    assert rendering.ago(at, now=lambda: datetime(2027, 1, 1, 12, tzinfo=UTC)) == shown


def test_amounts_have_one_unit() -> None:
    assert [rendering.size(n) for n in (None, 0, 1023, 1024, 150 * 1024, 5 * 1024**4 * 1024)] == [
        *("–", "0 B", "1023 B", "1.0 KB", "150 KB"),
        "5120 TB",
    ]
    assert [rendering.milliseconds(n) for n in (None, 0, 9.96, 250, 12_345)] == [
        *("–", "0.0 ms", "10.0 ms", "250 ms", "12.3 s"),
    ]
    assert rendering.count(1_234_567) == "1\u202f234\u202f567"


def test_a_chart_says_its_values_and_runs_no_markup() -> None:
    line = charts.sparkline([0, 0, 5], 'said "<"')
    assert "&lt;" in line
    assert " style=" not in line
    assert 'points="0.0,22.0 48.0,22.0 96.0,2.0"' in line
    assert charts.sparkline([], "none").count("<svg") == 1


def test_spans_without_calls_are_gaps_and_their_counts_are_zero() -> None:
    none = SpanReply(
        at="2027-01-01T00:00:00.000Z",
        total=0,
        errors=0,
        cold_starts=0,
        memory_mb=0,
        p50_ms=None,
        p95_ms=None,
        p99_ms=None,
    )
    said = {"at": "2027-01-01T01:00:00.000Z", "total": 3, "errors": 1, "memory_mb": 20, "p50_ms": 2}
    some = none.model_copy(update=said)
    calls, durations, _, memory = charts_of([none, some])
    assert (calls["times"], calls["span"]) == ([1_798_761_600_000, 1_798_765_200_000], 3_600_000)
    assert [one["values"] for one in calls["series"]] == [[0, 3], [0, 1]]
    assert durations["series"][0]["values"] == [None, 2]
    assert memory["series"][0]["values"] == [None, 20]


def test_every_starter_has_its_code() -> None:
    for starter in STARTERS:
        assert "handler" in starter.code or "export default" in starter.code
