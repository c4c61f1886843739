"""The native API of end users' tokens: whose signatures a project trusts."""

from __future__ import annotations

from msgspec import Struct

from isolet.access.rules import Access, PathSlug
from isolet.api.native.serving import serve
from isolet.api.rows import GrantedProject
from isolet.contract.tokens import TokenRules, TokenRulesReply, Tokens
from isolet.domain.access import Role
from isolet.domain.tokens import TokenSettings
from isolet.identity.identity import Identities

_ADMIN = Access(Role.ADMIN, PathSlug())


class TokenDoor(Struct, frozen=True, kw_only=True):
    identities: Identities

    @serve(Tokens.set, _ADMIN)
    async def set_token_rules(self, project: GrantedProject, body: TokenRules) -> TokenRulesReply:
        await self.identities.set(project.id, body.model_dump())
        return _shown(self.identities.settings(project.id))

    @serve(Tokens.get, _ADMIN)
    async def get_token_rules(self, project: GrantedProject) -> TokenRulesReply:
        return _shown(self.identities.settings(project.id))


def _shown(settings: TokenSettings | None) -> TokenRulesReply:
    """All members; null where nothing is set, and never the secret."""
    found = settings or TokenSettings()
    return TokenRulesReply(
        issuer=found.issuer,
        audience=found.audience,
        hs256_secret=found.hs256_secret,
        jwks=found.jwks,
        jwks_url=found.jwks_url,
        leeway_s=found.leeway_s,
    )
