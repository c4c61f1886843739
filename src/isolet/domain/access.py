"""Who may do what: keys, their roles, and the principal that a request acts as."""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum

from msgspec import Struct

from isolet.clock import parse_iso
from isolet.domain.choices import one_of
from isolet.errors import Forbidden, InvalidInput, NotFound
from isolet.ids import KeyId, ProjectId

KEY_PREFIX = "isk_"
TOKEN_PREFIX = "ist_"  # noqa: S105


class Role(StrEnum):
    """`read` may look, `invoke` may call functions, `deploy` may also manage them, `admin` everything in a project.

    What takes `deploy` to change is shown to `read`, too, but not to `invoke`.
    """

    READ = "read"
    INVOKE = "invoke"
    DEPLOY = "deploy"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {role: rank for rank, role in enumerate(Role)}


class Key(Struct, frozen=True, kw_only=True):
    """A project's API key; only the SHA-256 of its text is kept.

    It is refused from `expires_at_ms` on. `last_used_at_ms` is as the database has it: some seconds old, and older in
    memory.
    """

    id: KeyId
    project_id: ProjectId
    name: str
    role: Role
    digest: bytes
    created_at_ms: int
    expires_at_ms: int | None = None
    last_used_at_ms: int | None = None

    def is_good(self, now_ms: int) -> bool:
        return self.expires_at_ms is None or now_ms < self.expires_at_ms


class Principal(Struct, frozen=True, kw_only=True):
    """What a good credential stands for. The root key has no project and acts on every one."""

    role: Role
    key_id: KeyId | None = None
    project_id: ProjectId | None = None

    @property
    def is_root(self) -> bool:
        return self.project_id is None

    def sees(self, project_id: ProjectId) -> bool:
        return self.project_id is None or self.project_id == project_id

    def require(self, role: Role, project_id: ProjectId, *, missing: str = "not found") -> None:
        """Raises NotFound for another's project, Forbidden for a role that is too small."""
        if not self.sees(project_id):
            raise NotFound(missing)
        if self.role.rank < role.rank:
            raise Forbidden(f"This key has the role {self.role}; this needs {role}")


def new_key() -> str:
    """Key text with 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> bytes:
    """SHA-256 of the key text; enough for keys that are random themselves."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def check_role(value: object) -> Role:
    return one_of("role", value, Role)


def check_expiry(value: object, now_ms: int) -> int | None:
    """When a key is to expire, in milliseconds since the epoch; None for never. Raises InvalidInput."""
    if value is None:
        return None
    try:
        at_ms = parse_iso(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        at_ms = None
    if at_ms is None:
        raise InvalidInput("expires_at must be a time such as 2027-01-31T12:00:00Z")
    if at_ms <= now_ms:
        raise InvalidInput("expires_at must be in the future")
    return at_ms
