"""A project's storage while its files are copied or replaced."""

import asyncio
import contextlib
import fcntl
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from isolet.domain.changes import ProjectChanged
from isolet.domain.projects import Project
from isolet.domain.stores import StoreKind
from isolet.errors import NotFound, TooManyRequests, Unavailable
from isolet.ids import ProjectId
from isolet.project_data.backup import Backups
from isolet.project_data.exchange import Answer, ask
from isolet.project_data.soundness import Soundness
from isolet.runtime.config import HOST_SOCKET, STORE_HEADER
from isolet.runtime.storage.files import store_id
from isolet.runtime.storage.local import LocalStorage, LocalStorages
from tests.support.runtime import Runtime

pytestmark = pytest.mark.anyio
PROJECT = ProjectId("0198c1de-0000-7000-8000-000000000001")


@pytest.fixture
async def storages(runtime: Runtime) -> AsyncIterator[LocalStorages]:
    storages = runtime.storages()
    yield storages
    await storages.close()


@pytest.fixture
async def storage(storages: LocalStorages) -> AsyncIterator[LocalStorage]:
    async with storages.use(PROJECT) as storage:
        yield storage


async def put(storage: LocalStorage) -> Answer:
    return await ask(storage.way_to(StoreKind.KV), "PUT", "/key", body=b"value")


def stands_still(pid: int) -> bool:
    inner = psutil.Process(pid).children(recursive=True) or [psutil.Process(pid)]
    return inner[-1].status() == psutil.STATUS_STOPPED


async def test_two_copies_at_once_each_have_files_that_nobody_writes(storage: LocalStorage) -> None:
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


async def test_a_process_that_starts_stands_still_too(storage: LocalStorage) -> None:
    call = asyncio.create_task(put(storage))
    while storage.pid is None:
        await asyncio.sleep(0)

    async with storage.paused():
        assert stands_still(storage.pid)
        assert not call.done()

    assert (await asyncio.wait_for(call, 60)).status == 200


async def test_a_deletion_waits_for_the_copy_under_way_and_refuses_those_that_wait(
    storages: LocalStorages, storage: LocalStorage
) -> None:
    assert (await put(storage)).status == 200

    async def copy() -> None:
        async with storage.paused():
            pass

    folder = storage.folder
    async with storage.paused():
        deletion = asyncio.create_task(storages.delete(storage.project_id))
        late = asyncio.create_task(copy())
        await asyncio.wait({deletion}, timeout=0.2)
        assert (deletion.done(), (folder / "objects").exists()) == (False, True)
    with pytest.raises(Unavailable):
        await late
    await deletion

    assert not folder.exists()


async def test_what_arrives_for_a_deleted_project_makes_no_files(
    storages: LocalStorages, storage: LocalStorage
) -> None:
    await storages.delete(storage.project_id)

    with pytest.raises(NotFound):
        storages.hold(storage.project_id)

    assert not storage.folder.exists()


async def test_a_process_that_is_not_there_does_not_start_while_files_are_copied(storage: LocalStorage) -> None:
    async with storage.paused():
        call = asyncio.create_task(put(storage))
        await asyncio.wait({call}, timeout=0.3)
        assert (storage.pid, call.done()) == (None, False)

    assert (await call).status == 200


async def test_files_are_replaced_by_one_at_a_time_and_with_no_process_on_them(storage: LocalStorage) -> None:
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


async def test_a_copy_that_begins_while_a_process_starts_keeps_it_from_starting(storage: LocalStorage) -> None:
    with (storage.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        call = asyncio.create_task(put(storage))
        # The start has begun, and waits for the lock.
        while not (storage.inside / HOST_SOCKET).exists():
            await asyncio.sleep(0)
        async with storage.paused():
            fcntl.flock(lock, fcntl.LOCK_UN)
            await asyncio.wait({call}, timeout=0.3)
            assert (storage.pid, call.done()) == (None, False)

    assert (await asyncio.wait_for(call, 60)).status == 200


async def test_no_process_is_handed_a_file_that_another_one_linked(storage: LocalStorage, tmp_path: Path) -> None:
    secret, lock = tmp_path / "master-key", storage.folder / "lock"
    secret.write_text("not of this project")
    lock.symlink_to(secret)

    assert (await put(storage)).status == 200

    assert (lock.is_symlink(), secret.read_text()) == (False, "not of this project")


@pytest.mark.parametrize("kind", StoreKind)
async def test_a_store_is_found_in_its_files_and_dropped_alone(storages: LocalStorages, kind: StoreKind) -> None:
    async with storages.use(PROJECT) as storage:
        for name in ("one", "two"):
            headers = {STORE_HEADER: name, "content-type": "application/json"}
            if kind is StoreKind.KV:
                answer = await ask(storage.way_to(kind), "PUT", "/key", headers=headers, body=b"v" * 100_000)
            else:
                body = b'{"sql": "CREATE TABLE t (v)"}'
                answer = await ask(storage.way_to(kind), "POST", "/query", headers=headers, body=body)
            assert answer.status == 200
        one, two, never = await storages.store_sizes(PROJECT, [(kind, name) for name in ("one", "two", "never")])
        assert (one > 0, two > 0, never) == (True, True, 0)

        await storage.drop(kind, "one")

        assert list(await storages.store_sizes(PROJECT, [(kind, "one"), (kind, "two")])) == [0, two]
        below = storage.folder / "blobs"
        blobs = [path.relative_to(below).parts[0] for path in below.rglob("*") if path.is_file()]
        assert blobs == ([store_id("kv", "two")] if kind is StoreKind.KV else [])


async def test_a_backup_of_a_project_waits_for_the_end_of_another_and_not_for_long(
    storages: LocalStorages, runtime: Runtime, tmp_path: Path
) -> None:
    backups = Backups(storages, Soundness(runtime.sandbox), folder=tmp_path)
    async with contextlib.AsyncExitStack() as first, contextlib.AsyncExitStack() as second:
        await first.enter_async_context(backups.upload(PROJECT))
        with pytest.raises(TooManyRequests):
            await second.enter_async_context(backups.upload(PROJECT))
        waiting = asyncio.ensure_future(second.enter_async_context(backups.upload(PROJECT)))
        await asyncio.sleep(0)
        await first.aclose()
        assert (await waiting).project_id == PROJECT


def file_max_bytes(pid: int) -> int:
    """The soft limit of the process' files."""
    (line,) = [
        line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max file size")
    ]
    return int(line.split()[3])


async def test_where_a_project_may_store_more_its_process_may_at_once(storages: LocalStorages) -> None:
    allowed_mb = 1
    storages.limit_mb = lambda _: allowed_mb
    storages._file_max_bytes = 2**40
    changed = ProjectChanged(project=Project(id=PROJECT, slug="shop", name="Shop"))
    async with storages.use(PROJECT) as storage:
        assert (await put(storage)).status == 200
        first = storage.pid
        assert first is not None
        assert file_max_bytes(first) == 65 << 20
        storages.follow(changed)
        assert (await put(storage)).status == 200
        assert storage.pid == first
        allowed_mb = 500
        storages.follow(changed)
        assert file_max_bytes(first) == 564 << 20
        assert (await put(storage)).status == 200
        assert storage.pid == first
