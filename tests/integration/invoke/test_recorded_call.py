"""A call through the invoker, in the record that it leaves, on each kind of database."""

from __future__ import annotations

from isolet.database import invocations as stored
from isolet.domain.invocations import Door, Outcome
from tests.support.calling import Harness


async def test_a_call_is_recorded_with_all_that_is_known_of_it(harness: Harness) -> None:
    route = harness.route("export default () => { console.log('hi'); return new Response('made', { status: 201 }); }")
    reply = await harness.call(route, b"sent")
    assert (reply.status, await reply.read(100)) == (201, b"made")
    assert (b"x-invocation-id", reply.invocation_id.encode()) in reply.headers

    record = await harness.record(route)
    assert (record.id, record.status, record.outcome, record.error) == (reply.invocation_id, 201, Outcome.OK, None)
    assert (record.door, record.method, record.path, record.version) == (Door.KAPSO, "POST", "/invoke", 1)
    assert (record.request_body, record.response_body) == (b"sent", b"made")
    assert [line.message for line in record.console] == ["hi"]
    assert record.duration_us >= record.cold_start_us > 0


async def test_durations_are_finer_than_a_millisecond(harness: Harness) -> None:
    route = harness.route("export default () => new Response('ok')")
    for _ in range(5):
        await (await harness.call(route)).read(100)
    await harness.recorder.flush(10)
    records = await harness.database.read(stored.list_invocations, route.function_id, limit=10)
    assert len(records) == 5
    assert any(record.duration_us % 1000 for record in records)
