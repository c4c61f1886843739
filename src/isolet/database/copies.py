"""What a copy of a database does with what the original has queued or runs by the clock: it holds it until told.

A held job is queued, and due at a time that does not come. A held schedule is looked for at such a time; who changes it
on the copy wants it to run there.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct
from sqlalchemy import Connection, case, func, insert, select, text, update

from isolet.database.conclusions import Conclusion, Outcome, conclude
from isolet.database.jobs import LIGHT, read_job
from isolet.database.tables.jobs import jobs
from isolet.database.tables.place import database_place
from isolet.database.tables.schedules import schedules
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


class Held(Struct, frozen=True, kw_only=True):
    """How many of each."""

    jobs: int = 0
    schedules: int = 0

    def __bool__(self) -> bool:
        return self.jobs + self.schedules > 0


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
    """Hold every schedule, and every job that waits or runs in the original; how many jobs."""
    for row in connection.execute(select(*LIGHT).where(_RUNNING).with_for_update()).all():
        job = read_job(row)
        lost = Attempt(at_ms=now_ms, duration_ms=0, error="the database was copied while it ran")
        after = concluded(job, JobEvent.HANDED_BACK, now_ms, attempt=lost)
        conclude(connection, [Conclusion(outcome=Outcome(job=after), owner=job.lease_owner or "", at_ms=now_ms)])
    # The sum says when each was due, so that what was to wait longer does, once it is released.
    fire = schedules.c.next_fire_ms
    connection.execute(update(schedules).where(fire < HELD_UNTIL_MS).values(next_fire_ms=fire + HELD_UNTIL_MS))
    held_until_ms = jobs.c.due_at_ms + HELD_UNTIL_MS
    waits = jobs.c.due_at_ms < HELD_UNTIL_MS
    return connection.execute(update(jobs).where(_QUEUED, waits).values(due_at_ms=held_until_ms)).rowcount


def release(connection: Connection, now_ms: int) -> Held:
    """Let what is held run: retries now, the others when they are due."""
    fire = schedules.c.next_fire_ms
    fires = update(schedules).where(fire >= HELD_UNTIL_MS).values(next_fire_ms=fire - HELD_UNTIL_MS)
    held = jobs.c.due_at_ms >= HELD_UNTIL_MS
    due_ms = jobs.c.due_at_ms - HELD_UNTIL_MS
    # Releases before this one did not keep when a job is due.
    delayed = (jobs.c.attempts == 0) & (due_ms > 0)
    values = {"due_at_ms": case((delayed, due_ms), else_=now_ms)}
    released = connection.execute(update(jobs).where(_QUEUED, held).values(values)).rowcount
    return Held(jobs=released, schedules=connection.execute(fires).rowcount)


def count_held(connection: Connection) -> Held:
    waits = select(func.count()).select_from(jobs).where(_QUEUED, jobs.c.due_at_ms >= HELD_UNTIL_MS)
    fires = select(func.count()).select_from(schedules).where(schedules.c.next_fire_ms >= HELD_UNTIL_MS)
    return Held(jobs=connection.execute(waits).scalar_one(), schedules=connection.execute(fires).scalar_one())


def _place(connection: Connection) -> str:
    if connection.dialect.name == "postgresql":
        return str(connection.execute(_POSTGRESQL_PLACE).scalar_one())
    file = connection.exec_driver_sql("PRAGMA database_list").first()
    return place_of(Path(file[2])) if file is not None and file[2] else ""
