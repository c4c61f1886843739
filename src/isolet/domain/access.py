"""Who may do what: keys, their roles, and the principal that a request acts as."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum

from isolet.errors import Forbidden, InvalidInput, NotFound
from isolet.ids import KeyId, ProjectId

KEY_PREFIX = "isk_"
TOKEN_PREFIX = "ist_"  # noqa: S105


class Role(StrEnum):
    """`invoke` may call functions, `deploy` may also manage them, `admin` everything in its project."""

    INVOKE = "invoke"
    DEPLOY = "deploy"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return list(Role).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A project's API key; only the SHA-256 of its text is kept."""

    id: KeyId
    project_id: ProjectId
    name: str
    role: Role
    digest: bytes
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
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
    try:
        return Role(str(value))
    except ValueError:
        raise InvalidInput(f"role must be one of {', '.join(Role)}") from None
