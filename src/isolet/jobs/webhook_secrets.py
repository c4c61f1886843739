"""The secrets that sign a project's callbacks. All of them sign, so that a receiver can change over in its own time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from isolet.clock import Clock
from isolet.database import webhook_secrets as stored
from isolet.database.connection import Database
from isolet.database.webhook_secrets import WebhookSecret
from isolet.domain.callbacks import new_secret
from isolet.errors import NotFound
from isolet.functions.vault import Vault
from isolet.ids import ProjectId, new_id

_KEPT_S = 5.0
WEBHOOK_SECRETS_MAX = 10


class WebhookSecrets:
    """Keys are held for five seconds: another server may have changed them."""

    def __init__(self, *, database: Database, vault: Vault, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._known: dict[ProjectId, tuple[float, Sequence[str]]] = {}

    async def keys(self, project_id: ProjectId) -> Sequence[str]:
        """The project's secrets, newest first; none while it made none."""
        until, known = self._known.get(project_id, (0.0, ()))
        if until > time.monotonic():
            return known
        found = await self.list(project_id)
        if found:
            # Another server may have made the project's first key.
            await self._vault.load_missing(project_id)
        opened = [self._vault.open_sealed(project_id, one.sealed, purpose=_purpose(one.id)) for one in found]
        self._known[project_id] = (time.monotonic() + _KEPT_S, opened)
        return opened

    async def list(self, project_id: ProjectId) -> Sequence[WebhookSecret]:
        return await self._database.read(stored.list_secrets, project_id)

    async def create(self, project_id: ProjectId) -> tuple[WebhookSecret, str]:
        """The secret's record and its text, which is not shown again. Raises Conflict when there are ten."""
        secret_id, text = new_id(), new_secret()
        sealed = await self._vault.seal(project_id, text, purpose=_purpose(secret_id))
        secret = WebhookSecret(id=secret_id, project_id=project_id, sealed=sealed, created_at_ms=self._clock.now_ms())
        await self._database.write(stored.insert_secret, secret, most=WEBHOOK_SECRETS_MAX)
        self._known.pop(project_id, None)
        return secret, text

    async def delete(self, project_id: ProjectId, secret_id: str) -> None:
        """It signs no more. Raises NotFound."""
        if not await self._database.write(stored.delete_secret, project_id, secret_id):
            raise NotFound("Webhook secret not found")
        self._known.pop(project_id, None)


def _purpose(secret_id: str) -> str:
    return f"webhook secret {secret_id}"
