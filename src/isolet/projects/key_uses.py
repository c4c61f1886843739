"""When keys were last used: noted in memory with each request, and written in batches."""

from __future__ import annotations

import asyncio

from isolet.clock import Clock
from isolet.database import access as stored
from isolet.database.connection import Database
from isolet.errors import IsoletError
from isolet.ids import KeyId
from isolet.telemetry import get_logger

log = get_logger("keys")

_EVERY_S = 10.0
_LAST_S = 5.0


class KeyUses:
    """What is noted are keys that exist, so there are no more than those."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._used: set[KeyId] = set()

    def note(self, key_id: KeyId) -> None:
        """A request came with a key. Cheap: it is part of every call."""
        self._used.add(key_id)

    async def run(self) -> None:
        """The background loop; ends by cancellation."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.write()

    async def close(self) -> None:
        """Write what is left, unless the database does not answer."""
        try:
            async with asyncio.timeout(_LAST_S):
                await self.write()
        except TimeoutError:
            log.warning("cannot write when keys were last used: the database does not answer")

    async def write(self) -> None:
        """Write what was noted. What cannot be written is noted again, for the next time."""
        if not self._used:
            return
        used, self._used = self._used, set()
        try:
            await self._database.write(stored.mark_used, used, self._clock.now_ms())
        except IsoletError as exc:
            self._used |= used
            log.warning("cannot write when keys were last used", error=exc.message)
