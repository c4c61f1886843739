"""The KV of a project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from msgspec import Struct

from isolet.contract.models import Page, Reply
from isolet.contract.operations import Mode, Resource, operation

METADATA_HEADER = "x-kv-metadata"


class KvKeyReply(Reply):
    """`expiration` is in seconds since the epoch, `metadata` any JSON; absent where the key has none."""

    name: str
    expiration: int | None = None
    metadata: Any = None


class KvValue(Struct, frozen=True, kw_only=True):
    """`metadata` is JSON text."""

    data: bytes
    metadata: str | None

    @classmethod
    def from_reply(cls, headers: Mapping[str, str], content: bytes) -> Self:
        return cls(data=content, metadata=headers.get(METADATA_HEADER))


class Kv(Resource[Mode]):
    tag = "kv"

    @operation("GET", "/projects/{slug}/kv")
    def list(
        self, slug: str, *, prefix: str = "", limit: int = 50, cursor: str | None = None, namespace: str = "default"
    ) -> Page[KvKeyReply]:
        """Entries by the order of their names."""

    @operation("GET", "/projects/{slug}/kv/{key}", media_type="application/octet-stream")
    def get(self, slug: str, key: str, *, namespace: str = "default") -> KvValue:
        """A value as it was stored, with its metadata in a header."""

    @operation("PUT", "/projects/{slug}/kv/{key}", status=204, headers={"metadata": METADATA_HEADER})
    def put(
        self,
        slug: str,
        key: str,
        content: bytes,
        *,
        expiration_ttl: int | None = None,
        metadata: str | None = None,
        namespace: str = "default",
    ) -> None:
        """`expiration_ttl` is in seconds; `metadata` is JSON text."""

    @operation("DELETE", "/projects/{slug}/kv/{key}", status=204)
    def delete(self, slug: str, key: str, *, namespace: str = "default") -> None:
        """Delete an entry; one that is not there is no error."""
