"""The native API of end users' tokens: whose signatures a project trusts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from isolet.api.native.access import NativeAccess
from isolet.domain.access import Role
from isolet.domain.tokens import TokenSettings
from isolet.identity.identity import Identities


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
    access: NativeAccess
    identities: Identities

    def router(self) -> APIRouter:
        router = self.access.router("/projects/{slug}/auth")

        @router.put("", tags=["projects"])
        async def set_token_rules(request: Request, slug: str, body: TokenRules) -> dict[str, Any]:
            project = self.access.project(request, slug, Role.ADMIN)
            await self.identities.set(project.id, body.model_dump())
            return _shown(self.identities.settings(project.id))

        @router.get("", tags=["projects"])
        async def get_token_rules(request: Request, slug: str) -> dict[str, Any]:
            project = self.access.project(request, slug, Role.ADMIN)
            return _shown(self.identities.settings(project.id))

        return router


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
