"""Channels of two servers on one database."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from isolet.clock import SystemClock
from isolet.database import projects
from isolet.database import realtime as stored
from isolet.database.connection import Database
from isolet.domain.realtime import KEPT_MS
from isolet.ids import ProjectId
from isolet.realtime.channels import Channels
from isolet.realtime.rooms import Occupant, Rooms
from isolet.tasks import Tasks
from tests.integration.database.rows import a_project

CHANNEL = "news"


class Client:
    """A connection that keeps the numbers of the messages that it gets."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.got = asyncio.Event()

    def send(self, frame: bytes) -> None:
        told = json.loads(frame[frame.index(b"{") :])
        if told["type"] == "message":
            self.numbers.append(told["seq"])
            self.got.set()

    async def has(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.numbers) < count:
                self.got.clear()
                await self.got.wait()


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    owner = Tasks()
    yield owner
    await owner.close()


async def test_a_message_that_was_written_while_a_gap_was_read_is_not_taken_for_one_that_is_gone(
    database: Database, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = a_project()
    await database.write(projects.insert_project, project)
    rooms, client = Rooms(tasks), Client()
    here, there = (
        Channels(database=database, clock=SystemClock(), rooms=known, tasks=tasks, most=lambda _: 10)
        for known in (rooms, Rooms(tasks))
    )
    occupant = cast(Occupant, client)
    room = rooms.enter(project.id, occupant, most=1)
    assert room is not None
    await here.subscribe(project.id, room, occupant, CHANNEL, None, None)

    read, was_read, go_on = stored.read_channel, threading.Event(), threading.Event()

    def slowly(*arguments: Any) -> Any:
        found = read(*arguments)
        was_read.set()
        assert go_on.wait(60)
        return found

    # Nobody here hears of what is published there.
    await there.publish(project.id, CHANNEL, "said", 1)
    monkeypatch.setattr(stored, "read_channel", slowly)
    await here.publish(project.id, CHANNEL, "said", 2)
    await asyncio.to_thread(was_read.wait, 60)
    await there.publish(project.id, CHANNEL, "said", 3)
    await here.publish(project.id, CHANNEL, "said", 4)
    go_on.set()
    await client.has(4)
    assert client.numbers == [1, 2, 3, 4]


class Ticking:
    """A clock that gives no moment twice."""

    def __init__(self) -> None:
        self._ms = SystemClock().now_ms()

    def now_ms(self) -> int:
        self._ms += 1
        return self._ms


async def test_the_oldest_messages_of_a_project_that_keeps_too_much_go_and_no_other_projects(
    database: Database, tasks: Tasks
) -> None:
    shop, blog = a_project("shop"), a_project("blog")
    for project in (shop, blog):
        await database.write(projects.insert_project, project)
    channels = Channels(
        database=database, clock=Ticking(), rooms=Rooms(tasks), tasks=tasks, most=lambda _: 50, kept_bytes=100_000
    )
    await channels.publish(blog.id, "c0", "e", "x" * 50_000)
    for number in range(20):
        await channels.publish(shop.id, f"c{number}", "e", "x" * 20_000)

    async def kept(project_id: ProjectId, channel: str) -> bool:
        _, messages = await database.read(stored.read_channel, project_id, channel, 0, SystemClock().now_ms())
        return bool(messages)

    # Who published does not wait for what goes.
    async with asyncio.timeout(60):
        while await kept(shop.id, "c15"):
            pass
    assert [await kept(shop.id, f"c{number}") for number in range(20)] == [False] * 16 + [True] * 4
    assert await kept(blog.id, "c0")


async def test_old_messages_are_deleted_some_at_a_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "_DROPPED_AT_ONCE", 2)
    project, now_ms = a_project(), SystemClock().now_ms()
    await database.write(projects.insert_project, project)
    drafts = [stored.Draft(channel="c", event="e", data="1") for _ in range(3)]
    for at_ms in (now_ms - KEPT_MS, now_ms):
        await database.write(stored.insert_messages, project.id, drafts, now_ms=at_ms, channels_max=5, notify=False)
    assert [await database.write(stored.drop_old, now_ms) for _ in range(3)] == [2, 1, 0]
    _, left = await database.read(stored.read_channel, project.id, "c", 0, now_ms)
    assert [message.seq for message in left] == [4, 5, 6]
