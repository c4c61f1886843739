import asyncio
from collections.abc import AsyncGenerator

import pytest

from isolet.domain.invocations import ConsoleLine
from isolet.ids import FunctionId, InvocationId, ProjectId
from isolet.observe import tail as tail_module
from isolet.observe.tail import Event, Missed, Tail

PROJECT = ProjectId("p")
OWNER = (PROJECT, FunctionId("f"), "hello")


def say(tail: Tail, *messages: str, owner: tuple[ProjectId, FunctionId, str] = OWNER) -> None:
    for message in messages:
        tail.printed(owner, InvocationId("i"), ConsoleLine(level="info", message=message, at_ms=1))


def follow(tail: Tail, after: str | None = None) -> AsyncGenerator[Event | Missed | None, None]:
    return tail.follow(PROJECT, after=after, wanted=lambda _: True, keep_alive_s=0.01)


async def followed() -> Tail:
    """A tail whose project somebody follows, or did a moment ago."""
    tail = Tail()
    events = follow(tail)
    assert await anext(events) is None
    await events.aclose()
    return tail


async def take(events: AsyncGenerator[Event | Missed | None, None], count: int) -> list[object]:
    """What is said, and how many were missed (as a number)."""
    found: list[object] = []
    while len(found) < count:
        event = await anext(events)
        if isinstance(event, Missed):
            found.append(event.count)
        elif event is not None and event.line is not None:
            found.append(event.line.message)
    return found


async def test_a_new_reader_sees_what_comes_from_now_on() -> None:
    tail = await followed()
    say(tail, "before")
    events = follow(tail)
    assert await anext(events) is None
    say(tail, "a", "b")
    assert await take(events, 2) == ["a", "b"]


async def test_a_reader_that_may_no_longer_read_is_sent_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "_ALLOWED_S", 0.01)
    tail, allowed = Tail(), True
    events = tail.follow(PROJECT, wanted=lambda _: True, keep_alive_s=0.005, allowed=lambda: allowed)
    assert await anext(events) is None
    allowed = False
    say(tail, "secret")
    assert [event async for event in events] == []


async def test_a_reader_who_wants_none_of_many_events_is_kept_alive() -> None:
    tail = Tail()
    events = tail.follow(PROJECT, wanted=lambda _: False, keep_alive_s=0.05)

    async def chatter() -> None:
        while True:
            say(tail, "unwanted")
            await asyncio.sleep(0.01)

    talking = asyncio.create_task(chatter())
    try:
        async with asyncio.timeout(60):
            assert await anext(events) is None
    finally:
        talking.cancel()


async def test_a_reader_that_comes_back_sees_every_line_once() -> None:
    tail = await followed()
    say(tail, "a", "b", "c")
    assert await take(follow(tail, tail.place(0)), 2) == ["b", "c"]
    assert await anext(follow(tail, tail.place(2))) is None


async def test_a_reader_that_stalls_is_told_how_many_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "_RING_EVENTS", 3)
    tail = await followed()
    say(tail, "0")
    events = follow(tail, tail.place(-1).replace("--1", "-0"))
    say(tail, "1")
    assert await take(events, 1) == ["1"]
    say(tail, *"23456")
    assert await take(events, 4) == [2, "4", "5", "6"]


async def test_what_goes_by_while_a_reader_takes_the_count_is_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "_RING_EVENTS", 3)
    tail = await followed()
    say(tail, "0")
    events = follow(tail, tail.place(0))
    assert await anext(events) is None
    say(tail, *"12345")
    assert await take(events, 1) == [2]
    say(tail, *"678")
    assert await take(events, 4) == [3, "6", "7", "8"]


async def test_a_reader_of_another_run_is_told_that_it_may_have_missed_some() -> None:
    tail = await followed()
    say(tail, "a")
    assert await take(follow(tail, "another-7"), 2) == [None, "a"]


async def test_large_lines_push_others_out_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "_RING_BYTES", 10_000)
    tail = await followed()
    say(tail, "first", *("x" * 4_000,) * 3)
    found = await take(follow(tail, tail.place(0)), 3)
    assert found == [1, "x" * 4_000, "x" * 4_000]


async def test_a_project_whose_ring_was_let_go_says_so_to_its_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "_RINGS", 1)
    tail = await followed()
    say(tail, "a", "b")
    other = tail.follow(ProjectId("other"), wanted=lambda _: True, keep_alive_s=0.01)
    assert await anext(other) is None
    await other.aclose()
    events = follow(tail, tail.place(0))
    assert await take(events, 1) == [None]
    say(tail, "c")
    assert await take(events, 1) == ["c"]


async def test_nobody_follows_so_nothing_is_kept() -> None:
    tail = Tail()
    say(tail, "a")
    assert await anext(follow(tail, tail.place(0))) is None


async def test_closing_ends_every_reader() -> None:
    tail = Tail()
    events = tail.follow(PROJECT, wanted=lambda _: True, keep_alive_s=60)
    waiting = asyncio.ensure_future(anext(events, "ended"))
    await asyncio.sleep(0)
    assert tail.readers == 1
    tail.close()
    assert await waiting == "ended"
    assert tail.readers == 0


async def test_what_does_not_follow_learns_of_the_end_too() -> None:
    tail = Tail()
    assert not await tail.closes_within(0.01)
    waiting = asyncio.ensure_future(tail.closes_within(60))
    tail.close()
    assert await waiting


async def test_many_readers_of_many_events_take_turns() -> None:
    tail, read = await followed(), [0]
    count, readers = 500, 30

    async def reads() -> list[object]:
        async def counted() -> AsyncGenerator[Event | Missed | None, None]:
            async for event in follow(tail):
                read[0] += event is not None
                yield event

        return await take(counted(), count)

    tasks = [asyncio.create_task(reads()) for _ in range(readers)]
    await asyncio.sleep(0)
    say(tail, *map(str, range(count)))
    most = 0
    while not all(task.done() for task in tasks):
        most, read[0] = max(most, read[0]), 0
        await asyncio.sleep(0)
    assert most <= 4 * tail_module._AT_ONCE
    assert all(task.result() == [*map(str, range(count))] for task in tasks)
