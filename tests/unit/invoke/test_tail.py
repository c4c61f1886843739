import asyncio
from collections.abc import AsyncIterator

import pytest

from isolet.domain.invocations import ConsoleLine
from isolet.ids import FunctionId, InvocationId, ProjectId
from isolet.invoke import tail as tail_module
from isolet.invoke.tail import Event, Missed, Tail

PROJECT = ProjectId("p")
OWNER = (PROJECT, FunctionId("f"), "hello")


def say(tail: Tail, *messages: str, owner: tuple[ProjectId, FunctionId, str] = OWNER) -> None:
    for message in messages:
        tail.printed(owner, InvocationId("i"), ConsoleLine(level="info", message=message, at_ms=1))


def follow(tail: Tail, after: str | None = None) -> AsyncIterator[Event | Missed | None]:
    return tail.follow(PROJECT, after=after, wanted=lambda _: True, keep_alive_s=0.01)


async def take(events: AsyncIterator[Event | Missed | None], count: int) -> list[object]:
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
    tail = Tail()
    say(tail, "before")
    events = follow(tail)
    assert await anext(events) is None
    say(tail, "a", "b")
    assert await take(events, 2) == ["a", "b"]


async def test_a_reader_that_comes_back_sees_every_line_once() -> None:
    tail = Tail()
    say(tail, "a", "b", "c")
    assert await take(follow(tail, tail.place(0)), 2) == ["b", "c"]
    assert await anext(follow(tail, tail.place(2))) is None


async def test_a_reader_that_stalls_is_told_how_many_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "_RING_EVENTS", 3)
    tail = Tail()
    say(tail, "0")
    events = follow(tail, tail.place(-1).replace("--1", "-0"))
    say(tail, "1")
    assert await take(events, 1) == ["1"]
    say(tail, *"23456")
    assert await take(events, 4) == [2, "4", "5", "6"]


async def test_a_reader_of_another_run_is_told_that_it_may_have_missed_some() -> None:
    tail = Tail()
    say(tail, "a")
    assert await take(follow(tail, "another-7"), 2) == [None, "a"]


async def test_large_lines_push_others_out_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "_RING_BYTES", 10_000)
    tail = Tail()
    say(tail, "first", *("x" * 4_000,) * 3)
    found = await take(follow(tail, tail.place(0)), 3)
    assert found == [1, "x" * 4_000, "x" * 4_000]


async def test_a_project_whose_ring_was_let_go_says_so_to_its_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "_RINGS", 1)
    tail = Tail()
    say(tail, "a", "b")
    say(tail, "x", owner=(ProjectId("other"), FunctionId("g"), "g"))
    say(tail, "c")
    assert await take(follow(tail, tail.place(0)), 2) == [1, "c"]


async def test_closing_ends_every_reader() -> None:
    tail = Tail()
    events = tail.follow(PROJECT, wanted=lambda _: True, keep_alive_s=60)
    waiting = asyncio.ensure_future(anext(events, "ended"))
    await asyncio.sleep(0)
    assert tail.readers == 1
    tail.close()
    assert await waiting == "ended"
    assert tail.readers == 0
