"""Instances give way to the server, and stuck ones to all others."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from isolet.clock import SystemClock
from isolet.domain.limits import Limits
from isolet.runtime.guard import Guard
from isolet.runtime.instance import Instance
from isolet.runtime.lifecycle import State
from isolet.runtime.pool import Pool
from isolet.tasks import Tasks
from tests.integration.runtime.test_pool import until
from tests.support.runtime import Lines, Runtime, a_spec, acquire, fetch

# As many turns of a loop as the path says.
BUSY = """export default (request) => {
    const turns = Number(new URL(request.url).pathname.slice(1));
    for (let i = 0, count = 0; i < turns; i++) count += i % 7;
    return new Response("done");
}"""
NEVER_LOADS = "for (;;);"


def niceness(instance: Instance) -> set[int]:
    """Of each of its threads."""
    threads = os.listdir(f"/proc/{instance.pid}/task")
    return {os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in threads}


def session_niceness(pid: int) -> int:
    """Of a process' session, where the kernel groups by those; else of itself. Some sessions have no group: "" then."""
    path = Path(f"/proc/{pid}/autogroup")
    group = path.read_text() if path.exists() else ""
    return int(group.rpartition(" ")[2]) if group else os.getpriority(os.PRIO_PROCESS, pid)


async def test_an_instance_that_starts_gives_way_like_one_that_serves(runtime: Runtime, lines: Lines) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    ours = session_niceness(os.getpid())
    # It starts for as long as the test looks.
    async with runtime.pool(lines, start_timeout_s=600.0) as pool:
        start = asyncio.ensure_future(acquire(pool, a_spec(NEVER_LOADS)))

        def gives_way() -> bool:
            return any(
                instance.state is State.STARTING
                and (session_niceness(instance.pid), niceness(instance)) == (own + 5, {own + 5})
                for instance in pool.instances
            )

        await until(gives_way, "the lower priority of an instance that starts")
        assert session_niceness(os.getpid()) == ours
        start.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await start


@pytest.mark.skipif(os.geteuid() != 0, reason="a server that may not raise a priority again does not lower it")
async def test_a_stuck_instance_gives_way_until_it_answers_again(pool: Pool) -> None:
    guard = Guard(watched=lambda: pool.instances, on_busy=pool.busy, clock=SystemClock())
    tasks = Tasks()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        instance = await acquire(pool, a_spec(BUSY, limits=Limits(cpu_ms=60_000)))
        assert niceness(instance) == {own + 5}
        tasks.loop(guard.run(), name="guard")
        guard.wake()
        call = await seen_to_give_way(instance, min(own + 15, 19))
        assert await call == (200, b"done")
        await until(lambda: niceness(instance) == {own + 5}, "the end of the lower priority")
    finally:
        await tasks.close()
        await guard.close()


async def seen_to_give_way(instance: Instance, nice: int) -> asyncio.Future[tuple[int, bytes]]:
    """The call that keeps its loop stuck: each is twice as long as the one before, until the guard comes to look."""
    turns = 100_000_000
    while True:
        call = asyncio.ensure_future(fetch(instance, f"/{turns}"))
        await until(lambda call=call: call.done() or niceness(instance) == {nice}, "the lower priority")
        if not call.done():
            return call
        turns *= 2
