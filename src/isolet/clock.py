"""Time, as a value that is passed in, so that rules about time can be tested without waiting."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS = -62_135_596_800_000
_LAST_MS = 253_402_300_799_999


class Clock(Protocol):
    """Wall time in whole milliseconds since the epoch."""

    def now_ms(self) -> int: ...


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


def iso(ms: int) -> str:
    """ISO 8601 in UTC with milliseconds: `2026-01-31T12:00:00.000Z`. Times beyond the years 1 and 9999 become these."""
    whole, fraction = divmod(min(max(ms, _FIRST_MS), _LAST_MS), 1000)
    return f"{datetime.fromtimestamp(whole, UTC).isoformat()[:19]}.{fraction:03d}Z"


def parse_iso(text: str) -> int:
    """Milliseconds since the epoch; a time without a zone is read as UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)
