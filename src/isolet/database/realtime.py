"""Channels, the newest of their messages, and what projects set of live connections."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Table, delete, func, insert, select, text, tuple_, update

from isolet.database.tables.realtime import realtime_channels, realtime_messages, realtime_settings
from isolet.domain.realtime import KEPT_BYTES, KEPT_MESSAGES, KEPT_MS, Message
from isolet.ids import ProjectId

# What servers on one PostgreSQL tell each other by. SQLite has one server.
NOTIFIED = "isolet_realtime"
_IDLE_CHANNEL_MS = 30 * 86_400_000
_DROPPED_AT_ONCE = 500
_ROW_BYTES = 200


class Draft(Struct, frozen=True, kw_only=True):
    """A message without a number. `data` is JSON in ASCII."""

    channel: str
    event: str
    data: str


def insert_messages(
    connection: Connection,
    project_id: ProjectId,
    drafts: Sequence[Draft],
    *,
    now_ms: int,
    channels_max: int,
    notify: bool,
) -> list[int | None]:
    """The number of each message; None for one of a new channel that the project may not have."""
    numbers: list[int | None] = [None] * len(drafts)
    # In one order everywhere, so that two servers do not wait for each other's channels.
    for place in sorted(range(len(drafts)), key=lambda place: drafts[place].channel):
        draft = drafts[place]
        seq = _next_seq(connection, project_id, draft.channel, now_ms, channels_max)
        if seq is None:
            continue
        numbers[place] = seq
        connection.execute(
            insert(realtime_messages).values(
                project_id=project_id,
                channel=draft.channel,
                seq=seq,
                event=draft.event,
                data=draft.data,
                at_ms=now_ms,
            )
        )
        if notify:
            _notify(connection, {"project": project_id, "channel": draft.channel, "seq": seq})
    for channel in {draft.channel for draft in drafts}:
        _keep_newest(connection, project_id, channel)
    return numbers


def _next_seq(
    connection: Connection, project_id: ProjectId, channel: str, now_ms: int, channels_max: int
) -> int | None:
    table = realtime_channels
    mine = (table.c.project_id == project_id, table.c.name == channel)
    following = update(table).where(*mine).values(seq=table.c.seq + 1, last_at_ms=now_ms).returning(table.c.seq)
    seq = connection.execute(following).scalar_one_or_none()
    if seq is not None:
        return int(seq)
    count = connection.execute(select(func.count()).where(table.c.project_id == project_id)).scalar_one()
    if count >= channels_max:
        return None
    # Another server may make it now, too.
    connection.execute(
        text(
            "INSERT INTO realtime_channels (project_id, name, seq, last_at_ms) VALUES (:project, :name, 0, :now)"
            " ON CONFLICT DO NOTHING"
        ),
        {"project": project_id, "name": channel, "now": now_ms},
    )
    return int(connection.execute(following).scalar_one())


def _keep_newest(connection: Connection, project_id: ProjectId, channel: str) -> None:
    table = realtime_messages
    mine = (table.c.project_id == project_id, table.c.channel == channel)
    newest = (
        select(table.c.seq, func.length(table.c.data))
        .where(*mine)
        .order_by(table.c.seq.desc())
        .limit(KEPT_MESSAGES + 1)
    )
    size = 0
    for count, (seq, length) in enumerate(connection.execute(newest).all()):
        size += length
        # The newest one is kept whatever its size.
        if count == KEPT_MESSAGES or (count and size > KEPT_BYTES):
            connection.execute(delete(table).where(*mine, table.c.seq <= seq))
            return


def read_channel(
    connection: Connection, project_id: ProjectId, channel: str, after: int | None, now_ms: int
) -> tuple[int, list[Message]]:
    """The number of the newest message, 0 for none, and those that are kept after a number; none without it."""
    channels, table = realtime_channels, realtime_messages
    head = connection.execute(
        select(channels.c.seq).where(channels.c.project_id == project_id, channels.c.name == channel)
    ).scalar_one_or_none()
    if head is None or after is None or after >= head:
        return head or 0, []
    rows = connection.execute(
        select(table)
        .where(
            table.c.project_id == project_id,
            table.c.channel == channel,
            table.c.seq > after,
            table.c.seq <= head,
            table.c.at_ms > now_ms - KEPT_MS,
        )
        .order_by(table.c.seq)
    )
    return head, [
        Message(project_id=project_id, channel=channel, seq=row.seq, event=row.event, data=row.data) for row in rows
    ]


def list_channels(connection: Connection, project_id: ProjectId, limit: int) -> list[tuple[str, int]]:
    """Names with the numbers of their newest messages, by name."""
    table = realtime_channels
    rows = connection.execute(
        select(table.c.name, table.c.seq).where(table.c.project_id == project_id).order_by(table.c.name).limit(limit)
    )
    return [(row.name, row.seq) for row in rows]


def drop_old(connection: Connection, now_ms: int) -> int:
    """Some messages that nobody is given any more, and channels that were silent for a month; how many, 0 for none."""
    old = realtime_messages.c.at_ms <= now_ms - KEPT_MS
    silent = realtime_channels.c.last_at_ms <= now_ms - _IDLE_CHANNEL_MS
    return _drop_some(connection, realtime_messages, old) + _drop_some(connection, realtime_channels, silent)


def shrink(connection: Connection, project_id: ProjectId, most_bytes: int) -> int:
    """Delete some of a project's oldest messages, where its channels hold more than so many bytes; how many, or 0."""
    table = realtime_messages.c
    size = func.length(table.data) + func.length(table.event) + _ROW_BYTES
    total = func.sum(size).over(order_by=(table.at_ms.desc(), table.channel, table.seq.desc())).label("total")
    kept = select(table.channel, table.seq, table.at_ms, total).where(table.project_id == project_id).subquery()
    beyond = select(kept.c.channel, kept.c.seq).where(kept.c.total > most_bytes).order_by(kept.c.total.desc())
    rows = [tuple(row) for row in connection.execute(beyond.limit(_DROPPED_AT_ONCE))]
    if not rows:
        return 0
    chosen = tuple_(table.channel, table.seq).in_(rows)
    return connection.execute(delete(realtime_messages).where(table.project_id == project_id, chosen)).rowcount


def _drop_some(connection: Connection, table: Table, where: ColumnElement[bool]) -> int:
    key = tuple_(*table.primary_key.columns)
    some = select(*table.primary_key.columns).where(where).limit(_DROPPED_AT_ONCE)
    return connection.execute(delete(table).where(key.in_(some))).rowcount


def put_settings(
    connection: Connection, project_id: ProjectId, settings: dict[str, Any], now_ms: int, *, notify: bool
) -> None:
    values = {"settings": settings, "updated_at_ms": now_ms}
    table = realtime_settings
    found = connection.execute(update(table).where(table.c.project_id == project_id).values(values))
    if found.rowcount == 0:
        connection.execute(insert(table).values(project_id=project_id, **values))
    if notify:
        _notify(connection, {"project": project_id})


def list_settings(connection: Connection) -> list[tuple[ProjectId, dict[str, Any]]]:
    """Of every project that has some."""
    return [(ProjectId(row.project_id), row.settings) for row in connection.execute(select(realtime_settings))]


def _notify(connection: Connection, told: dict[str, Any]) -> None:
    # Sent when the transaction is committed, in the order of commits.
    connection.execute(text("SELECT pg_notify(:channel, :told)"), {"channel": NOTIFIED, "told": json.dumps(told)})
