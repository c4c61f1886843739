"""Who an end user's token stands for."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from isolet.clock import Clock
from isolet.database import tokens as stored
from isolet.database.connection import Database
from isolet.domain.tokens import (
    TOKEN_MAX_BYTES,
    TokenSettings,
    check_settings,
    refusal_of,
)
from isolet.errors import InvalidInput
from isolet.functions.vault import Vault
from isolet.identity.jwks import RemoteKeys, key_set
from isolet.ids import ProjectId
from isolet.runtime.egress import Egresses

if TYPE_CHECKING:
    from isolet.identity.jose import KeySet, OctKey


_JOSE = "isolet.identity.jose"


class User(Struct, frozen=True):
    """An end user, with all that the token claims."""

    id: str
    claims: Mapping[str, Any]


class TokenRefused(Exception):
    """`reason` is for the operator, not for the caller."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Identities:
    """The settings of every project, in memory; each has one kind of key, and with it the algorithms it takes."""

    def __init__(self, *, database: Database, vault: Vault, clock: Clock, egresses: Egresses) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._egresses = egresses
        self._settings: dict[ProjectId, TokenSettings] = {}
        self._keys: dict[ProjectId, OctKey | KeySet | RemoteKeys] = {}
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Take over what changed, one project in a turn of the loop: keys take their time to be read."""
        async with self._changing:
            for project_id, values, sealed in await self._database.read(stored.list_token_settings):
                settings = check_settings({**values, "hs256_secret": self._open(project_id, sealed)})
                if settings != self._settings.get(project_id):
                    await _load_jose()
                    self._take(project_id, settings, self._keys_of(project_id, settings))
                await asyncio.sleep(0)

    def settings(self, project_id: ProjectId) -> TokenSettings | None:
        """Without the secret, which is shown as `***`."""
        found = self._settings.get(project_id)
        return replace(found, hs256_secret="***") if found is not None and found.hs256_secret else found  # noqa: S106

    async def set(self, project_id: ProjectId, values: dict[str, Any]) -> None:
        """Replace the whole. Raises InvalidInput."""
        settings = check_settings(values)
        await _load_jose()
        keys = self._keys_of(project_id, settings)
        shown = {
            "issuer": settings.issuer,
            "audience": settings.audience,
            "jwks": settings.jwks,
            "jwks_url": settings.jwks_url,
            "leeway_s": settings.leeway_s,
        }
        async with self._changing:
            sealed = None
            if settings.hs256_secret is not None:
                sealed = await self._vault.seal(project_id, settings.hs256_secret, purpose=_purpose(project_id))
            now_ms = self._clock.now_ms()
            await self._database.write(stored.put_token_settings, project_id, shown, sealed, now_ms)
            self._take(project_id, settings, keys)

    def forget(self, project_id: ProjectId) -> None:
        """The project is gone."""
        self._settings.pop(project_id, None)
        keys = self._keys.pop(project_id, None)
        if isinstance(keys, RemoteKeys):
            keys.close()

    def close(self) -> None:
        for project_id in list(self._settings):
            self.forget(project_id)

    async def user(self, project_id: ProjectId, token: str) -> str | None:
        """The subject of a good token; None for every other text."""
        try:
            return (await self.verify(project_id, token)).id
        except TokenRefused:
            return None

    async def verify(self, project_id: ProjectId, token: str) -> User:
        """The user of a good token. Raises TokenRefused."""
        settings = self._settings.get(project_id)
        if settings is None:
            raise TokenRefused("the project has no settings for tokens")
        if len(token) > TOKEN_MAX_BYTES or token.count(".") != 2:
            raise TokenRefused("it is not a signed JSON Web Token")
        from isolet.identity import jose  # noqa: PLC0415  # Loaded by then: there are keys.

        keys = self._keys[project_id]
        found: OctKey | KeySet | None
        try:
            if isinstance(keys, RemoteKeys):
                found = await keys.keys(_text(jose.header(token).get("kid")))
            else:
                found = keys
            if found is None:
                raise TokenRefused("its key is not among the project's keys, or they could not be fetched")
            claims = jose.verified(token, found)
        except (jose.JoseError, ValueError, TypeError, KeyError, RecursionError) as exc:
            raise TokenRefused("its signature is not good, or it is not a signed JSON Web Token") from exc
        if (refusal := refusal_of(claims, settings, self._clock.now_ms() / 1000)) is not None:
            raise TokenRefused(refusal)
        return User(claims["sub"], claims)

    def _take(self, project_id: ProjectId, settings: TokenSettings, keys: OctKey | KeySet | RemoteKeys) -> None:
        self.forget(project_id)
        self._settings[project_id] = settings
        self._keys[project_id] = keys

    def _keys_of(self, project_id: ProjectId, settings: TokenSettings) -> OctKey | KeySet | RemoteKeys:
        """Raises InvalidInput."""
        from isolet.identity import jose  # noqa: PLC0415

        if settings.hs256_secret is not None:
            try:
                return jose.OctKey.import_key(settings.hs256_secret.encode())
            except ValueError as exc:
                raise InvalidInput(f"hs256_secret is no shared secret: {exc}") from exc
        if settings.jwks_url is not None:
            return RemoteKeys(settings.jwks_url, project_id, self._egresses)
        return key_set(settings.jwks)

    def _open(self, project_id: ProjectId, sealed: bytes | None) -> str | None:
        if sealed is None:
            return None
        return self._vault.open_sealed(project_id, sealed, purpose=_purpose(project_id))


async def _load_jose() -> None:
    """In a thread: it takes a twentieth of a second the first time."""
    if _JOSE not in sys.modules:
        await asyncio.to_thread(importlib.import_module, _JOSE)


def _purpose(project_id: ProjectId) -> str:
    return f"token secret of {project_id}"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
