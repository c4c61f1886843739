"""What servers on one PostgreSQL tell each other is heard, each time once."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from isolet.database import listening
from isolet.database.connection import Database
from isolet.errors import StoreError

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
COUNT = 300


@pytest.mark.parametrize("check_s", [15.0, 0.0], ids=["at rest", "while the connection is checked"])
async def test_everything_is_heard_in_its_order(
    database: Database, database_url: str, check_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_CHECK_S", check_s)
    heard: list[str] = []
    listens, all_heard = asyncio.Event(), asyncio.Event()

    async def hear(told: str) -> None:
        heard.append(told)
        if len(heard) == COUNT:
            all_heard.set()

    async def connected() -> None:
        listens.set()

    listener = asyncio.ensure_future(database.listen("news", hear, connected=connected))
    try:
        async with asyncio.timeout(60):
            await listens.wait()
            async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
                for number in range(COUNT):
                    await other.execute("SELECT pg_notify('news', %s)", [str(number)])
            await all_heard.wait()
    finally:
        listener.cancel()
        await asyncio.wait([listener])
    assert heard == [str(number) for number in range(COUNT)]


async def test_it_listens_anew_when_what_was_missed_cannot_be_read(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_AGAIN_S", 0.01)
    tries, heard = 0, asyncio.Event()

    async def hear(told: str) -> None:
        heard.set()

    async def connected() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StoreError("cannot read from the database: too many clients")
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
            await other.execute("SELECT pg_notify('news', 'told')")

    listener = asyncio.ensure_future(database.listen("news", hear, connected=connected))
    try:
        async with asyncio.timeout(60):
            await heard.wait()
    finally:
        listener.cancel()
        await asyncio.wait([listener])
    assert tries == 2
