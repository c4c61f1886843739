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
