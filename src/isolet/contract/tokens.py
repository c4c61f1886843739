"""Whose signatures of end users' tokens a project trusts."""

from __future__ import annotations

from typing import Any

from isolet.contract.models import Body, Reply
from isolet.contract.operations import Mode, Resource, operation


class TokenRules(Body):
    """Exactly one of `hs256_secret`, `jwks` and `jwks_url`. `leeway_s` is what clocks may differ by, in seconds."""

    issuer: str | None = None
    audience: str | None = None
    hs256_secret: str | None = None
    jwks: dict[str, Any] | None = None
    jwks_url: str | None = None
    leeway_s: int = 30


class TokenRulesReply(Reply):
    """Null where nothing is set; the secret is hidden."""

    issuer: str | None
    audience: str | None
    hs256_secret: str | None
    jwks: dict[str, Any] | None
    jwks_url: str | None
    leeway_s: int


class Tokens(Resource[Mode]):
    tag = "projects"

    @operation("PUT", "/projects/{slug}/auth")
    def set(self, slug: str, body: TokenRules) -> TokenRulesReply:
        """Say whose signatures of end users' tokens a project trusts."""

    @operation("GET", "/projects/{slug}/auth")
    def get(self, slug: str) -> TokenRulesReply:
        """Whose signatures of end users' tokens a project trusts."""
