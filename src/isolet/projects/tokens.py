"""OAuth client credentials: an API key's id and text give an opaque bearer token that stands for the key."""

from __future__ import annotations

import secrets

from isolet.clock import Clock
from isolet.database import oauth_tokens as stored
from isolet.database.connection import Database
from isolet.domain.access import TOKEN_PREFIX, digest

EXPIRES_S = 3600


class Tokens:
    """Held in memory, hashed; a token of a key that was deleted stands for nobody."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[bytes, tuple[bytes, int]] = {}

    async def load(self) -> None:
        self._known = dict(await self._database.read(stored.list_tokens))

    async def issue(self, key: str) -> str:
        """A token for a key that was checked; good for `EXPIRES_S` seconds, over restarts too."""
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        now_ms = self._clock.now_ms()
        expires_at_ms = now_ms + EXPIRES_S * 1000
        await self._database.write(
            stored.insert_token, digest(token), digest(key), now_ms=now_ms, expires_at_ms=expires_at_ms
        )
        self._known = {given: known for given, known in self._known.items() if known[1] > now_ms}
        self._known[digest(token)] = (digest(key), expires_at_ms)
        return token

    async def revoke(self, token: str) -> None:
        """Any text may come, from anybody: only a token that was issued makes the database write."""
        given = digest(token)
        if given not in self._known:
            return
        await self._database.write(stored.delete_token, given)
        self._known.pop(given, None)

    def key_digest(self, token: str) -> bytes | None:
        """The digest of the key that a token stands for; None for one that ran out or that nobody issued."""
        key, expires_at_ms = self._known.get(digest(token), (None, 0))
        return key if expires_at_ms > self._clock.now_ms() else None
