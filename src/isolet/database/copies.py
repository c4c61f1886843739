"""What a copy of a database does with the jobs that the original had queued: it holds them until told to run them.

A held job is queued, and due at a time that does not come.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, case, func, insert, select, text, update

from isolet.database.conclusions import Conclusion, Outcome, conclude
from isolet.database.jobs import LIGHT, read_job
from isolet.database.tables.jobs import jobs
from isolet.database.tables.place import database_place
from isolet.domain.jobs import HELD_UNTIL_MS, Attempt, JobEvent, concluded
from isolet.place import place_of, same_place

_QUEUED = text("state = 'queued'")
_RUNNING = text("state = 'running'")
# The cluster's own number, where this user may ask for it, and the database's in it.
_POSTGRESQL_PLACE = text(
    """
    SELECT CASE WHEN has_function_privilege('pg_control_system()', 'execute')
        THEN (SELECT system_identifier FROM pg_control_system())::text ELSE '' END || ' ' || oid::text
    FROM pg_database WHERE datname = current_database()
    """
)


def settle(connection: Connection, *, copied: bool) -> bool:
    """Note where the database is; whether it is a copy. `copied` tells of one whose database does not say so yet."""
    if connection.dialect.name == "postgresql":
        # Servers that start at the same time take turns.
        connection.execute(text("LOCK TABLE database_place IN EXCLUSIVE MODE"))
    here = _place(connection)
    before = connection.execute(select(database_place.c.place)).scalar()
    if before is None:
        connection.execute(insert(database_place).values(id=1, place=here))
        return copied
    if before != here:
        connection.execute(update(database_place).values(place=here))
    return before != here and not same_place(before, here)


def hold(connection: Connection, now_ms: int) -> int:
    """Hold every job that waits or runs in the original; how many."""
    for row in connection.execute(select(*LIGHT).where(_RUNNING).with_for_update()).all():
        job = read_job(row)
        lost = Attempt(at_ms=now_ms, duration_ms=0, error="the database was copied while it ran")
        after = concluded(job, JobEvent.HANDED_BACK, now_ms, attempt=lost)
        conclude(connection, [Conclusion(outcome=Outcome(job=after), owner=job.lease_owner or "", at_ms=now_ms)])
    # The sum says when each was due, so that what was to wait longer does, once it is released.
    held_until_ms = jobs.c.due_at_ms + HELD_UNTIL_MS
    waits = jobs.c.due_at_ms < HELD_UNTIL_MS
    return connection.execute(update(jobs).where(_QUEUED, waits).values(due_at_ms=held_until_ms)).rowcount


def release(connection: Connection, now_ms: int) -> int:
    """Let held jobs run: retries now, the others when they are due. How many."""
    held = jobs.c.due_at_ms >= HELD_UNTIL_MS
    due_ms = jobs.c.due_at_ms - HELD_UNTIL_MS
    # Releases before this one did not keep when a job is due.
    delayed = (jobs.c.attempts == 0) & (due_ms > 0)
    values = {"due_at_ms": case((delayed, due_ms), else_=now_ms)}
    return connection.execute(update(jobs).where(_QUEUED, held).values(values)).rowcount


def count_held(connection: Connection) -> int:
    held = jobs.c.due_at_ms >= HELD_UNTIL_MS
    return connection.execute(select(func.count()).select_from(jobs).where(_QUEUED, held)).scalar_one()


def _place(connection: Connection) -> str:
    if connection.dialect.name == "postgresql":
        return str(connection.execute(_POSTGRESQL_PLACE).scalar_one())
    file = connection.exec_driver_sql("PRAGMA database_list").first()
    return place_of(Path(file[2])) if file is not None and file[2] else ""
