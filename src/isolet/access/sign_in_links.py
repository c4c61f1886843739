"""The link by which the operator signs in without typing the root key: printed at start, good once and for an hour."""

from __future__ import annotations

import hmac
import secrets

from isolet.clock import Clock
from isolet.domain.access import digest

GOOD_MS = 3600 * 1000


class SignInLinks:
    """Each server has one at a time, in memory only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._digest: bytes | None = None
        self._until_ms = 0

    def make(self) -> str:
        """A new code, in place of an earlier one."""
        code = secrets.token_urlsafe(32)
        self._digest, self._until_ms = digest(code), self._clock.now_ms() + GOOD_MS
        return code

    def use(self, code: str) -> bool:
        """Whether it was good; it is no more."""
        good = (
            self._digest is not None
            and hmac.compare_digest(digest(code), self._digest)
            and self._clock.now_ms() < self._until_ms
        )
        if good:
            self._digest = None
        return good
