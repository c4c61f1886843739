"""Secrets of functions. Values are never shown."""

from __future__ import annotations

from typing import Any

from isolet.contract.models import Body, Page, Reply
from isolet.contract.operations import Mode, Resource, operation


class SecretValue(Body):
    """A text, or an object or list that arrives parsed."""

    value: Any


class SecretReply(Reply):
    name: str
    type: str
    created_at: str


class Secrets(Resource[Mode]):
    tag = "functions"

    @operation("GET", "/functions/{function_id}/secrets")
    def list(self, function_id: str) -> Page[SecretReply]:
        """Names of the secrets of a function."""

    @operation("PUT", "/functions/{function_id}/secrets/{secret_name}")
    def put(self, function_id: str, secret_name: str, body: SecretValue) -> SecretReply:
        """In the place of an earlier value too."""

    @operation("DELETE", "/functions/{function_id}/secrets/{secret_name}", status=204)
    def delete(self, function_id: str, secret_name: str) -> None:
        """Delete a secret."""
