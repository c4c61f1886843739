"""How much a project may still store: its limit, less what each of its stores holds and what lies in files."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from isolet.runtime.storage.files import bytes_below, database_sizes

_MB = 1024 * 1024
_STORES = ("kv", "sql")
_ID = re.compile(r"[0-9a-f]{64}")
# A scan that is asked for; one for its own sake; and none takes more than this share of a thread's time.
_SCAN_AGAIN_S = 0.2
_SCAN_EVERY_S = 10.0
_SCAN_SHARE = 10


class Room:
    """`GET /room?store=kv|sql&id=ID&used=BYTES&written=BYTES&fresh=0|1` answers with what that store may hold.

    `id` is that of its database, `used` what it holds, left out where it is not known; `written` is what its kind wrote
    to files since its process started. The answer is `{"limit_mb", "allowed", "files"}`: `allowed` bytes, of which
    `files` are taken by files.
    """

    def __init__(self, folder: Path, limit_mb: Callable[[], int]) -> None:
        self._folder = folder
        self._limit_mb = limit_mb
        self._used: dict[str, int] = {}
        self._files = 0
        self._written = 0
        self._written_at_scan = 0
        self._scanned_at = -_SCAN_EVERY_S
        self._took_s = 0.0
        self._scanning = asyncio.Lock()

    async def answer(self, target: str) -> dict[str, Any]:
        """Raises LookupError or ValueError for a question that makes no sense."""
        asked = parse_qs(urlsplit(target).query)
        (store,), (id_,), (written,), (fresh,) = (asked[name] for name in ("store", "id", "written", "fresh"))
        if store not in _STORES or not _ID.fullmatch(id_):
            raise ValueError("there is no such store")
        if "used" in asked:
            self._used[id_] = int(asked["used"][0])
        if store == "kv":
            self._written = int(written)
        await self._scan(_SCAN_AGAIN_S if fresh == "1" else _SCAN_EVERY_S)
        limit = self._limit_mb()
        return {
            "limit_mb": limit,
            "allowed": limit * _MB - sum(self._used.values()) + self._used.get(id_, 0),
            "files": self._files + self._written - self._written_at_scan,
        }

    def started(self) -> None:
        """A process starts on the files, and has said nothing yet: its databases count as large as their files are."""
        self._used = database_sizes(self._folder)
        self._written = self._written_at_scan = 0
        self._scanned_at = -_SCAN_EVERY_S

    async def _scan(self, every_s: float) -> None:
        async with self._scanning:
            began = time.monotonic()
            if began - self._scanned_at < max(every_s, _SCAN_SHARE * self._took_s):
                return
            written = self._written
            self._files = await asyncio.to_thread(bytes_below, self._folder / "blobs")
            self._written_at_scan = written
            self._scanned_at, self._took_s = began, time.monotonic() - began
