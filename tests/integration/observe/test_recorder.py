import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from isolet.database import invocations as stored
from isolet.database.connection import Connection, Database
from isolet.domain.functions import Function
from isolet.domain.invocations import ConsoleLine, Invocation
from isolet.domain.outgoing import OutgoingEvent
from isolet.domain.redaction import Redactor
from isolet.ids import InvocationId, new_id
from isolet.observe import recorder as recorder_module
from isolet.observe.call_history import CallHistory
from isolet.observe.recorder import Recorder
from isolet.observe.redaction import Kept, Redaction
from isolet.tasks import Tasks
from tests.integration.database.rows import a_function, a_project, an_invocation

FUNCTION, OTHER = a_function(a_project()), a_function(a_project())


def a_line(message: str) -> ConsoleLine:
    return ConsoleLine(level="log", message=message, at_ms=1)


@pytest.fixture
async def recorder(database: Database) -> AsyncIterator[Recorder]:
    """A recorder whose loop runs."""
    tasks = Tasks()
    running = Recorder(database)
    tasks.loop(running.run(), name="recorder")
    yield running
    await tasks.close()


def record(recorder: Recorder, *lines: str, function: Function = FUNCTION) -> Invocation:
    """A call from its begin to its end."""
    invocation = an_invocation(function)
    recorder.begin(invocation)
    for line in lines:
        recorder.print(invocation.id, a_line(line))
    recorder.end(invocation)
    return invocation


async def read(database: Database) -> dict[InvocationId, Invocation]:
    found = await database.read(stored.list_invocations, FUNCTION.id, limit=10_000)
    return {invocation.id: invocation for invocation in found}


async def test_a_record_is_written_soon_after_its_call(recorder: Recorder, database: Database) -> None:
    invocation = record(recorder)
    async with asyncio.timeout(60):
        while not await read(database):
            await asyncio.sleep(0.005)
    assert await read(database) == {invocation.id: invocation}


async def test_a_call_that_goes_on_is_not_written(recorder: Recorder, database: Database) -> None:
    recorder.begin(an_invocation(FUNCTION))
    ended = record(recorder)
    await recorder.flush(10)
    assert list(await read(database)) == [ended.id]


async def test_a_call_that_never_ran_leaves_no_record(recorder: Recorder, database: Database) -> None:
    invocation = an_invocation(FUNCTION)
    recorder.begin(invocation)
    recorder.drop(invocation)
    await recorder.flush(10)
    assert await read(database) == {}


async def test_flushing_waits_for_everything_that_ended(recorder: Recorder, database: Database) -> None:
    made = [record(recorder) for _ in range(1_234)]
    await recorder.flush(30)
    assert list(await read(database)) == [invocation.id for invocation in reversed(made)]
    await recorder.flush(0.0001)


async def test_many_records_are_one_transaction(database: Database) -> None:
    written: list[int] = []
    recorder = Recorder(database, on_written=lambda _, size_bytes: written.append(size_bytes))
    made = [record(recorder) for _ in range(500)]
    tasks = Tasks()
    tasks.loop(recorder.run(), name="recorder")
    await recorder.flush(60)
    assert len(await read(database)) == len(made)
    # It is told after each transaction.
    assert len(written) == 1
    await tasks.close()


async def test_lines_are_kept_in_the_order_they_were_printed(recorder: Recorder, database: Database) -> None:
    invocation = record(recorder, "one", "two", "three")
    await recorder.flush(10)
    assert [line.message for line in (await read(database))[invocation.id].console] == ["one", "two", "three"]


async def test_a_line_after_the_end_joins_its_record_before_it_is_written(database: Database) -> None:
    recorder = Recorder(database)
    invocation = record(recorder, "early")
    recorder.print(invocation.id, a_line("late"))
    tasks = Tasks()
    tasks.loop(recorder.run(), name="recorder")
    await recorder.flush(10)
    assert [line.message for line in (await read(database))[invocation.id].console] == ["early", "late"]
    await tasks.close()


async def test_a_line_after_the_record_was_written_is_appended(recorder: Recorder, database: Database) -> None:
    invocation = record(recorder, "early")
    await recorder.flush(10)
    for message in ("late", "later"):
        recorder.print(invocation.id, a_line(message))
    await recorder.flush(10)
    messages = [line.message for line in (await read(database))[invocation.id].console]
    assert messages == ["early", "late", "later"]


async def test_a_line_while_its_record_is_being_written_is_appended(recorder: Recorder, database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        begun.set()
        go_on.wait(60)

    holding = asyncio.ensure_future(database.write(hold))
    assert await asyncio.to_thread(begun.wait, 10)
    invocation = record(recorder)
    async with asyncio.timeout(60):
        while recorder._open:
            await asyncio.sleep(0.005)
    recorder.print(invocation.id, a_line("meanwhile"))
    go_on.set()
    await holding
    await recorder.flush(10)
    assert [line.message for line in (await read(database))[invocation.id].console] == ["meanwhile"]


async def test_a_line_of_nobody_is_passed_over(recorder: Recorder, database: Database) -> None:
    recorder.print(InvocationId(""), a_line("while loading"))
    recorder.print(InvocationId(new_id()), a_line("of an unknown call"))
    invocation = record(recorder)
    await recorder.flush(10)
    assert (await read(database))[invocation.id].console == []


async def test_records_are_lost_when_the_store_stalls_for_long_those_of_who_holds_most_first(
    database: Database,
) -> None:
    recorder = Recorder(database)
    for _ in range(15_007):
        record(recorder)
    assert recorder.lost == 7
    for expected in (*[7] * 5_000, 8, 9):
        record(recorder, function=OTHER)
        assert recorder.lost == expected
    with pytest.raises(TimeoutError):
        await recorder.flush(0.01)


async def test_the_headers_of_calls_whose_records_queue_up_count_among_what_waits(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_BATCH_ROWS", 2)
    monkeypatch.setattr(recorder_module, "_QUEUE_BYTES", 1_000_000)
    recorder = Recorder(database)
    kept = Kept(
        recording=Redaction("root-key"),
        headers=[(b"x", b"y" * 49_999)],
        query=b"",
        response=b"",
        redactor=None,
        whole=True,
    )
    for _ in range(20):
        invocation = an_invocation(FUNCTION)
        recorder.begin(invocation)
        recorder.end(invocation, kept)
    assert (recorder.waiting, recorder.lost) == (17, 3)


async def test_a_store_that_fails_costs_its_batch_and_no_more(recorder: Recorder, database: Database) -> None:
    await database.write(lambda connection: connection.execute(text("ALTER TABLE invocations RENAME TO away")))
    with capture_logs() as logs:
        for _ in range(3):
            record(recorder)
        recorder.print(InvocationId(new_id()), a_line("late"))
        await recorder.flush(10)
    assert recorder.lost == 3
    assert [entry["event"] for entry in logs] == ["cannot write the records of calls", "cannot write console lines"]

    await database.write(lambda connection: connection.execute(text("ALTER TABLE away RENAME TO invocations")))
    invocation = record(recorder)
    await recorder.flush(10)
    assert list(await read(database)) == [invocation.id]
    assert recorder.lost == 3


async def test_reading_sees_calls_that_have_just_ended(recorder: Recorder, database: Database) -> None:
    records = CallHistory(database, recorder)
    made = [record(recorder) for _ in range(3)]
    found = await records.latest(FUNCTION.id, limit=2)
    assert [invocation.id for invocation in found] == [made[2].id, made[1].id]


async def test_reading_does_not_wait_long_for_a_store_that_stalls(database: Database) -> None:
    recorder = Recorder(database)
    record(recorder)
    async with asyncio.timeout(60):
        assert await CallHistory(database, recorder).latest(FUNCTION.id, limit=2) == []


async def test_a_record_that_the_store_refuses_costs_no_other_one(database: Database) -> None:
    recorder = Recorder(database)
    kept = [record(recorder) for _ in range(30)]
    refused = []
    for _ in range(3):
        refused.append(record(recorder))
        refused[-1].path = "/\ud800"
        kept += [record(recorder) for _ in range(30)]
    tasks = Tasks()
    with capture_logs() as logs:
        tasks.loop(recorder.run(), name="recorder")
        await recorder.flush(30)
    await tasks.close()
    assert set(await read(database)) == {call.id for call in kept}
    assert recorder.lost == len(refused)
    assert [(entry["event"], entry["rows"]) for entry in logs] == [("cannot write the records of calls", 3)]


async def test_what_is_kept_of_a_call_is_redacted_before_anybody_is_told(database: Database) -> None:
    told: list[bytes] = []
    recorder = Recorder(database, on_ended=[lambda batch: told.extend(call.response_body for call in batch)])
    invocation = an_invocation(FUNCTION)
    recorder.begin(invocation)
    kept = Kept(
        recording=Redaction("root-key"),
        headers=[],
        query=b"",
        response=b"a s3cret-value",
        redactor=Redactor(["s3cret-value"]),
        whole=True,
    )
    recorder.end(invocation, kept)
    tasks = Tasks()
    tasks.loop(recorder.run(), name="recorder")
    await recorder.flush(10)
    await tasks.close()
    assert told == [b"a [redacted]"]
    assert (await read(database))[invocation.id].response_body == b"a [redacted]"


async def test_records_that_take_long_to_prepare_hold_those_of_other_projects_up_for_one_step(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_FILL_S", -1.0)
    batches: list[list[str]] = []
    recorder = Recorder(database, on_ended=[lambda batch: batches.append([call.project_id for call in batch])])

    def end(function: Function) -> None:
        invocation = an_invocation(function)
        recorder.begin(invocation)
        redaction = Redaction("root-key")
        recorder.end(
            invocation, Kept(recording=redaction, headers=[], query=b"", response=b"", redactor=None, whole=True)
        )

    for function in [FUNCTION] * 5 + [OTHER] * 2:
        end(function)
    tasks = Tasks()
    tasks.loop(recorder.run(), name="recorder")
    await recorder.flush(30)
    await tasks.close()
    big, small = FUNCTION.project_id, OTHER.project_id
    assert batches == [[big], [small], [big], [small], [big], [big], [big]]
    assert len(await read(database)) == 5


async def test_what_cannot_be_prepared_is_not_shown_as_it_came(database: Database) -> None:
    class Broken(Redactor):
        def data(self, data: bytes, *, cut: bool = False) -> bytes:
            raise ValueError("no")

    recorder = Recorder(database)
    invocation = an_invocation(FUNCTION, request_body=b"s3cret-value", path="/s3cret-value")
    other = an_invocation(FUNCTION)
    kept = Kept(
        recording=Redaction("root-key"),
        headers=[],
        query=b"",
        response=b"s3cret-value",
        redactor=Broken(["s3cret-value"]),
        whole=True,
    )
    recorder.begin(invocation)
    recorder.end(invocation, kept)
    recorder.begin(other)
    recorder.end(other)
    tasks = Tasks()
    with capture_logs() as logs:
        tasks.loop(recorder.run(), name="recorder")
        await recorder.flush(10)
    await tasks.close()
    found = await read(database)
    assert (found[invocation.id].request_body, found[invocation.id].path) == (b"", "")
    assert found[other.id] == other
    assert "s3cret" not in str([entry for entry in logs if entry["event"] != "cannot prepare the record of a call"])


async def test_the_end_of_a_console_is_kept(recorder: Recorder, database: Database) -> None:
    end = ConsoleLine(level="warn", message="more", at_ms=1, ends=True)
    during, after = an_invocation(FUNCTION), an_invocation(FUNCTION)
    for call in (during, after):
        recorder.begin(call)
        recorder.print(call.id, a_line("one"))
    recorder.print(during.id, end)
    for call in (during, after):
        recorder.end(call)
    await recorder.flush(10)
    recorder.print(after.id, a_line("late"))
    recorder.print(after.id, end)
    await recorder.flush(10)
    found = await read(database)
    assert [line.message for line in found[during.id].console] == ["one"]
    assert [line.message for line in found[after.id].console] == ["one", "late"]
    assert found[during.id].console_truncated
    assert found[after.id].console_truncated


async def test_what_the_calls_of_a_project_say_is_bounded_until_it_is_written(
    recorder: Recorder, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_SAID_BYTES", 3_000)
    first, second, other, dropped = (an_invocation(function) for function in (FUNCTION, FUNCTION, OTHER, FUNCTION))
    for call in (first, second, other, dropped):
        recorder.begin(call)
    recorder.print(dropped.id, a_line("x" * 2_500))
    recorder.drop(dropped)
    recorder.print(first.id, a_line("x" * 2_500))
    for call in (second, other):
        recorder.print(call.id, a_line("y" * 500))
        recorder.requested(call.id, OutgoingEvent(1, 1, "GET", "h" * 500, "/"))
    for call in (first, second, other):
        recorder.end(call)
    await recorder.flush(10)
    recorder.print(second.id, a_line("late"))
    record(recorder, "z" * 2_500)
    await recorder.flush(10)

    found = await read(database)
    (theirs,) = await database.read(stored.list_invocations, OTHER.id, limit=10)
    kept = [(call.console_truncated, [line.message[:4] for line in call.console]) for call in (*found.values(), theirs)]
    assert kept == [(False, ["zzzz"]), (True, ["late"]), (False, ["xxxx"]), (False, ["yyyy"])]
    assert (len(found[second.id].outgoing), len(theirs.outgoing)) == (0, 1)


async def test_late_lines_that_wait_are_bounded_in_bytes(database: Database) -> None:
    recorder = Recorder(database)
    invocation = record(recorder)
    recorder.drop(invocation)
    for _ in range(9_000):
        recorder.print(invocation.id, a_line("x" * 10_000))
    assert sum(len(line.message) for _, line in recorder._late) <= 17 * 1024 * 1024


async def test_late_lines_of_one_project_leave_room_for_those_of_another(
    recorder: Recorder, database: Database
) -> None:
    calls = [record(recorder), record(recorder, function=OTHER)]
    await recorder.flush(10)
    for call in (calls[0],) * 12_000 + (calls[1],):
        recorder.print(call.id, a_line("late"))
    await recorder.flush(30)
    (other,) = await database.read(stored.list_invocations, OTHER.id, limit=10)
    assert [line.message for line in other.console] == ["late"]
    assert 5_000 < len((await read(database))[calls[0].id].console) < 10_000
