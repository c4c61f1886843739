"""Group commit: what is submitted while one transaction is written shares the next, and its one fsync."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from isolet.database.connection import Connection, Database
from isolet.errors import StoreError, StoreRefused
from isolet.telemetry import get_logger

log = get_logger("jobs")

I = TypeVar("I")  # noqa: E741 – an item
R = TypeVar("R")
_Function = Callable[[Connection, Sequence[Any]], Sequence[Any]]

_BATCH_MAX = 500


class Writes:
    """`submit` returns when its item is on disk. Run `run` beside it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[_Function, Any, asyncio.Future[Any]]] = []
        self._wake = asyncio.Event()

    async def submit(self, function: Callable[[Connection, Sequence[I]], Sequence[R]], item: I) -> R:
        """What `function` gives for this item. Raises StoreError when nothing was written, StoreRefused when
        that is this item's own fault.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((function, item, future))
        self._wake.set()
        return await future

    async def run(self) -> None:
        """The background loop; ends by cancellation."""
        while True:
            await self._wake.wait()
            batch = self._waiting[:_BATCH_MAX]
            del self._waiting[:_BATCH_MAX]
            if not self._waiting:
                self._wake.clear()
            if batch:
                await self._write(batch)

    async def _write(self, batch: Sequence[tuple[_Function, Any, asyncio.Future[Any]]]) -> None:
        try:
            results = await self._database.write(_apply, [(function, item) for function, item, _ in batch])
        except Exception as exc:
            if len(batch) > 1 and not _is_away(exc):
                # One bad item must not fail the others.
                middle = len(batch) // 2
                await self._write(batch[:middle])
                await self._write(batch[middle:])
                return
            if not isinstance(exc, StoreError):
                log.error("cannot write to the queue", exc_info=exc)
                exc = StoreRefused(f"cannot write to the queue: {type(exc).__name__}")
            for _, _, future in batch:
                if not future.done():
                    future.set_exception(exc)
            return
        for (_, _, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)


def _is_away(error: Exception) -> bool:
    """Whether the store could not be used at all, so that a smaller batch fares no better."""
    return isinstance(error, StoreError) and not isinstance(error, StoreRefused)


def _apply(connection: Connection, batch: Sequence[tuple[_Function, Any]]) -> list[Any]:
    """All items of one function at once, in the order in which the functions first came."""
    results: list[Any] = [None] * len(batch)
    places: dict[_Function, list[int]] = {}
    for place, (function, _) in enumerate(batch):
        places.setdefault(function, []).append(place)
    for function, chosen in places.items():
        for place, result in zip(chosen, function(connection, [batch[place][1] for place in chosen]), strict=True):
            results[place] = result
    return results
