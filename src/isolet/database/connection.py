"""Runs store functions in database threads, each in a transaction of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from isolet.database import migrate
from isolet.database.backups import UpgradeBackups, copy_database
from isolet.database.engine import Engines, is_conflict, is_odd_number, is_odd_text, is_orphan, is_refusal, open_engines
from isolet.database.listening import listen
from isolet.database.scrubbing import is_scrubbed, scrub
from isolet.errors import NotFound, StoreError, StoreRefused, ValueRefused
from isolet.telemetry import get_logger
from isolet.threads import FairThreads

__all__ = ["Connection", "Database"]

log = get_logger("store")

P = ParamSpec("P")
T = TypeVar("T")
# SQLAlchemy passes on as it is what a driver says of text with lone surrogates, and of numbers over 64 bits.
_REFUSED = (DBAPIError, UnicodeEncodeError, OverflowError)
_TRIES = 3
_CLOSE_S = 10.0


class Database:
    """`write` commits before it returns, so what it returns may be promised to a client."""

    def __init__(self, url: str, *, backups: UpgradeBackups | None = None) -> None:
        self._backups = backups
        self._engines: Engines = open_engines(url)
        self._writers = _threads(self._engines.writer_threads, "isolet-db-write")
        self._readers = _threads(self._engines.reader_threads, "isolet-db-read")

    @property
    def shared(self) -> bool:
        """Whether other servers may work on it too."""
        return self._engines.shared

    async def open(self) -> None:
        """Bring the schema up to date. Raises StoreError when it is newer than this code, or cannot be reached."""

        def work() -> None:
            try:
                migrate.upgrade(self._engines.writer, self._backups)
            except DBAPIError as exc:
                raise StoreError(f"cannot open the database: {exc.orig}") from exc

        await asyncio.get_running_loop().run_in_executor(self._writers, work)

    async def write(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` in a transaction, once more when that was rolled back because of another transaction.

        Raises NotFound when a row's owner was deleted meanwhile, ValueRefused for a text or a number that no column
        holds, StoreRefused for what else the database does not take, StoreError when it cannot be used now.
        """

        # It does not call itself: what refers to itself keeps its arguments until the garbage collector comes.
        def work() -> T:
            tries = _TRIES
            while True:
                try:
                    with self._engines.writer.begin() as connection:
                        return function(connection, *args, **kwargs)
                except _REFUSED as exc:
                    tries -= 1
                    if not tries or not is_conflict(exc):
                        raise _refused(exc) from exc

        return await asyncio.get_running_loop().run_in_executor(self._writers, work)

    async def read(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Raises NotFound for text that the database cannot hold: nothing there has it; StoreRefused for what else it
        does not take, StoreError when it cannot be used now.
        """

        def work() -> T:
            try:
                with self._engines.reader.begin() as connection:
                    return function(connection, *args, **kwargs)
            except _REFUSED as exc:
                if is_odd_text(exc):
                    raise NotFound("Not found") from exc
                kind = StoreRefused if is_refusal(exc) else StoreError
                raise kind(f"cannot read from the database: {_cause(exc)}") from exc

        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    async def listen(
        self, name: str, hear: Callable[[str], Awaitable[None]], *, connected: Callable[[], Awaitable[None]]
    ) -> None:
        """Hear what is notified by that name, on a shared database; see `listening`. Ends by cancellation."""
        await listen(self._engines.writer, name, hear, connected=connected)

    async def scrub(self) -> None:
        """Take what is left of overwritten values out of the file, once. What keeps it from that is logged; the next
        start tries again.
        """

        def work() -> None:
            if is_scrubbed(self._engines.writer):
                return
            log.info("writing the database's file anew, once, so that it keeps nothing that was overwritten")
            try:
                if not scrub(self._engines.writer):
                    log.warning("cannot write the database's file anew now: something else reads it")
            except (DBAPIError, sqlite3.Error) as exc:
                log.warning("cannot write the database's file anew now", error=str(_cause(exc)))

        await asyncio.get_running_loop().run_in_executor(self._writers, work)

    async def copy(self, target: Path) -> None:
        """Write all that is committed to a file: SQLite's, or an archive of pg_dump. Raises StoreError."""
        await asyncio.get_running_loop().run_in_executor(self._readers, copy_database, self._engines.reader, target)

    async def close(self) -> None:
        """Finish what was begun, then close every connection. One that does not answer is not waited for long."""

        def work() -> None:
            timer = threading.Timer(_CLOSE_S, self._cut)
            timer.start()
            self._readers.shutdown(wait=True)
            self._writers.shutdown(wait=True)
            timer.cancel()
            self._engines.dispose()

        await asyncio.to_thread(work)

    def _cut(self) -> None:
        log.error("the database does not answer; what waits for it is given up", seconds=_CLOSE_S)
        for threads in (self._readers, self._writers):
            threads.shutdown(wait=False, cancel_futures=True)
        self._engines.cut()


def _threads(count: int, name: str) -> FairThreads:
    return FairThreads(count, name=name, of_one=count - 1)


def _refused(exc: Exception) -> Exception:
    """Why a transaction was not written."""
    if isinstance(exc, DBAPIError) and is_orphan(exc):
        return NotFound("Not found: what this belongs to was deleted meanwhile")
    if is_odd_text(exc) or is_odd_number(exc):
        return ValueRefused(f"cannot write to the database: {_cause(exc)}")
    kind = StoreRefused if is_refusal(exc) else StoreError
    return kind(f"cannot write to the database: {_cause(exc)}")


def _cause(error: Exception) -> object:
    return error.orig if isinstance(error, DBAPIError) else error
