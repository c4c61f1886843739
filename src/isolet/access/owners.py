"""Which project owns a thing that is named by its id alone."""

from __future__ import annotations

from isolet.database import owners as stored
from isolet.database.connection import Database
from isolet.database.owners import Owned
from isolet.errors import NotFound
from isolet.ids import ProjectId, is_uuid


class Owners:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def project_of(self, kind: Owned, identifier: str) -> ProjectId:
        """Raises NotFound."""
        found = await self._database.read(stored.project_of, kind, identifier) if is_uuid(identifier) else None
        if found is None:
            raise NotFound("Not found")
        return found
