"""A project's storage while its files are copied or replaced."""

import asyncio
from collections.abc import AsyncIterator

import psutil
import pytest

from isolet.ids import ProjectId
from isolet.runtime.storage import Storage
from isolet.storage.exchange import Answer, ask
from tests.support.runtime import Runtime

pytestmark = pytest.mark.anyio


@pytest.fixture
async def storage(runtime: Runtime) -> AsyncIterator[Storage]:
    storages = runtime.storages()
    try:
        async with storages.use(ProjectId("0198c1de-0000-7000-8000-000000000001")) as storage:
            yield storage
    finally:
        await storages.close()


async def put(storage: Storage) -> Answer:
    return await ask(storage.kv, "PUT", "/key", body=b"value")


def stands_still(pid: int) -> bool:
    inner = psutil.Process(pid).children(recursive=True) or [psutil.Process(pid)]
    return inner[-1].status() == psutil.STATUS_STOPPED


async def test_two_copies_at_once_each_have_files_that_nobody_writes(storage: Storage) -> None:
    assert (await put(storage)).status == 200
    seen: list[bool] = []

    async def copy() -> None:
        async with storage.paused():
            for _ in range(20):
                await asyncio.sleep(0)
                seen.append(storage.pid is not None and stands_still(storage.pid))

    await asyncio.gather(copy(), copy())

    assert seen == [True] * 40
    assert (await put(storage)).status == 200


async def test_a_process_that_is_not_there_does_not_start_while_files_are_copied(storage: Storage) -> None:
    async with storage.paused():
        call = asyncio.create_task(put(storage))
        await asyncio.wait({call}, timeout=0.3)
        assert (storage.pid, call.done()) == (None, False)

    assert (await call).status == 200


async def test_files_are_replaced_by_one_at_a_time_and_with_no_process_on_them(storage: Storage) -> None:
    assert (await put(storage)).status == 200
    at_once = [0]
    calls = []

    async def replace(work: bool) -> None:
        async with storage.stopped() if work else storage.paused():
            at_once[0] += 1
            calls.append(asyncio.create_task(put(storage)))
            await asyncio.wait({calls[-1]}, timeout=0.2)
            assert (at_once[0], calls[-1].done()) == (1, False)
            assert storage.pid is None or not work
            at_once[0] -= 1

    await asyncio.gather(replace(True), replace(True), replace(False))

    assert [(await call).status for call in calls] == [200] * 3
