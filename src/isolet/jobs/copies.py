"""A server on a copy of a database: what the original had queued does not run twice unless the operator says so."""

from __future__ import annotations

from isolet.clock import Clock
from isolet.database import copies as stored
from isolet.database.connection import Connection, Database
from isolet.telemetry import get_logger

log = get_logger("jobs")


async def settle(database: Database, clock: Clock, *, copied: bool, adopt: bool) -> int:
    """To be called before any job runs. How many jobs are held."""
    held, released = await database.write(_settle, clock.now_ms(), copied=copied, adopt=adopt)
    if released:
        log.warning("calls and callbacks that the original of this database had queued run here now", count=released)
    if held:
        log.warning(
            "this database is a copy, or was moved: calls and callbacks that the original had queued are held. If the "
            "original does not run any more, start with --adopt (ISOLET_ADOPT=true) to run them here",
            count=held,
        )
    return held


def _settle(connection: Connection, now_ms: int, *, copied: bool, adopt: bool) -> tuple[int, int]:
    """How many are held, and how many were released."""
    if stored.settle(connection, copied=copied) and not adopt:
        stored.hold(connection, now_ms)
    if adopt:
        return 0, stored.release(connection, now_ms)
    return stored.count_held(connection), 0
