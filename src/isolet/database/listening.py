"""What servers on one PostgreSQL tell each other at once: LISTEN, on a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from isolet.errors import StoreError
from isolet.telemetry import get_logger

log = get_logger("store")

_AGAIN_S = 1.0
# A connection that is lost without a word shows here.
_CHECK_S = 15.0


async def listen(
    engine: Engine,
    name: str,
    hear: Callable[[str], Awaitable[None]],
    *,
    connected: Callable[[], Awaitable[None]],
) -> None:
    """Ends by cancellation. `connected` is called once it listens, each time: what was told before was not heard.

    It listens anew when `connected` raises StoreError.
    """
    # A driver's own errors are not known here by name.
    driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
    while True:
        try:
            async with _connection(engine, name) as connection:
                await connected()
                await _follow(connection, hear)
        except (DBAPIError, driver_error, OSError, StoreError) as exc:
            log.warning("cannot hear other servers; trying again", error=type(exc).__name__)
            await asyncio.sleep(_AGAIN_S)


@contextlib.asynccontextmanager
async def _connection(engine: Engine, name: str) -> AsyncIterator[Any]:
    def connect() -> Any:
        pooled = engine.raw_connection()
        connection: Any = pooled.driver_connection
        # It never goes back to those of queries.
        pooled.detach()
        connection.rollback()
        connection.autocommit = True
        connection.execute(f'LISTEN "{name}"')
        return connection

    connection = await asyncio.to_thread(connect)
    try:
        yield connection
    finally:
        connection.close()


async def _follow(connection: Any, hear: Callable[[str], Awaitable[None]]) -> None:
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    told: deque[str] = deque()
    # The check below reads what comes meanwhile, too.
    connection.add_notify_handler(lambda notice: told.append(notice.payload))
    descriptor = connection.pgconn.socket
    loop.add_reader(descriptor, news.set)
    try:
        while True:
            try:
                async with asyncio.timeout(_CHECK_S):
                    await news.wait()
            except TimeoutError:
                loop.remove_reader(descriptor)
                await asyncio.to_thread(connection.execute, "SELECT 1")
                loop.add_reader(descriptor, news.set)
            news.clear()
            connection.pgconn.consume_input()
            while (notice := connection.pgconn.notifies()) is not None:
                told.append(notice.extra.decode())
            while told:
                await hear(told.popleft())
    finally:
        loop.remove_reader(descriptor)
