"""A server on a copy of a database: what the original runs, or had queued, does not run twice unless that is wanted."""

from __future__ import annotations

from isolet.clock import Clock
from isolet.database import copies as stored
from isolet.database.connection import Connection, Database
from isolet.telemetry import get_logger

log = get_logger("jobs")


async def settle(database: Database, clock: Clock, *, copied: bool, adopt: bool) -> stored.Held:
    """To be called before any job or schedule runs. What is held."""
    held, released = await database.write(_settle, clock.now_ms(), copied=copied, adopt=adopt)
    if released:
        log.warning(
            "calls, callbacks and schedules of the original of this database run here now",
            count=released.jobs,
            schedules=released.schedules,
        )
    if held:
        log.warning(
            "this database is a copy, or was moved: calls and callbacks that the original had queued are held, and so "
            "are its schedules. If the original does not run any more, start with --adopt (ISOLET_ADOPT=true) to run "
            "them here",
            count=held.jobs,
            schedules=held.schedules,
        )
    return held


def _settle(connection: Connection, now_ms: int, *, copied: bool, adopt: bool) -> tuple[stored.Held, stored.Held]:
    """What is held, and what was released."""
    if stored.settle(connection, copied=copied) and not adopt:
        stored.hold(connection, now_ms)
    if adopt:
        return stored.Held(), stored.release(connection, now_ms)
    return stored.count_held(connection), stored.Held()
