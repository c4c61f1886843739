"""Leases of jobs: how servers take what is due, keep it and lose it. `conclusions` has how jobs end.

A lease goes by the database's clock where several machines share it, so that none takes another's job early.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, case, false, select, text, true, update

from isolet.database.conclusions import Conclusion, Outcome, conclude
from isolet.database.jobs import LIGHT, Prepare, as_it_is, database_ms, read_job
from isolet.database.tables.jobs import jobs
from isolet.domain.body_budget import SMALL_BYTES
from isolet.domain.jobs import LEASE_MS, Attempt, Job, JobEvent, JobKind, JobState, concluded, next_state
from isolet.domain.shares import shares
from isolet.ids import JobId

# What happens to a job whose server ended.
Lost = Callable[[Job, Attempt, int], Outcome]

_QUEUED = text("state = 'queued'")
_RUNNING = text("state = 'running'")
_LOCK_LANE = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:lane, 0))")
# Two steps of an index for each lane, however many jobs are in it. Those in which nothing is due may be many.
_LANES = text(
    """
    WITH RECURSIVE found(lane) AS (
        SELECT min(lane) FROM jobs WHERE state = 'queued' AND kind = :kind
        UNION ALL
        SELECT (SELECT min(lane) FROM jobs WHERE state = 'queued' AND kind = :kind AND lane > found.lane)
        FROM found WHERE found.lane IS NOT NULL
    )
    SELECT lane FROM found WHERE lane IS NOT NULL AND (
        SELECT min(due_at_ms) FROM jobs WHERE state = 'queued' AND kind = :kind AND lane = found.lane
    ) <= :now_ms
    """
)


class Claim(Struct, frozen=True, kw_only=True):
    """Up to `limit` jobs; see `domain.shares` for `running` and `room`.

    `take` tells whether a project's next body, of so many bytes, may be held as well, and counts it. `alone` tells of
    lanes of which one job runs at a time on all servers.
    """

    kind: JobKind
    owner: str
    limit: int
    now_ms: int
    running: Mapping[str, int]
    room: Callable[[str], int]
    take: Callable[[str, int], bool] = lambda _project, _size: True
    alone: Callable[[str], bool] = lambda _lane: False


def claim(connection: Connection, items: Sequence[Claim]) -> list[list[Job]]:
    return [_claim(connection, item) for item in items]


def _claim(connection: Connection, wanted: Claim) -> list[Job]:
    """The jobs that are due, shared between projects and lanes, leased to their new owner."""
    lanes = list(connection.execute(_LANES, {"kind": wanted.kind, "now_ms": wanted.now_ms}).scalars())
    ids: list[str] = []
    running = dict(wanted.running)
    taken: dict[str, int] = {}
    while lanes and len(ids) < wanted.limit:
        limit = wanted.limit - len(ids)
        room = {name: wanted.room(name) - taken.get(name, 0) for name in lanes}
        split = shares(lanes, limit, running=running, room=room.__getitem__)
        for name, count in split.items():
            if _is_taken(connection, wanted, name):
                lanes.remove(name)
                continue
            project = name.partition(":")[0]
            found = []
            for job_id, size in _due(connection, wanted, name, count, after=taken.get(name, 0)):
                if not wanted.take(project, size):
                    break
                found.append(job_id)
            ids += found
            taken[name] = taken.get(name, 0) + len(found)
            running[project] = running.get(project, 0) + len(found)
            if len(found) < count:
                lanes.remove(name)
        if not split:
            break
    return _lease(connection, wanted, ids) if ids else []


def _is_taken(connection: Connection, wanted: Claim, lane: str) -> bool:
    """Whether another server has the only place of a lane, or takes it now."""
    if connection.dialect.name != "postgresql" or not wanted.alone(lane):
        return False
    # It is held until the transaction ends, which says that the job runs.
    locked = connection.execute(_LOCK_LANE, {"lane": f"{wanted.kind} {lane}"}).scalar_one()
    running = select(jobs.c.id).where(_RUNNING, jobs.c.kind == wanted.kind, jobs.c.lane == lane).limit(1)
    return not locked or connection.execute(running).first() is not None


def _due(connection: Connection, wanted: Claim, lane: str, count: int, *, after: int) -> list[tuple[str, int]]:
    """Ids and sizes."""
    query = (
        select(jobs.c.id, jobs.c.body_bytes)
        .where(_QUEUED, jobs.c.kind == wanted.kind, jobs.c.lane == lane, jobs.c.due_at_ms <= wanted.now_ms)
        .order_by(jobs.c.due_at_ms)
        .offset(after)
        .limit(count)
    )
    rows = connection.execute(query.with_for_update(skip_locked=True))
    return [(row.id, row.body_bytes) for row in rows]


def _lease(connection: Connection, wanted: Claim, ids: Sequence[str]) -> list[Job]:
    """What it leases comes without its bodies, unless they are small."""
    state = next_state(JobState.QUEUED, JobEvent.CLAIMED)
    small = case((jobs.c.body_bytes <= SMALL_BYTES, jobs.c.body)).label("body")
    rows = connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(ids), _QUEUED, jobs.c.cancel_requested.is_(False))
        .values(
            state=state.value,
            lease_owner=wanted.owner,
            lease_until_ms=database_ms(connection, wanted.now_ms) + LEASE_MS,
            claims=jobs.c.claims + 1,
        )
        .returning(*LIGHT, small)
    )
    return sorted((read_job(row) for row in rows), key=lambda job: (job.due_at_ms, job.id))


def heartbeat(connection: Connection, owner: str, now_ms: int) -> dict[JobId, bool]:
    """Lengthen every lease of `owner`; the jobs that it still owns, and whether their end was asked for."""
    now_ms = database_ms(connection, now_ms)
    rows = connection.execute(
        update(jobs)
        .where(jobs.c.lease_owner == owner, _RUNNING)
        .values(lease_until_ms=now_ms + LEASE_MS)
        .returning(jobs.c.id, jobs.c.cancel_requested)
    )
    return {row.id: row.cancel_requested for row in rows}


def _queued_again(job: Job, attempt: Attempt, now_ms: int) -> Outcome:
    return Outcome(job=concluded(job, JobEvent.EXPIRED, now_ms, attempt=attempt))


def requeue(
    connection: Connection,
    now_ms: int,
    *,
    owner: str | None = None,
    ids: Collection[JobId] | None = None,
    everything: bool = False,
    expired: bool = True,
    lost: Lost = _queued_again,
    prepare: Prepare = as_it_is,
) -> int:
    """Take back what was running: of an owner that is gone, these, and what lost its lease if `expired`. How many.

    `lost` says what becomes of each; a job whose join refuses that fails without one.
    """
    leased_ms = database_ms(connection, now_ms)
    chosen: ColumnElement[bool] = jobs.c.lease_until_ms <= leased_ms if expired else false()
    if everything:
        chosen = true()
    elif owner is not None:
        chosen = chosen | (jobs.c.lease_owner == owner)
    if ids:
        chosen = chosen | jobs.c.id.in_(ids)
    found = connection.execute(select(*LIGHT).where(_RUNNING, chosen).with_for_update(skip_locked=True)).all()
    for row in found:
        job = read_job(row)
        began_ms = (job.lease_until_ms or leased_ms) - LEASE_MS
        duration_ms = max(0, leased_ms - began_ms)
        attempt = Attempt(at_ms=began_ms, duration_ms=duration_ms, error="the server ended while it ran")
        conclusion = Conclusion(
            outcome=lost(job, attempt, now_ms), owner=job.lease_owner or "", at_ms=now_ms, prepare=prepare
        )
        (ended,) = conclude(connection, [conclusion])
        if ended.refused is not None:
            failed = concluded(job, JobEvent.FAILED, now_ms, attempt=replace(attempt, error=ended.refused))
            conclude(connection, [replace(conclusion, outcome=Outcome(job=failed))])
    return len(found)
