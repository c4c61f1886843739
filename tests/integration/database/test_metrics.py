import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, Select, select
from sqlalchemy.dialects import sqlite

from isolet.database import deleted, retention
from isolet.database import functions as stored_functions
from isolet.database import invocations as stored_calls
from isolet.database import metrics as stored
from isolet.database import projects as stored_projects
from isolet.database.connection import Database
from isolet.database.tables.metrics import rollup_durations, rollups
from isolet.domain.functions import Function
from isolet.domain.invocations import Door, Invocation, Kind, Outcome
from isolet.domain.metrics import DAY_MS, HOUR_MS, MINUTE_MS, Step, Sums, start_of
from isolet.domain.search import CallFilter, Status
from isolet.errors import StoreError
from isolet.ids import FunctionId, InvocationId, first_of_ms
from tests.integration.database.rows import AT_MS, a_function, a_project, an_invocation

MINUTE = start_of(Step.MINUTE, AT_MS)


@pytest.fixture
def function() -> Function:
    return a_function(a_project())


def at(function: Function, ms: int, number: int = 0, **values: object) -> Invocation:
    return an_invocation(
        function, id=InvocationId(f"{first_of_ms(ms)}-7000-8000-{number:012x}"), started_at_ms=ms, **values
    )


async def test_calls_are_added_up_by_minute_hour_and_month(database: Database, function: Function) -> None:
    batch = [
        at(function, MINUTE, 1, duration_us=1000, memory_limit_mb=128, response_bytes=5, cold_start_us=7),
        at(function, MINUTE, 2, duration_us=3000, status=503, memory_bytes=9),
        at(function, MINUTE + 59_999, 3, duration_us=2000, status=500, outcome=Outcome.CRASHED),
        at(function, MINUTE + MINUTE_MS, 4, duration_us=4000, status=404),
    ]
    await database.write(stored.insert_ended, batch[:2])
    await database.write(stored.insert_ended, batch[2:])
    first = await database.read(stored.sum_function, function.id, Step.MINUTE, MINUTE, MINUTE + MINUTE_MS)
    assert first == Sums(
        total=3,
        errors=2,
        faults=1,
        duration_us=6000,
        cold_starts=1,
        cold_start_us=7,
        mb_us=128_000,
        egress_bytes=5,
        http_errors=2,
        memory_bytes=9,
        last_at_ms=MINUTE + 59_999,
    )
    for step in Step:
        assert (await database.read(stored.sum_function, function.id, step)).total == 4, step
        assert sum((await database.read(stored.count_durations, function.id, step)).values()) == 4, step
    assert (await database.read(stored.sum_function, function.id, Step.HOUR)).http_errors == 3
    month = start_of(Step.MONTH, MINUTE)
    assert (await database.read(stored.sum_projects, month))[function.project_id].duration_us == 10_000
    assert await database.read(stored.sum_projects, month - 1) == {}


async def test_writers_that_count_the_same_functions_wait_for_each_other(database: Database) -> None:
    """In whatever order their calls come: two servers write to one database."""
    functions = [a_function(a_project(), slug=f"f{number}") for number in range(40)]
    batches = [[at(one, MINUTE, number * 100 + place) for place, one in enumerate(functions)] for number in range(16)]
    for batch in batches[::2]:
        batch.reverse()
    await asyncio.gather(*(database.write(stored.add_rollups, batch) for batch in batches))
    found = await database.read(stored.sum_functions, [one.id for one in functions], Step.MONTH)
    assert [sums.total for sums in found.values()] == [16] * 40


async def test_several_functions_are_added_up_at_once(database: Database, function: Function) -> None:
    other, idle = a_function(a_project()), a_function(a_project())
    batch = [at(function, MINUTE), at(function, MINUTE + HOUR_MS, 1), at(other, MINUTE, 2, status=204)]
    await database.write(stored.insert_ended, batch)
    ids = [function.id, other.id, idle.id]
    found = await database.read(stored.sum_functions, ids, Step.HOUR)
    assert {one: sums.total for one, sums in found.items()} == {function.id: 2, other.id: 1}
    late = await database.read(stored.sum_functions, ids, Step.HOUR, start_of(Step.HOUR, MINUTE + HOUR_MS))
    assert {one: sums.total for one, sums in late.items()} == {function.id: 1}
    assert await database.read(stored_calls.last_statuses, ids) == {function.id: 200, other.id: 204}


async def test_a_batch_that_cannot_be_written_counts_nothing(database: Database, function: Function) -> None:
    await database.write(stored.insert_ended, [at(function, MINUTE)])
    nameless = at(function, MINUTE, 1)
    nameless.function_name = None  # type: ignore[assignment]
    with pytest.raises(StoreError, match="cannot write"):
        await database.write(stored.insert_ended, [at(function, MINUTE, 2), nameless])
    assert (await database.read(stored.sum_function, function.id, Step.MINUTE)).total == 1


async def test_old_minutes_are_pruned_in_steps(database: Database, function: Function) -> None:
    await database.write(stored.insert_ended, [at(function, MINUTE + n * MINUTE_MS, n) for n in range(5)])
    before = MINUTE + 4 * MINUTE_MS
    assert await database.write(stored.prune_rollups, Step.MINUTE, before, limit=3) == 3
    assert await database.write(stored.prune_rollups, Step.MINUTE, before, limit=3) == 1
    assert (await database.read(stored.sum_function, function.id, Step.MINUTE)).total == 1
    assert (await database.read(stored.sum_function, function.id, Step.HOUR)).total == 5


async def test_records_are_deleted_by_age_and_by_number(database: Database, function: Function) -> None:
    await database.write(stored.insert_ended, [at(function, AT_MS + n, n) for n in range(10)])
    assert await database.write(retention.delete_older, AT_MS + 4, limit=3) == 3
    assert await database.write(retention.delete_older, AT_MS + 4, limit=3) == 1
    oldest = await database.read(retention.oldest_to_keep, function.project_id, rows=2)
    assert oldest is not None
    assert await database.write(retention.delete_before, function.project_id, oldest, limit=100) == 4
    left = await database.read(stored_calls.list_calls, function.id, limit=10)
    assert [call.started_at_ms for call in left] == [AT_MS + 9, AT_MS + 8]
    assert await database.read(retention.oldest_to_keep, function.project_id, rows=3) is None
    assert await database.read(retention.recorded_projects) == [function.project_id]


async def test_a_page_looks_at_a_bounded_part_and_says_where_to_go_on(
    database: Database, function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_calls, "_WINDOW_ROWS", 4)
    calls = [at(function, AT_MS + n, n, door=Door.ALTAIR if n == 0 else Door.KAPSO) for n in range(9)]
    await database.write(stored.insert_ended, calls)
    before, pages = None, []
    while True:
        wanted = CallFilter(project_id=function.project_id, door=Door.ALTAIR, before=before)
        page = await database.read(stored_calls.find_invocations, wanted)
        pages.append(len(page.calls))
        before = page.following
        if before is None:
            break
    assert pages == [0, 1]


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"function_id": "f"},
        {"status": Status.FAILED},
        {"function_id": "f", "status": Status.CLIENT_4XX},
        {"kind": Kind.CRON},
        {"function_id": "f", "kind": Kind.ASYNC, "before": "x"},
        {"door": Door.ALTAIR, "text": "needle"},
        {"since_ms": AT_MS, "until_ms": AT_MS + HOUR_MS},
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_no_filter_reads_every_record(database: Database, wanted: dict[str, object]) -> None:
    """SQLite says how it would answer: always by an index, in its order."""
    query = stored_calls.window_end(CallFilter(**{"project_id": "p", **wanted}))  # type: ignore[arg-type]
    found = await database.read(plan_of, query)
    owner = "function" if "function_id" in wanted else "project"
    suffix = "_failed" if "status" in wanted else "_unusual" if "kind" in wanted else ""
    assert found.startswith(f"SEARCH invocations USING COVERING INDEX invocations_{owner}{suffix} ("), found
    assert "TEMP B-TREE" not in found


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({}, "invocations_function (function_id=?)"),
        ({"after_ms": AT_MS}, "invocations_function (function_id=? AND id>?)"),
        ({"failed": True}, "invocations_function_failed (function_id=?)"),
        ({"failed": True, "after_ms": AT_MS}, "invocations_function_failed (function_id=? AND id>?)"),
        ({"failed": False}, "invocations_function (function_id=?)"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_no_log_reads_every_record(database: Database, wanted: dict[str, object], index: str) -> None:
    query = stored_calls.log_of(FunctionId("f"), limit=10, **wanted)  # type: ignore[arg-type]
    assert await database.read(plan_of, query) == f"SEARCH invocations USING INDEX {index}"


def plan_of(connection: Connection, query: Select[Any]) -> str:
    compiled = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")
    return "; ".join(row.detail for row in rows)


async def test_functions_that_are_gone_become_one_sum_of_their_project(database: Database) -> None:
    shop, blog = a_project("shop"), a_project("blog")
    for project in (shop, blog):
        await database.write(stored_projects.insert_project, project)
    there, named, *gone = [a_function(shop, slug=f"f{number}") for number in range(5)]
    theirs = a_function(blog)
    await database.write(stored_functions.insert_function, there)
    await database.write(deleted.remember_deleted, shop.id, "f1", named.id, MINUTE)
    everyone = (there, named, *gone, theirs)
    await database.write(stored.add_rollups, [at(one, MINUTE, place) for place, one in enumerate(everyone)])
    await database.write(stored.add_rollups, [at(gone[0], MINUTE - 40 * DAY_MS, 9)])
    month = start_of(Step.MONTH, MINUTE)
    before = await database.read(stored.sum_projects, month)

    while await database.write(stored.fold_deleted, limit=2):
        pass
    assert await database.read(stored.sum_projects, month) == before
    assert before[shop.id].total == 5
    rows = await database.read(
        lambda connection: connection.execute(select(rollups.c.function_id, rollups.c.step)).all()
    )
    expected = {(one.id, step.value) for one in (there, named) for step in Step} | {
        (shop.id, "month"),
        (blog.id, "month"),
    }
    assert (set(map(tuple, rows)), len(rows)) == (expected, 9)
    durations = select(rollup_durations.c.function_id)
    counted = set(await database.read(lambda connection: connection.scalars(durations).all()))
    assert counted == {there.id, named.id}
    # A call that was written late.
    await database.write(stored.add_rollups, [at(gone[1], MINUTE, 20)])
    while await database.write(stored.fold_deleted, limit=100):
        pass
    assert (await database.read(stored.sum_projects, month))[shop.id].total == 6
