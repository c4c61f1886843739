"""OAuth bearer tokens in the database: digests, never the tokens."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select

from isolet.database.tables.identity import oauth_tokens


def insert_token(connection: Connection, digest: bytes, key_digest: bytes, *, now_ms: int, expires_at_ms: int) -> None:
    """Also drops those that ran out."""
    connection.execute(delete(oauth_tokens).where(oauth_tokens.c.expires_at_ms <= now_ms))
    connection.execute(insert(oauth_tokens).values(digest=digest, key_digest=key_digest, expires_at_ms=expires_at_ms))


def delete_token(connection: Connection, digest: bytes) -> bool:
    return connection.execute(delete(oauth_tokens).where(oauth_tokens.c.digest == digest)).rowcount > 0


def list_tokens(connection: Connection) -> Mapping[bytes, tuple[bytes, int]]:
    """By digest: the digest of the key that it stands for, and when it runs out."""
    rows = connection.execute(select(oauth_tokens))
    return {bytes(row.digest): (bytes(row.key_digest), row.expires_at_ms) for row in rows}
