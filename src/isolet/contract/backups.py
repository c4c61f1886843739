"""Backups: of the KV and SQL of a project, as archives that `restore` takes, and of the server's own database."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable

from isolet.contract.operations import Mode, Resource, operation, stream


class Backups(Resource[Mode]):
    tag = "backup"

    @stream("GET", "/projects/{slug}/backup", media_type="application/x-tar")
    def download(self, slug: str) -> bytes:
        """KV and SQL of a project as one archive, of one moment."""

    @stream("GET", "/backup/database", media_type="application/octet-stream")
    def download_database(self) -> bytes:
        """All but what projects store: a file of SQLite, or an archive of pg_dump where the database is PostgreSQL.

        The master key, which opens the secrets in it, is not in it.
        """

    @operation("POST", "/projects/{slug}/restore", status=204)
    def restore(self, slug: str, content: bytes | Iterable[bytes] | AsyncIterable[bytes]) -> None:
        """Replace KV and SQL of a project with those of an archive, which is checked first."""
