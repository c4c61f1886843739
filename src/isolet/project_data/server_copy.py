"""Copies of the server's own database, for who backs the whole server up while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from msgspec import Struct, field

from isolet.database.connection import Database
from isolet.errors import StoreError, TooManyRequests, Unavailable
from isolet.project_data.backup import TEMPORARY

_RETRY_AFTER_S = 10


class DatabaseCopies(Struct, frozen=True, kw_only=True):
    """`folder` is for temporary files; what a server that was killed left there goes with those of `Backups`."""

    database: Database
    folder: Path
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    @contextlib.asynccontextmanager
    async def create(self) -> AsyncIterator[Path]:
        """A file of SQLite, or an archive of pg_dump, there as long as the context is. Secrets in it are encrypted.

        Raises Unavailable when there is no room for it, TooManyRequests while another is under way.
        """
        if self._alone.locked():
            raise TooManyRequests("A copy of the database is under way", retry_after_s=_RETRY_AFTER_S)
        async with self._alone, contextlib.AsyncExitStack() as stack:
            try:
                scratch = tempfile.TemporaryDirectory(dir=self.folder, prefix=TEMPORARY)
                file = Path(stack.enter_context(scratch)) / "database"
                await self.database.copy(file)
            except (OSError, StoreError) as exc:
                raise Unavailable(f"cannot back up the database: {exc}") from exc
            yield file
