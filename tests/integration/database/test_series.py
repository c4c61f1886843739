"""Calls on a line of time, from the roll-ups."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Engine, event

from isolet.database import functions, metrics, projects
from isolet.database.connection import Database
from isolet.domain.functions import Function
from isolet.domain.invocations import Invocation
from isolet.domain.metrics import DAY_MS, HOUR_MS
from isolet.ids import InvocationId, first_of_ms
from isolet.observe.recorder import Recorder
from isolet.observe.series import Series
from tests.integration.database.rows import a_function, a_project, an_invocation

# A quarter past an hour.
NOW_MS = 500_000 * HOUR_MS + HOUR_MS // 4


class Now:
    def now_ms(self) -> int:
        return NOW_MS


def at(function: Function, ms: int, number: int, **values: object) -> Invocation:
    return an_invocation(
        function, id=InvocationId(f"{first_of_ms(ms)}-7000-8000-{number:012x}"), started_at_ms=ms, **values
    )


async def test_a_glance_has_the_hours_of_the_last_day(database: Database) -> None:
    called, idle = a_function(a_project("shop")), a_function(a_project("blog"))
    calls = [
        at(called, NOW_MS - DAY_MS - HOUR_MS, 1),
        at(called, NOW_MS - 23 * HOUR_MS, 2, duration_us=1000),
        at(called, NOW_MS - HOUR_MS, 3, duration_us=1000, status=500),
        at(called, NOW_MS, 4, duration_us=1_000_000),
        at(called, NOW_MS, 5, duration_us=1000),
    ]
    await database.write(metrics.insert_ended, calls)
    found = await Series(database, Recorder(database), Now()).glances([called.id, idle.id])
    assert list(found[called.id].calls) == [1, *[0] * 21, 1, 2]
    assert found[called.id].errors == 1
    assert 900_000 < (found[called.id].p95_us or 0) < 1_100_000
    assert (sum(found[idle.id].calls), found[idle.id].errors, found[idle.id].p95_us) == (0, 0, None)


async def test_a_page_of_functions_takes_three_queries(database: Database) -> None:
    shop = a_project("shop")
    await database.write(projects.insert_project, shop)
    made = [replace(a_function(shop), slug=f"f-{number}") for number in range(60)]
    for function in made:
        await database.write(functions.insert_function, function)
    asked: list[str] = []

    def note(*arguments: Any) -> None:
        asked.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        found = await database.read(functions.list_functions, shop.id, limit=50, text="F-")
        glances = await Series(database, Recorder(database), Now()).glances([one.id for one in found])
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert (len(found), len(glances)) == (50, 50)
    assert len([statement for statement in asked if "SELECT" in statement]) == 3


async def test_a_window_is_spans_of_equal_length(database: Database) -> None:
    function = a_function(a_project())
    calls = [
        at(function, NOW_MS - 6 * DAY_MS, 1, cold_start_us=5, memory_bytes=3 * 1024 * 1024),
        at(function, NOW_MS, 2, duration_us=2000),
        at(function, NOW_MS, 3, status=503, duration_us=2000),
    ]
    await database.write(metrics.insert_ended, calls)
    series = Series(database, Recorder(database), Now())
    for window, count, total in (("1h", 60, 2), ("24h", 24, 2), ("7d", 28, 3), ("30d", 30, 3)):
        line = await series.line(function.id, window)
        spans = line.spans
        assert len(spans) == count
        assert sum(span.sums.total for span in spans) == total, window
        assert (line.whole.sums.total, line.whole.sums.errors, line.whole.at_ms) == (total, 1, spans[0].at_ms)
        assert 1900 < (line.whole.percentiles_us[95] or 0) < 2100
        assert (spans[-1].sums.total, spans[-1].sums.errors) == (2, 1), window
        assert spans[-1].at_ms <= NOW_MS
        lengths = {after.at_ms - before.at_ms for before, after in pairwise(spans)}
        assert len(lengths) == 1
        assert 1900 < (spans[-1].percentiles_us[50] or 0) < 2100
    earlier = [span for span in (await series.line(function.id, "7d")).spans if span.sums.cold_starts]
    assert [(span.sums.total, span.sums.memory_bytes) for span in earlier] == [(1, 3 * 1024 * 1024)]
