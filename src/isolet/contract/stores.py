"""The KV namespaces and SQL databases of a project."""

from __future__ import annotations

from isolet.contract.models import Page, Reply
from isolet.contract.operations import Mode, Resource, operation


class StoreReply(Reply):
    """`size_bytes` of a namespace is that of its database; values over 64 KiB are beside it."""

    name: str
    size_bytes: int
    created_at: str | None


class Stores(Resource[Mode]):
    tag = "stores"

    @operation("GET", "/projects/{slug}/namespaces")
    def list_namespaces(self, slug: str) -> Page[StoreReply]:
        """All of them, by name."""

    @operation("DELETE", "/projects/{slug}/namespaces/{store}", status=204)
    def delete_namespace(self, slug: str, store: str) -> None:
        """With all in it; 409 while a function is bound to it."""

    @operation("GET", "/projects/{slug}/databases")
    def list_databases(self, slug: str) -> Page[StoreReply]:
        """All of them, by name."""

    @operation("DELETE", "/projects/{slug}/databases/{store}", status=204)
    def delete_database(self, slug: str, store: str) -> None:
        """With all in it; 409 while a function is bound to it."""
