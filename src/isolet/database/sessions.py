"""Sessions of the dashboard."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from isolet.database.tables.identity import sessions
from isolet.domain.sessions import IDLE_MS, LIFE_MS, SESSIONS_MAX, Session
from isolet.ids import KeyId, ProjectId

_COLUMNS = tuple(column.name for column in sessions.columns)


def insert_session(connection: Connection, session: Session) -> None:
    """Those that have ended leave, and the oldest of the key beyond the most that it has."""
    now_ms = session.created_at_ms
    ended = or_(sessions.c.created_at_ms <= now_ms - LIFE_MS, sessions.c.used_at_ms <= now_ms - IDLE_MS)
    connection.execute(delete(sessions).where(ended))
    own = sessions.c.key_id.is_(None) if session.key_id is None else sessions.c.key_id == session.key_id
    newest = select(sessions.c.id).where(own).order_by(sessions.c.id.desc()).offset(SESSIONS_MAX - 1)
    connection.execute(delete(sessions).where(sessions.c.id.in_(connection.execute(newest).scalars().all())))
    connection.execute(insert(sessions).values({name: getattr(session, name) for name in _COLUMNS}))


def find_session(connection: Connection, token_digest: bytes) -> Session | None:
    row = connection.execute(select(sessions).where(sessions.c.token_digest == token_digest)).one_or_none()
    return None if row is None else _session_of(row)


def touch_session(connection: Connection, session_id: str, now_ms: int) -> None:
    connection.execute(update(sessions).where(sessions.c.id == session_id).values(used_at_ms=now_ms))


def list_sessions(connection: Connection, key_id: KeyId | None, *, every: bool) -> list[Session]:
    """Newest first; of one key, or of every one."""
    query = select(sessions).order_by(sessions.c.id.desc())
    return [
        _session_of(row) for row in connection.execute(query if every else query.where(sessions.c.key_id == key_id))
    ]


def delete_session(connection: Connection, session_id: str) -> None:
    connection.execute(delete(sessions).where(sessions.c.id == session_id))


def _session_of(row: Row[Any]) -> Session:
    return Session(
        id=row.id,
        token_digest=bytes(row.token_digest),
        key_id=None if row.key_id is None else KeyId(row.key_id),
        key_digest=None if row.key_digest is None else bytes(row.key_digest),
        project_id=None if row.project_id is None else ProjectId(row.project_id),
        agent=row.agent,
        created_at_ms=row.created_at_ms,
        used_at_ms=row.used_at_ms,
    )
