"""OAuth client credentials: an API key's id and text give an opaque bearer token that stands for the key."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct

from isolet.clock import Clock
from isolet.database import oauth_tokens as stored
from isolet.database.connection import Database
from isolet.domain.access import TOKEN_PREFIX, digest

EXPIRES_S = 3600
# A client that asks for a token with each request goes on with it; what it does not use any more makes room.
TOKENS_MAX = 10_000
_DROPPED_AT_ONCE = 500


class _Token(Struct, frozen=True):
    key_digest: bytes
    expires_at_ms: int
    owner: str


class Tokens:
    """Held in memory, hashed; a token of a key that was deleted stands for nobody.

    `owner_of` tells whose budget a key's tokens count against, by the key's digest. Of an owner's tokens the oldest
    makes room for a new one beyond `most`.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        owner_of: Callable[[bytes], str] = lambda _: "",
        most: int = TOKENS_MAX,
    ) -> None:
        self._database = database
        self._clock = clock
        self._owner_of = owner_of
        self._most = most
        # All tokens live as long, so the order in which they were issued is that in which they run out.
        self._known: OrderedDict[bytes, _Token] = OrderedDict()
        self._of_owner: dict[str, OrderedDict[bytes, None]] = {}

    async def load(self) -> None:
        """To be called once the keys are known, and when other servers issued or revoked some: they alone change."""
        before = set(self._known)
        found = await self._database.read(stored.list_tokens)
        for token in before - found.keys():
            self._drop(token)
        for token in sorted(found.keys() - self._known.keys(), key=lambda token: found[token][1]):
            self._keep(token, *found[token])

    async def issue(self, key: str) -> str:
        """A token for a key that was checked; good for `EXPIRES_S` seconds, over restarts too."""
        text = TOKEN_PREFIX + secrets.token_urlsafe(32)
        token, key_digest = digest(text), digest(key)
        expires_at_ms = self._clock.now_ms() + EXPIRES_S * 1000
        dropped = self._make_room(self._owner_of(key_digest))
        await self._database.write(stored.insert_token, token, key_digest, expires_at_ms=expires_at_ms, dropped=dropped)
        self._keep(token, key_digest, expires_at_ms)
        return text

    async def revoke(self, token: str) -> None:
        """Any text may come, from anybody: only a token that was issued makes the database write."""
        given = digest(token)
        if given not in self._known:
            return
        await self._database.write(stored.delete_token, given)
        self._drop(given)

    def key_digest(self, token: str) -> bytes | None:
        """The digest of the key that a token stands for; None for one that ran out or that nobody issued."""
        found = self._known.get(digest(token))
        return found.key_digest if found is not None and found.expires_at_ms > self._clock.now_ms() else None

    def _make_room(self, owner: str) -> list[bytes]:
        """Forget some of those that ran out, and the owner's oldest where it has too many; which."""
        now_ms, dropped = self._clock.now_ms(), list[bytes]()
        while self._known and len(dropped) < _DROPPED_AT_ONCE:
            oldest = next(iter(self._known))
            if self._known[oldest].expires_at_ms > now_ms:
                break
            dropped.append(self._drop(oldest))
        while (own := self._of_owner.get(owner)) is not None and len(own) >= self._most:
            dropped.append(self._drop(next(iter(own))))
        return dropped

    def _keep(self, token: bytes, key_digest: bytes, expires_at_ms: int) -> None:
        owner = self._owner_of(key_digest)
        self._known[token] = _Token(key_digest, expires_at_ms, owner)
        self._of_owner.setdefault(owner, OrderedDict())[token] = None

    def _drop(self, token: bytes) -> bytes:
        if (known := self._known.pop(token, None)) is not None:
            own = self._of_owner[known.owner]
            del own[token]
            if not own:
                del self._of_owner[known.owner]
        return token
