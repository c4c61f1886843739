"""Whom a connection speaks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from isolet.identity.identity import User
from isolet.ids import KeyId

# The end of the year 9999. A number of seconds may be any double.
_LAST_S = 253_402_300_799


class Identity(Struct, frozen=True, kw_only=True):
    """Nobody, an end user whose token ends at `ends_ms`, or the holder of an API key; `is_root`: of the root key."""

    user: User | None = None
    ends_ms: int | None = None
    is_service: bool = False
    is_root: bool = False
    key_id: KeyId | None = None

    @property
    def role(self) -> str:
        if self.is_service:
            return "service"
        return "anon" if self.user is None else "user"

    @property
    def is_known(self) -> bool:
        return self.is_service or self.user is not None

    @property
    def user_id(self) -> str | None:
        return None if self.user is None else self.user.id

    def shown_user(self) -> dict[str, Any] | None:
        """What functions see as `ctx.user`."""
        return None if self.user is None else {"id": self.user.id, "claims": dict(self.user.claims)}


def token_end_ms(claims: Mapping[str, Any], leeway_s: int, now_ms: int) -> int:
    """When a token that is good now ends. The leeway counts only where it is needed."""
    ends_ms = int(min(claims["exp"], _LAST_S) * 1000)
    return ends_ms if ends_ms > now_ms else ends_ms + leeway_s * 1000
