"""OAuth bearer tokens in the database: digests, never the tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select

from isolet.database.tables.identity import oauth_tokens


def insert_token(
    connection: Connection, digest: bytes, key_digest: bytes, *, expires_at_ms: int, dropped: Sequence[bytes] = ()
) -> None:
    """It takes the place of those that are `dropped`."""
    if dropped:
        connection.execute(delete(oauth_tokens).where(oauth_tokens.c.digest.in_(dropped)))
    connection.execute(insert(oauth_tokens).values(digest=digest, key_digest=key_digest, expires_at_ms=expires_at_ms))


def delete_token(connection: Connection, digest: bytes) -> bool:
    return connection.execute(delete(oauth_tokens).where(oauth_tokens.c.digest == digest)).rowcount > 0


def list_tokens(connection: Connection) -> Mapping[bytes, tuple[bytes, int]]:
    """By digest, in the order in which they run out: the digest of the key that it stands for, and when it runs out."""
    rows = connection.execute(select(oauth_tokens).order_by(oauth_tokens.c.expires_at_ms))
    return {bytes(row.digest): (bytes(row.key_digest), row.expires_at_ms) for row in rows}
