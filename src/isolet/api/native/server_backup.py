"""The native route that copies the server's database."""

from __future__ import annotations

from contextlib import AsyncExitStack

from fastapi.responses import Response
from msgspec import Struct

from isolet.access.rules import Access, OfKey
from isolet.api.native.files import FileReply
from isolet.api.native.serving import serve
from isolet.contract.backups import Backups
from isolet.domain.access import Role
from isolet.project_data.server_copy import DatabaseCopies


class ServerBackupDoor(Struct, frozen=True, kw_only=True):
    copies: DatabaseCopies

    @serve(Backups.download_database, Access(Role.ADMIN, OfKey(), root=True))
    async def download_database(self) -> Response:
        """Needs the root key."""
        stack = AsyncExitStack()
        file = await stack.enter_async_context(self.copies.create())
        return FileReply(file, stack, media_type="application/octet-stream")
