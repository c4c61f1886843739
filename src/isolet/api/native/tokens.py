"""The native API of end users' tokens: whose signatures a project trusts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from isolet.access.rules import Access, PathSlug
from isolet.api.rows import GrantedProject, route
from isolet.domain.access import Role
from isolet.domain.tokens import TokenSettings
from isolet.identity.identity import Identities

_ADMIN = Access(Role.ADMIN, PathSlug())


class TokenRules(BaseModel):
    """Exactly one of `hs256_secret`, `jwks` and `jwks_url`. `leeway_s` is what clocks may differ by, in seconds."""

    model_config = ConfigDict(extra="forbid")

    issuer: str | None = None
    audience: str | None = None
    hs256_secret: str | None = None
    jwks: dict[str, Any] | None = None
    jwks_url: str | None = None
    leeway_s: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDoor:
    identities: Identities

    @route("PUT", "/projects/{slug}/auth", _ADMIN, tags=["projects"])
    async def set_token_rules(self, project: GrantedProject, body: TokenRules) -> dict[str, Any]:
        await self.identities.set(project.id, body.model_dump())
        return _shown(self.identities.settings(project.id))

    @route("GET", "/projects/{slug}/auth", _ADMIN, tags=["projects"])
    async def get_token_rules(self, project: GrantedProject) -> dict[str, Any]:
        return _shown(self.identities.settings(project.id))


def _shown(settings: TokenSettings | None) -> dict[str, Any]:
    """All members; null where nothing is set, and never the secret."""
    found = settings or TokenSettings()
    return {
        "issuer": found.issuer,
        "audience": found.audience,
        "hs256_secret": found.hs256_secret,
        "jwks": found.jwks,
        "jwks_url": found.jwks_url,
        "leeway_s": found.leeway_s,
    }
