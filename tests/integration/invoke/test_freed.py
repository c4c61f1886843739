"""What a call that failed held is free at once: to collect that of thousands would hold all others up."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from isolet.errors import IsoletError
from isolet.invoke.call import Call
from isolet.wire.channel import Connection
from tests.support.calling import Harness
from tests.support.garbage import garbage

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

_ENDLESS = "export default async () => { console.log('running'); await scheduler.wait(60_000); };"
_BREAKS = """export default () => new Response(new ReadableStream({
  start(controller) { controller.enqueue(new Uint8Array(9)); },
  pull(controller) { controller.error(new Error("no")); },
}));"""
_STREAMS = """export default () => new Response(new ReadableStream({
  pull(controller) { controller.enqueue(new Uint8Array(65_536)); },
}));"""


async def throws(harness: Harness) -> None:
    await harness.call(harness.route("export default () => { throw new Error('no'); };"))


async def is_over_its_time(harness: Harness) -> None:
    await harness.call(harness.route(_ENDLESS, timeout_ms=150), gone=asyncio.Event().wait)


async def breaks_its_reply_off(harness: Harness) -> None:
    await (await harness.call(harness.route(_BREAKS))).read(100)


async def exits(harness: Harness) -> None:
    await harness.call(harness.route("export default () => process.exit(1);"))


async def is_left(harness: Harness) -> None:
    left = asyncio.Event()
    calling = asyncio.ensure_future(harness.call(harness.route(_ENDLESS), gone=left.wait))
    async with asyncio.timeout(60):
        while not any(call.console for call in harness.recorder._open.values()):
            await asyncio.sleep(0.005)
    left.set()
    try:
        await calling
    finally:
        # This function's own circle.
        del calling


async def is_left_as_it_waits(harness: Harness) -> None:
    left = asyncio.Event()
    left.set()
    route = harness.route(_STREAMS, concurrency=1, max_instances=1, timeout_ms=600_000)
    running = await harness.call(route)
    try:
        await harness.call(route, gone=left.wait)
    finally:
        running.close()


@pytest.mark.parametrize(
    "call",
    [throws, is_over_its_time, breaks_its_reply_off, exits, is_left, is_left_as_it_waits],
    ids=lambda it: it.__name__,
)
async def test_a_call_that_fails_leaves_nothing_to_the_garbage_collector(
    harness: Harness, call: Callable[[Harness], Awaitable[None]]
) -> None:
    with garbage() as left:
        failed = False
        try:
            await call(harness)
        except IsoletError:
            failed = True
        await harness.recorder.flush(60)
        # What was told of connections that end comes in turns of the loop that follow.
        for _ in range(10):
            await asyncio.sleep(0)
    assert failed
    assert [one for one in left if isinstance(one, Call | Connection | IsoletError)] == []
