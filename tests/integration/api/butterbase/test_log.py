"""The stream of a function's log over a store that goes away, and over changes of its timeout."""

from __future__ import annotations

import asyncio
import json

import pytest
from msgspec.structs import replace
from sqlalchemy import text
from structlog.testing import capture_logs

from isolet.api.butterbase import log as log_module
from isolet.api.butterbase.log import LogStream
from isolet.database.connection import Connection, Database
from isolet.database.metrics import insert_ended
from isolet.ids import InvocationId, first_of_ms
from isolet.observe.call_history import CallHistory
from isolet.observe.recorder import Recorder
from isolet.observe.tail import Tail
from isolet.routing.routes import Routes
from tests.integration.database.rows import AT_MS, a_function, a_project, an_invocation


class Now:
    """A clock that the test moves."""

    ms = AT_MS

    def now_ms(self) -> int:
        return self.ms


class World:
    def __init__(self, database: Database) -> None:
        self.function = a_function(a_project())
        self.routes, self.clock, self.tail, self.allowed = Routes("root"), Now(), Tail(), True
        self._database, self._made = database, 0
        self.put_timeout(1_000)
        records = CallHistory(database, Recorder(database))
        stream = LogStream(records=records, routes=self.routes, tail=self.tail, clock=self.clock)
        self.events = stream.events(self.function.id, start_ms=AT_MS - 1, failed=None, allowed=lambda: self.allowed)

    def put_timeout(self, timeout_ms: int) -> None:
        limits = replace(self.function.limits, timeout_ms=timeout_ms)
        self.routes.load(functions=[replace(self.function, limits=limits)], projects=[], keys=[])

    async def add(self) -> str:
        """A call that began and ended now; its id."""
        self._made += 1
        call = an_invocation(
            self.function,
            id=InvocationId(f"{first_of_ms(self.clock.ms)}-7000-8000-{self._made:012x}"),
            started_at_ms=self.clock.ms,
        )
        await self._database.write(insert_ended, [call])
        return call.id

    async def rename(self, old: str, new: str) -> None:
        def work(connection: Connection) -> None:
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

        await self._database.write(work)

    async def next_id(self) -> str:
        """The id of the next call that the stream tells of."""
        async with asyncio.timeout(60):
            async for event in self.events:
                if "data: " in event:
                    return str(json.loads(event.partition("data: ")[2])["id"])
        raise AssertionError("the stream ended")


@pytest.fixture
def world(database: Database, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(log_module, "_POLL_S", 0.01)
    return World(database)


async def test_a_stream_goes_on_when_the_store_is_back(world: World) -> None:
    first = await world.add()
    assert await world.next_id() == first
    await world.rename("invocations", "away")
    with capture_logs() as logs:
        told = asyncio.create_task(world.next_id())
        async with asyncio.timeout(60):
            while not logs:
                await asyncio.sleep(0.005)
    await world.rename("away", "invocations")
    second = await world.add()
    assert await told == second


async def test_a_longer_timeout_sends_no_call_twice(world: World) -> None:
    first = await world.add()
    assert await world.next_id() == first
    # By the time that the timeout grows the first call is so old that it is not known as seen any more.
    for _ in range(3):
        world.clock.ms += 250_000
        later = await world.add()
        assert await world.next_id() == later
    world.put_timeout(300_000)
    for _ in range(3):
        later = await world.add()
        assert await world.next_id() == later


async def test_a_stream_ends_when_its_reader_may_no_longer_read(world: World) -> None:
    assert await anext(world.events) == ": connected\n\n"
    world.allowed = False
    assert [event async for event in world.events] == []
