import asyncio
import io
import itertools
import resource
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from isolet.domain.json_text import Verdict
from isolet.errors import TooManyRequests, Unavailable
from isolet.ids import ProjectId
from isolet.invoke import spool
from isolet.invoke.bodies import WAITING_MAX, Bodies, Budget, Hold
from isolet.invoke.spool import Spooled
from isolet.rounds import Rounds

A, B, C, D, E = (ProjectId(name) for name in "abcde")


@pytest.fixture
async def bodies(tmp_path: Path) -> AsyncIterator[Bodies]:
    made = Bodies(memory_bytes=2**22, disk_bytes=2**22, folder=tmp_path / "spool", wait_s=10)
    yield made
    made.close()


async def waits(work: asyncio.Task[Any]) -> bool:
    """Whether it has not ended once everything that could run has run."""
    for _ in range(5):
        await asyncio.sleep(0)
    return not work.done()


async def test_a_project_holds_a_quarter_and_the_server_all() -> None:
    budget = Budget(400, "memory", wait_s=10)
    await budget.take(A, 60)
    await budget.take(A, 40)
    more = asyncio.ensure_future(budget.take(A, 1))
    assert await waits(more)
    for project in (B, C, D):
        await budget.take(project, 100)
    other = asyncio.ensure_future(budget.take(E, 1))
    assert await waits(other)
    budget.give(A, 40)
    await asyncio.gather(more, other)
    assert (budget.held, budget.held_by(A), budget.held_by(E)) == (362, 61, 1)


async def test_one_body_alone_may_be_larger_than_the_share() -> None:
    budget = Budget(400, "memory", wait_s=10)
    await budget.take(A, 300)
    second = asyncio.ensure_future(budget.take(A, 1))
    assert await waits(second)
    budget.give(A, 300)
    await second
    assert budget.held == 1


async def test_projects_take_turns_and_bodies_of_a_project_stay_in_order() -> None:
    budget = Budget(40, "memory", wait_s=10)
    for project in (A, B, C, D):
        await budget.take(project, 10)
    order: list[str] = []

    async def take(project: ProjectId, name: str) -> None:
        await budget.take(project, 10)
        order.append(name)
        budget.give(project, 10)

    waiting = [asyncio.ensure_future(take(A, f"a{n}")) for n in range(3)]
    assert await waits(waiting[0])
    waiting.append(asyncio.ensure_future(take(B, "b0")))
    assert await waits(waiting[-1])
    budget.give(A, 10)
    budget.give(B, 10)
    await asyncio.gather(*waiting)
    assert [name for name in order if name[0] == "a"] == ["a0", "a1", "a2"]
    assert order.index("b0") < 2
    assert budget.held == 20


async def test_who_waits_too_long_is_told_whose_fault_it_is() -> None:
    budget = Budget(40, "memory", wait_s=0.01)
    for project in (A, B, C, D):
        await budget.take(project, 10)
    with pytest.raises(TooManyRequests, match="hold their share of the server's memory"):
        await budget.take(A, 1)
    with pytest.raises(Unavailable, match="hold all of the server's memory"):
        await budget.take(E, 1)
    budget.give(A, 10)
    await budget.take(E, 10)
    assert budget.held == 40


async def test_more_than_may_wait_are_refused_at_once_and_only_of_that_project() -> None:
    budget = Budget(400, "memory", wait_s=60)
    await budget.take(A, 100)
    waiting = [asyncio.ensure_future(budget.take(A, 1)) for _ in range(WAITING_MAX)]
    assert await waits(waiting[-1])
    with pytest.raises(TooManyRequests):
        await budget.take(A, 1)
    await budget.take(B, 100)
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    budget.give(A, 100)
    assert (budget.held, budget.held_by(A)) == (100, 0)


async def test_one_that_gives_up_as_it_is_served_gives_back() -> None:
    budget = Budget(400, "memory", wait_s=60)
    await budget.take(A, 100)
    leaving, staying = (asyncio.ensure_future(budget.take(A, 100)) for _ in range(2))
    assert await waits(staying)
    budget.give(A, 100)
    leaving.cancel()
    await staying
    assert leaving.cancelled()
    assert budget.held == 100


async def test_a_body_on_disk_can_be_read_again_and_leaves_nothing(bodies: Bodies) -> None:
    hold = Hold(bodies, A)
    await hold.memory(1000)
    await hold.disk(2_000_000)
    spooled = Spooled(bodies, hold)
    for _ in range(10):
        await spooled.write(b"0123456789" * 10_000)
    await spooled.end()
    assert (spooled.size, bodies.disk.held) == (1_000_000, 1_000_000)
    for _ in range(2):
        assert b"".join([part async for part in spooled.parts()]) == b"0123456789" * 100_000
    assert await spooled.read() == b"0123456789" * 100_000
    assert bodies.memory.held_by(A) == 1_000_000
    assert list(bodies.folder.iterdir()) == []
    spooled.close()
    hold.close()
    assert (bodies.memory.held, bodies.disk.held) == (0, 0)


async def test_a_disk_that_is_full_is_told_without_its_path(bodies: Bodies) -> None:
    spooled = Spooled(bodies, Hold(bodies, A))
    spooled._file.close()
    spooled._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115, ASYNC230
    with pytest.raises(Unavailable, match=r"cannot keep the request's body: No space left on device\Z"):
        await spooled.write(b"x")
    spooled.close()


@pytest.fixture
async def spooled(bodies: Bodies) -> AsyncIterator[Spooled]:
    hold = Hold(bodies, A)
    made = Spooled(bodies, hold)
    yield made
    made.close()
    hold.close()


async def test_a_large_body_is_checked_in_a_process_of_its_own(spooled: Spooled) -> None:
    """On a thread it would take the interpreter from calls."""
    await spooled.write(b"[" + b"1," * 1_000_000 + b"1]")
    ours, theirs = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    assert await spooled.judge_json(None) is Verdict.JSON
    took = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - theirs
    assert time.process_time() - ours < took / 2
    assert await spooled.judge_json(1_000_000) is Verdict.TOO_MANY_VALUES
    await spooled.write(b"]")
    assert await spooled.judge_json(None) is Verdict.NO_JSON


async def test_a_project_checks_one_large_body_at_a_time(bodies: Bodies, spooled: Spooled) -> None:
    await spooled.write(b"{}")
    async with bodies.checks.take(A):
        waiting = asyncio.ensure_future(spooled.judge_json(None))
        assert await waits(waiting)
        async with bodies.checks.take(B):
            pass
    assert await waiting is Verdict.JSON


async def test_a_check_that_cannot_run_says_nothing_of_the_body(
    spooled: Spooled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_CHECK_MEMORY_BYTES", 2**20)
    await spooled.write(b"{}")
    with pytest.raises(Unavailable, match="could not be checked"):
        await spooled.judge_json(None)


async def test_a_large_file_is_given_back_beside_the_loop(bodies: Bodies, spooled: Spooled) -> None:
    """The kernel took 7 ms for 50 MB, and twenty callers that left at once took the loop twenty times as long."""
    closed: list[int] = []

    class File(io.BytesIO):
        def close(self) -> None:
            closed.append(threading.get_ident())

    bodies.close_file(File())
    await spooled.write(b"x")
    spooled.close()
    # Two threads: once both have done this, what came before is done.
    barrier = threading.Barrier(2)
    await asyncio.gather(*(bodies.run(barrier.wait) for _ in range(2)))
    assert closed[0] != threading.get_ident()
    with pytest.raises(ValueError, match="closed file"):
        await spooled.judge_json(None)


async def test_projects_bring_their_parts_one_by_one() -> None:
    rounds = Rounds()
    order: list[str] = []

    async def bring(project: ProjectId) -> None:
        await rounds.wait(project)
        order.append(project)

    waiting = [asyncio.ensure_future(bring(project)) for project in [A] * 6 + [B] * 2 + [C]]
    given_up = waiting.pop(1)
    seen = []
    while not all(one.done() for one in waiting):
        await asyncio.sleep(0)
        if not given_up.done():
            given_up.cancel()
        seen.append(len(order))
    assert order == [A, B, C, A, B, A, A, A]
    assert max(after - before for before, after in itertools.pairwise(seen)) == 2
