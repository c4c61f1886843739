"""How threads are shared out between projects."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextvars import copy_context

import pytest

from isolet.ids import ProjectId
from isolet.threads import FairThreads, share_default_threads, work_for
from tests.support.waiting import wait_until

BIG, SMALL, OTHER = ProjectId("big"), ProjectId("small"), ProjectId("other")
_DEADLINE_S = 30.0


class Work:
    """Pieces that hold their thread until told; `begun` has the names of what has had one, in order."""

    def __init__(self, threads: FairThreads) -> None:
        self.threads = threads
        self.begun: list[str] = []
        self.go = threading.Semaphore(0)

    def ask(self, project_id: ProjectId | None, *names: str) -> list[Future[None]]:
        def asked(name: str) -> Future[None]:
            work_for(project_id)
            return self.threads.submit(self._hold, name)

        return [copy_context().run(asked, name) for name in names]

    def _hold(self, name: str) -> None:
        self.begun.append(name)
        assert self.go.acquire(timeout=_DEADLINE_S)

    def has_begun(self, count: int) -> list[str]:
        wait_until(lambda: len(self.begun) >= count, what=f"{count} pieces of work")
        return self.begun

    def end(self, count: int) -> None:
        self.go.release(count)


@pytest.fixture
def made() -> Iterator[Callable[..., Work]]:
    works: list[Work] = []

    def make(count: int, of_one: int | None = None) -> Work:
        works.append(Work(FairThreads(count, name="test", of_one=of_one)))
        return works[-1]

    yield make
    for work in works:
        work.end(100)
        work.threads.shutdown()


def test_who_comes_later_is_next_after_one_piece_of_who_has_much_to_do(made: Callable[..., Work]) -> None:
    work = made(1)
    work.ask(BIG, *(f"big {place}" for place in range(5)))
    assert work.has_begun(1) == ["big 0"]
    work.ask(SMALL, "small")
    work.ask(None, "own 0", "own 1")
    for count in range(2, 9):
        work.end(1)
        work.has_begun(count)
    assert work.begun == ["big 0", "own 0", "big 1", "own 1", "small", "big 2", "big 3", "big 4"]


def test_a_project_never_has_all_threads(made: Callable[..., Work]) -> None:
    work = made(3, of_one=2)
    work.ask(BIG, *(f"big {place}" for place in range(4)))
    assert set(work.has_begun(2)) == {"big 0", "big 1"}
    work.ask(SMALL, "small")
    assert set(work.has_begun(3)) == {"big 0", "big 1", "small"}
    work.end(3)
    assert set(work.has_begun(5)) == {"big 0", "big 1", "big 2", "big 3", "small"}


def test_what_fails_or_is_given_up_costs_no_thread(made: Callable[..., Work]) -> None:
    work = made(1)
    work.ask(BIG, "first")
    work.has_begun(1)
    given_up, failing, last = *work.ask(SMALL, "given up"), work.threads.submit(int, "x"), *work.ask(OTHER, "last")
    assert given_up.cancel()
    work.end(2)
    with pytest.raises(ValueError, match="invalid literal"):
        failing.result(_DEADLINE_S)
    assert last.result(_DEADLINE_S) is None
    assert work.begun == ["first", "last"]


def test_what_waits_as_threads_are_closed_is_done_or_given_up(made: Callable[..., Work]) -> None:
    work = made(1)
    done = work.ask(BIG, "first", "second")
    work.has_begun(1)
    work.end(2)
    work.threads.shutdown()
    assert [future.result(0) for future in done] == [None, None]
    with pytest.raises(RuntimeError):
        work.threads.submit(int)

    cut = made(1)
    cut.ask(BIG, "first")
    cut.has_begun(1)
    (left,) = cut.ask(BIG, "left")
    cut.threads.shutdown(wait=False, cancel_futures=True)
    assert left.cancelled()


@pytest.mark.anyio
async def test_threads_of_the_loop_know_whose_work_it_is() -> None:
    share_default_threads(asyncio.get_running_loop())
    held, go = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        held.release()
        assert go.wait(_DEADLINE_S)

    async def busy() -> None:
        work_for(BIG)
        await asyncio.gather(*(asyncio.to_thread(hold) for _ in range(100)))

    task = asyncio.create_task(busy())
    try:
        async with asyncio.timeout(_DEADLINE_S):
            assert await asyncio.to_thread(held.acquire)
            work_for(SMALL)
            assert await asyncio.to_thread(lambda: "done") == "done"
    finally:
        go.set()
        await task
