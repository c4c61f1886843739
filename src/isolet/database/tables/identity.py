"""Keys, and whom tokens and sessions stand for."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Index, LargeBinary, String, Table, Text

from isolet.database.tables.columns import id_column, metadata, ms_column, owner_column

api_keys = Table(
    "api_keys",
    metadata,
    id_column(),
    owner_column("project_id", "projects.id"),
    Column("name", Text, nullable=False),
    Column("role", String(20), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    ms_column("created_at_ms"),
    ms_column("expires_at_ms", nullable=True),
    ms_column("last_used_at_ms", nullable=True),
    Index("api_keys_project", "project_id"),
)

oauth_tokens = Table(
    "oauth_tokens",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("key_digest", LargeBinary(32), nullable=False),
    ms_column("expires_at_ms"),
)

token_settings = Table(
    "token_settings",
    metadata,
    owner_column("project_id", "projects.id", primary_key=True),
    Column("settings", JSON, nullable=False),
    Column("sealed_secret", LargeBinary),
    ms_column("updated_at_ms"),
)

# The token is random; its HMAC is of no use to who reads it here.
sessions = Table(
    "sessions",
    metadata,
    id_column(),
    Column("token_digest", LargeBinary(32), nullable=False, unique=True),
    Column("key_id", String(36), ForeignKey("api_keys.id", ondelete="CASCADE")),
    Column("key_digest", LargeBinary(32)),
    Column("project_id", String(36)),
    Column("agent", Text, nullable=False),
    ms_column("created_at_ms"),
    ms_column("used_at_ms"),
    Index("sessions_key", "key_id"),
)
