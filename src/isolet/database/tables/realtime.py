"""Live connections: settings, channels and their newest messages."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Index, Table, Text

from isolet.database.tables.columns import id_column, metadata, ms_column, owner_column

realtime_settings = Table(
    "realtime_settings",
    metadata,
    owner_column("project_id", "projects.id", primary_key=True),
    Column("settings", JSON, nullable=False),
    ms_column("updated_at_ms"),
)

realtime_channels = Table(
    "realtime_channels",
    metadata,
    owner_column("project_id", "projects.id", primary_key=True),
    Column("name", Text, primary_key=True),
    # The number of the newest message.
    Column("seq", BigInteger, nullable=False),
    ms_column("last_at_ms"),
    Index("realtime_channels_last", "last_at_ms"),
    sqlite_with_rowid=False,
)

# Only the newest of each channel, and only for some minutes, also when their project is deleted.
realtime_messages = Table(
    "realtime_messages",
    metadata,
    id_column("project_id"),
    Column("channel", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("event", Text, nullable=False),
    Column("data", Text, nullable=False),
    ms_column("at_ms"),
    Index("realtime_messages_at", "at_ms"),
)
