from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from isolet.errors import TooManyRequests
from isolet.ids import ProjectId
from isolet.turns import Turns

BIG, SMALL, OTHER = ProjectId("big"), ProjectId("small"), ProjectId("other")


class Work:
    """Holds places until told; `begun` has the names of what has had one, in order."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.begun: list[str] = []
        self.go: dict[str, asyncio.Event] = {}

    def start(self, project_id: ProjectId, name: str) -> asyncio.Task[None]:
        self.go[name] = asyncio.Event()

        async def work() -> None:
            async with self.turns.take(project_id):
                self.begun.append(name)
                await self.go[name].wait()

        return asyncio.ensure_future(work())


async def turn(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_project_with_much_to_do_leaves_room_for_others() -> None:
    work = Work(Turns(4, of_one=3))
    tasks = [work.start(BIG, f"big {number}") for number in range(20)]
    await turn()
    tasks.append(work.start(SMALL, "small"))
    await turn()
    assert work.begun == ["big 0", "big 1", "big 2", "small"]
    for task in tasks:
        task.cancel()


async def test_a_free_place_goes_to_the_project_that_holds_the_fewest() -> None:
    work = Work(Turns(2, of_one=2))
    tasks = [work.start(BIG, f"big {number}") for number in range(6)]
    await turn()
    tasks += [work.start(SMALL, f"small {number}") for number in range(2)]
    tasks.append(work.start(OTHER, "other"))
    for name in ("big 0", "big 1"):
        work.go[name].set()
        await turn()
    assert work.begun == ["big 0", "big 1", "small 0", "other"]
    for name in ("small 0", "other"):
        work.go[name].set()
        await turn()
    assert work.begun[4:] == ["big 2", "small 1"]
    for task in tasks:
        task.cancel()


def _cancel_the_first(tasks: list[asyncio.Task[None]]) -> None:
    tasks[0].cancel()


def _cancel_one_that_waits(tasks: list[asyncio.Task[None]]) -> None:
    tasks[1].cancel()


@pytest.mark.parametrize("end", [_cancel_the_first, _cancel_one_that_waits])
async def test_who_gives_up_leaves_no_place_behind(end: Callable[[list[asyncio.Task[None]]], None]) -> None:
    work = Work(Turns(1, of_one=1))
    tasks = [work.start(BIG, name) for name in ("a", "b", "c")]
    await turn()
    end(tasks)
    for go in work.go.values():
        go.set()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
    assert work.begun[-1] == "c"
    async with asyncio.timeout(5), work.turns.take(SMALL):
        pass


async def test_who_is_given_a_place_as_it_gives_up_hands_it_on() -> None:
    work = Work(Turns(1, of_one=1))
    first, second, third = (work.start(BIG, name) for name in ("a", "b", "c"))
    await turn()
    work.go["a"].set()
    while not first.done():
        await turn(1)
    second.cancel()
    await turn()
    assert work.begun == ["a", "c"]
    third.cancel()


async def test_no_more_of_a_project_wait_than_may() -> None:
    work = Work(Turns(1, of_one=1, waiting_max=2))
    tasks = [work.start(BIG, name) for name in ("a", "b", "c")]
    await turn()
    with pytest.raises(TooManyRequests, match="wait for their turn"):
        async with work.turns.take(BIG):
            pass
    tasks.append(work.start(SMALL, "small"))
    work.go["a"].set()
    await turn()
    assert "small" in work.begun or "b" in work.begun
    for task in tasks:
        task.cancel()
