import pytest

from isolet.database import invocations as stored
from isolet.database.connection import Database
from isolet.domain.functions import Function
from isolet.domain.invocations import ConsoleLine, Door, Kind, Outcome
from isolet.domain.kills import KillReport, Limit
from isolet.domain.search import CallFilter
from isolet.ids import InvocationId, new_id
from tests.integration.database.rows import AT_MS, a_function, a_project, an_invocation


@pytest.fixture
def function() -> Function:
    """Records need no function: they outlive theirs."""
    return a_function(a_project())


async def test_a_record_is_read_as_it_was_stored(database: Database, function: Function) -> None:
    lines = [
        ConsoleLine(level="log", message='quoted "text"\nof two lines\u2028and \ud800', at_ms=AT_MS),
        ConsoleLine(level="error", message="", at_ms=AT_MS + 1, stack="Error: no\n    at handler"),
    ]
    plain = an_invocation(function)
    full = an_invocation(
        function,
        version=3,
        door=Door.ALTAIR,
        kind=Kind.CRON,
        method="DELETE",
        path="/ü",
        status=504,
        outcome=Outcome.TIMEOUT,
        duration_us=2**40,
        cold_start_us=7,
        error="Function execution timeout (1ms)",
        request_body=bytes(range(256)),
        request_truncated=True,
        response_body=b"\x00",
        response_truncated=True,
        console=lines,
    )
    await database.write(stored.insert_invocations, [plain, full])
    assert await database.read(stored.list_invocations, function.id, limit=10) == [full, plain]


@pytest.mark.parametrize(
    "unusual",
    [
        {"kind": Kind.ASYNC},
        {"outcome": Outcome.DISCONNECTED},
        {"kill_report": KillReport(limit=Limit.CPU, at_ms=AT_MS, allowed=1, used=2)},
        {"error": "it broke"},
        {"stack": "Error: no"},
        {"console": [ConsoleLine(level="log", message="printed", at_ms=AT_MS)]},
        {"query": "a=1"},
        {"cold_start_us": 7},
        {"queue_us": 7},
        {"request_truncated": True},
        {"response_truncated": True},
        {"request_redacted": True},
        {"version": 2},
        {"door": Door.NATIVE},
        {"method": "PUT"},
        {"path": "/other"},
        {"function_name": "Renamed"},
        {"memory_limit_mb": 64},
        {"request_headers": b"accept: */*"},
    ],
    ids=lambda unusual: next(iter(unusual)),
)
async def test_what_a_call_does_not_have_in_common_with_the_next_is_stored(
    database: Database, function: Function, unusual: dict[str, object]
) -> None:
    call, usual = an_invocation(function, **unusual), an_invocation(function)
    await database.write(stored.insert_invocations, [call, usual])
    assert await database.read(stored.list_invocations, function.id, limit=2) == [usual, call]


async def test_the_record_of_a_calls_last_attempt_stays(database: Database, function: Function) -> None:
    failed = an_invocation(function, outcome=Outcome.CRASHED, status=502, error="it broke")
    again = an_invocation(function, id=failed.id, status=200, response_body=b"done")
    await database.write(stored.insert_invocations, [failed])
    await database.write(stored.insert_invocations, [failed, again])
    assert await database.read(stored.list_invocations, function.id, limit=2) == [again]


@pytest.mark.parametrize("rows", [1, 127, 128, 129, 300])
async def test_batches_of_any_size_are_stored_whole(database: Database, function: Function, rows: int) -> None:
    made = [an_invocation(function, version=1 if number % 3 else 2) for number in range(rows)]
    await database.write(stored.insert_invocations, made)
    assert await database.read(stored.list_invocations, function.id, limit=rows + 1) == made[::-1]


async def test_records_are_listed_newest_first_up_to_a_limit(database: Database, function: Function) -> None:
    made = [an_invocation(function, status=status) for status in (199, 200, 299, 300, 404, 500)]
    other = an_invocation(a_function(a_project()))
    await database.write(stored.insert_invocations, [*made, other])

    async def statuses(limit: int, succeeded: bool | None) -> list[int]:
        found = await database.read(stored.list_invocations, function.id, limit=limit, succeeded=succeeded)
        return [invocation.status for invocation in found]

    assert await statuses(10, None) == [500, 404, 300, 299, 200, 199]
    assert await statuses(2, None) == [500, 404]
    assert await statuses(10, True) == [299, 200]
    assert await statuses(3, False) == [500, 404, 300]


async def test_a_log_has_what_began_later_failed_or_not(database: Database, function: Function) -> None:
    made = [
        an_invocation(function, started_at_ms=AT_MS + number, status=status, error=error)
        for number, (status, error) in enumerate([(200, None), (399, None), (404, None), (500, None), (0, "it broke")])
    ]
    await database.write(stored.insert_invocations, made)

    async def log(**wanted: object) -> list[int]:
        found = await database.read(stored.list_log, function.id, limit=10, **wanted)
        return [call.started_at_ms - AT_MS for call in found]

    assert await log() == [4, 3, 2, 1, 0]
    assert await log(after_ms=AT_MS + 2) == [4, 3]
    assert await log(failed=True) == [4, 3, 2]
    assert await log(failed=False) == [1, 0]
    assert await log(failed=True, after_ms=AT_MS + 3) == [4]
    assert await log(ids=[made[0].id, made[4].id], after_ms=AT_MS) == [4]
    assert await database.read(stored.list_log_ids, function.id, limit=2, failed=True) == [made[4].id, made[3].id]
    assert await database.read(stored.list_ids, function.id, limit=2, after_ms=AT_MS) == [made[4].id, made[3].id]


async def test_a_page_of_calls_is_read_without_what_is_large(database: Database, function: Function) -> None:
    line = ConsoleLine(level="log", message="x" * 10_000, at_ms=1)
    made = an_invocation(function, console=[line], response_body=b"reply", stack="at x", query="a=b", error="it broke")
    await database.write(stored.insert_invocations, [made])
    page = await database.read(stored.find_invocations, CallFilter(project_id=function.project_id))
    (call,) = page.calls
    assert (call.id, call.path, call.error, call.duration_us) == (made.id, made.path, made.error, made.duration_us)
    assert (call.console, call.response_body, call.stack, call.query) == ([], b"", None, "")
    assert (await database.read(stored.get_invocation, made.id)).console == [line]


async def test_late_lines_are_added_to_their_records(database: Database, function: Function) -> None:
    first = ConsoleLine(level="log", message="first", at_ms=1)
    late = [ConsoleLine(level="warn", message=f"late {number}", at_ms=number) for number in (2, 3)]
    printed, silent, untouched = (an_invocation(function, console=lines) for lines in ([first], [], [first]))
    await database.write(stored.insert_invocations, [printed, silent, untouched])

    nobody = InvocationId(new_id())
    await database.write(
        stored.append_late,
        {printed.id: stored.Late(late), silent.id: stored.Late(late[:1]), nobody: stored.Late(late)},
    )

    found = {
        invocation.id: invocation for invocation in await database.read(stored.list_invocations, function.id, limit=10)
    }
    assert found[printed.id].console == [first, *late]
    assert found[silent.id].console == late[:1]
    assert found[untouched.id].console == [first]
    assert len(found) == 3
