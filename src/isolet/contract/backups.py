"""Backups of the KV and SQL of a project: archives that `restore` takes."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable

from isolet.contract.operations import Mode, Resource, operation, stream


class Backups(Resource[Mode]):
    tag = "backup"

    @stream("GET", "/projects/{slug}/backup", media_type="application/x-tar")
    def download(self, slug: str) -> bytes: ...

    @operation("POST", "/projects/{slug}/restore", status=204)
    def restore(self, slug: str, content: bytes | Iterable[bytes] | AsyncIterable[bytes]) -> None: ...
