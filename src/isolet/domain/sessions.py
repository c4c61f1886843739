"""Sessions of people in the dashboard, and how long they last."""

from __future__ import annotations

from msgspec import Struct

from isolet.ids import KeyId, ProjectId

IDLE_MS = 12 * 3600 * 1000
LIFE_MS = 7 * 24 * 3600 * 1000
AGENT_MAX_CHARS = 200
# Of one key; the root key's count together. A new one ends the oldest.
SESSIONS_MAX = 20


class Session(Struct, frozen=True, kw_only=True):
    """Those of the root key have no key and no project. `used_at_ms` is up to a minute old."""

    id: str
    token_digest: bytes
    key_id: KeyId | None
    key_digest: bytes | None
    project_id: ProjectId | None
    agent: str
    created_at_ms: int
    used_at_ms: int

    def is_good(self, now_ms: int) -> bool:
        # It was read up to a few seconds ago, and used since.
        return now_ms < self.created_at_ms + LIFE_MS and now_ms < self.used_at_ms + IDLE_MS
