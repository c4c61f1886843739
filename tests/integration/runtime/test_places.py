"""Who gets room for instances when it is short, and how many may wait for it. Each instance is a real process."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from isolet.errors import FunctionCrashed, TooManyRequests
from isolet.ids import FunctionId, ProjectId
from isolet.runtime import callers as callers_module
from isolet.runtime.group import Group
from isolet.runtime.instance import Instance
from isolet.runtime.lifecycle import State
from isolet.runtime.places import Budget, Share
from isolet.runtime.pool import Pool
from isolet.runtime.spec import InstanceSpec
from tests.support.runtime import Lines, Runtime, a_spec, acquire

HELLO = "export default () => new Response('hello');"
A, B = ProjectId("a"), ProjectId("b")


@asynccontextmanager
async def a_pool(runtime: Runtime, lines: Lines, places: int, share: Share) -> AsyncIterator[Pool]:
    budget = Budget(instances=places, memory_bytes=2**40)
    async with runtime.pool(lines, budget=budget, share_of=lambda _: share, queue_timeout_s=0.2) as pool:
        yield pool


async def until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not look():
            await asyncio.sleep(0.01)


async def busy(pool: Pool, project_id: ProjectId) -> Instance:
    """An instance that runs a call which does not end."""
    instance = await acquire(pool, a_spec(HELLO, project_id=project_id))
    instance.begin_call()
    return instance


async def test_a_project_that_holds_all_it_may_leaves_room_for_anothers_call_and_deploy(
    runtime: Runtime, lines: Lines
) -> None:
    async with a_pool(runtime, lines, 6, Share(instances=3)) as pool:
        for _ in range(4):
            await busy(pool, A)
        with pytest.raises(TooManyRequests, match="holds its share") as refused:
            await busy(pool, A)
        assert refused.value.retry_after_s == 5
        with pytest.raises(TooManyRequests):
            await pool.prove(a_spec(HELLO, project_id=A))
        await busy(pool, B)
        proven = await pool.prove(a_spec(HELLO, project_id=B))
        pool.adopt(proven)
        assert len(pool.instances) == 6


async def test_a_number_that_was_chosen_is_a_limit_though_room_is_free(runtime: Runtime, lines: Lines) -> None:
    async with a_pool(runtime, lines, 64, Share(instances=2, is_limit=True)) as pool:
        kept = await busy(pool, A)
        idle = await acquire(pool, a_spec(HELLO, project_id=A))
        # Its own idle one makes room.
        await busy(pool, A)
        assert idle.state is not State.READY
        with pytest.raises(TooManyRequests, match="holds its share"):
            await busy(pool, A)
        await busy(pool, B)
        assert kept.active == 1


async def test_the_project_that_holds_most_yields_though_anothers_was_idle_longer(
    runtime: Runtime, lines: Lines
) -> None:
    async with a_pool(runtime, lines, 4, Share(instances=4)) as pool:
        oldest = await acquire(pool, a_spec(HELLO, project_id=B))
        others = [await acquire(pool, a_spec(HELLO, project_id=A)) for _ in range(3)]
        await acquire(pool, a_spec(HELLO, project_id=ProjectId("c")))
        assert [one.state is State.READY for one in (oldest, *others)] == [True, False, True, True]


async def test_memory_is_shared_as_places_are(runtime: Runtime, lines: Lines) -> None:
    budget = Budget(instances=64, memory_bytes=80 * 2**20)
    async with runtime.pool(lines, budget=budget, share_of=lambda _: Share(instances=32)) as pool:
        first = await busy(pool, A)
        first.memory.used_bytes = 70 * 2**20
        with pytest.raises(TooManyRequests, match="no room"):
            await busy(pool, A)
        await busy(pool, B)


async def test_an_instance_that_finishes_calls_of_a_replaced_release_holds_its_place(
    runtime: Runtime, lines: Lines
) -> None:
    async with a_pool(runtime, lines, 64, Share(instances=2, is_limit=True)) as pool:
        replaced = [await busy(pool, A), await busy(pool, A)]
        for instance in replaced:
            pool.retire(instance.spec.release)
        for start in (busy(pool, A), pool.prove(a_spec(HELLO, project_id=A))):
            with pytest.raises(TooManyRequests, match="holds its share"):
                await start
        await busy(pool, B)
        replaced[0].end_call(None)
        await busy(pool, A)


async def test_what_modules_take_as_they_load_counts(runtime: Runtime, lines: Lines) -> None:
    grows = "globalThis.kept = new Uint8Array(96 << 20).fill(1); while (true) {}"
    budget = Budget(instances=64, memory_bytes=64 * 2**20)
    async with runtime.pool(lines, budget=budget, share_of=lambda _: Share(instances=32)) as pool:
        loading = asyncio.ensure_future(acquire(pool, a_spec(grows, project_id=A)))
        await until(lambda: any(one.memory.held_bytes > 96 * 2**20 for one in pool.instances))
        with pytest.raises(TooManyRequests, match="no room"):
            await busy(pool, B)
        loading.cancel()


async def test_processes_that_start_at_one_moment_count_though_nobody_has_looked_at_them(
    runtime: Runtime, lines: Lines
) -> None:
    budget = Budget(instances=64, memory_bytes=32 * 2**20)
    async with runtime.pool(lines, budget=budget, share_of=lambda _: Share(instances=32)) as pool:
        starts = [acquire(pool, a_spec(HELLO, project_id=project)) for project in (A, B, ProjectId("c"))]
        results = await asyncio.gather(*starts, return_exceptions=True)
        assert [type(result) for result in results] == [Instance, Instance, TooManyRequests]


async def test_more_callers_than_may_wait_are_refused_at_once(
    runtime: Runtime, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers_module, "WAITING_MAX", 3)
    monkeypatch.setattr(callers_module, "PROJECT_WAITING_MAX", 4)
    async with a_pool(runtime, lines, 8, Share(instances=4)) as pool:
        first, second, third = (a_spec(HELLO, project_id=A) for _ in range(3))
        starting = [asyncio.ensure_future(acquire(pool, first)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequests, match="Too many calls wait"):
            pool.admit(first.release, A)
        with pytest.raises(TooManyRequests, match="Too many calls wait"):
            await acquire(pool, first)
        starting.append(asyncio.ensure_future(acquire(pool, second)))
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequests, match="Too many calls wait"):
            await acquire(pool, second)
        assert len(set(await asyncio.gather(*starting))) == 2
        pool.admit(first.release, A)
        await acquire(pool, third)


async def test_all_that_wait_for_a_start_hear_why_it_failed(runtime: Runtime, lines: Lines) -> None:
    async with a_pool(runtime, lines, 8, Share(instances=4)) as pool:
        spec = a_spec("throw new Error('on purpose');")
        results = await asyncio.gather(*(acquire(pool, spec) for _ in range(300)), return_exceptions=True)
        assert {type(result) for result in results} == {FunctionCrashed}
        assert all("on purpose" in str(result) for result in results)


async def test_nothing_is_kept_of_a_function_that_failed_and_is_gone(runtime: Runtime, lines: Lines) -> None:
    async with a_pool(runtime, lines, 8, Share(instances=4)) as pool:
        spec: InstanceSpec = a_spec("throw new Error('on purpose');")
        with pytest.raises(FunctionCrashed):
            await acquire(pool, spec)
        assert spec.release in pool._groups
        pool.retire_function(FunctionId("another"))
        assert spec.release in pool._groups
        pool.retire_function(spec.function_id)
        assert spec.release not in pool._groups


async def test_ten_thousand_that_wait_are_woken_without_holding_the_loop() -> None:
    group = Group("release", A)
    woken = [asyncio.ensure_future(group.wait(600)) for _ in range(10_000)]
    await asyncio.sleep(0)
    assert len(group.waiting) == 10_000
    # By CPU time of this thread: other work on the machine does not count.
    began = time.thread_time()
    group.wake_all()
    assert time.thread_time() - began < 0.05
    longest = 0.0
    while not all(task.done() for task in woken[-10:]):
        began = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - began)
    assert longest < 0.05
    await asyncio.gather(*woken)
    assert not group.waiting


async def test_one_of_many_that_wait_leaves_at_no_cost_of_their_number() -> None:
    group = Group("release", A)
    waiting = [asyncio.ensure_future(group.wait(600)) for _ in range(10_000)]
    await asyncio.sleep(0)
    for task in reversed(waiting):
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not group.waiting
