"""Keys under which callers ask for a call: the same key for the same function gives the same job."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import Connection, delete, select

from isolet.database.jobs import Kept
from isolet.database.tables.jobs import idempotency_keys
from isolet.domain.jobs import Job


class Idempotency(Struct, frozen=True, kw_only=True):
    """A caller's key for a function; `digest` stands for what was asked for with it."""

    key: str
    digest: bytes
    expires_at_ms: int


def take_key(connection: Connection, job: Job, *, wanted: Idempotency) -> Kept:
    """Take the key, unless it was taken. Rows of the same transaction are seen too."""
    table = idempotency_keys.c
    here = (table.function_id == job.function_id) & (table.key == wanted.key)
    connection.execute(delete(idempotency_keys).where(here, table.expires_at_ms <= job.created_at_ms))
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    connection.exec_driver_sql(
        f"INSERT INTO idempotency_keys (function_id, key, digest, job_id, expires_at_ms) "  # noqa: S608 – marks only
        f"VALUES ({', '.join([mark] * 5)}) ON CONFLICT (function_id, key) DO NOTHING",
        (job.function_id, wanted.key, wanted.digest, job.id, wanted.expires_at_ms),
    )
    row = connection.execute(select(idempotency_keys).where(here)).one()
    new = row.job_id == job.id
    return Kept(id=row.job_id, new=new, same=new or bytes(row.digest) == wanted.digest)
