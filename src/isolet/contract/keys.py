"""API keys of projects."""

from __future__ import annotations

from isolet.contract.models import Body, Page, Reply
from isolet.contract.operations import Mode, Resource, operation


class KeyCreate(Body):
    """`role` is `read`, `invoke`, `deploy` or `admin`; the key is refused from `expires_at` on, a time in ISO 8601."""

    name: str
    role: str
    expires_at: str | None = None


class KeyReply(Reply):
    id: str
    name: str
    role: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None


class NewKeyReply(KeyReply):
    """`key` is the key itself, shown this once."""

    key: str


class Keys(Resource[Mode]):
    tag = "keys"

    @operation("POST", "/projects/{slug}/keys", status=201)
    def create(self, slug: str, body: KeyCreate) -> NewKeyReply:
        """Make a key. Its text is shown this once."""

    @operation("GET", "/projects/{slug}/keys")
    def list(self, slug: str, *, limit: int = 50, cursor: str | None = None) -> Page[KeyReply]:
        """The keys of a project, without their texts."""

    @operation("DELETE", "/projects/{slug}/keys/{key_id}", status=204)
    def delete(self, slug: str, key_id: str) -> None:
        """Delete a key. Streams that it opened end."""
