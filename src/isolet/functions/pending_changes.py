"""Changes that are on disk, perhaps, and not yet known to the other services."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from isolet.ids import FunctionId


class PendingChanges:
    """Who reads a function waits until the change it may have seen holds everywhere: a status is no promise else."""

    def __init__(self) -> None:
        self._open: dict[FunctionId, asyncio.Event] = {}

    @contextmanager
    def change(self, function_id: FunctionId) -> Iterator[None]:
        """To be held from before a change is written until every listener knows of it; one at a time for each."""
        ended = self._open[function_id] = asyncio.Event()
        try:
            yield
        finally:
            del self._open[function_id]
            ended.set()

    async def settled(self, function_ids: Iterable[FunctionId]) -> None:
        """Wait for the changes of these functions that are under way: a write to the store each."""
        if self._open:
            for ended in [self._open[id_] for id_ in function_ids if id_ in self._open]:
                await ended.wait()
