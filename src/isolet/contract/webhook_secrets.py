"""Secrets that sign the callbacks of a project; all active ones sign."""

from __future__ import annotations

from isolet.contract.models import Page, Reply
from isolet.contract.operations import Mode, Resource, operation


class WebhookSecretReply(Reply):
    id: str
    created_at: str


class NewWebhookSecretReply(WebhookSecretReply):
    """`secret` is shown this once."""

    secret: str


class WebhookSecrets(Resource[Mode]):
    tag = "webhook secrets"

    @operation("POST", "/projects/{slug}/webhook-secrets", status=201)
    def create(self, slug: str) -> NewWebhookSecretReply:
        """Make a secret that callbacks are signed with. Its text is shown this once."""

    @operation("GET", "/projects/{slug}/webhook-secrets")
    def list(self, slug: str) -> Page[WebhookSecretReply]:
        """The secrets that callbacks are signed with, without their texts."""

    @operation("DELETE", "/projects/{slug}/webhook-secrets/{secret_id}", status=204)
    def delete(self, slug: str, secret_id: str) -> None:
        """Delete a secret that callbacks are signed with."""
