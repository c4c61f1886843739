"""The native route that copies the server's database."""

from __future__ import annotations

from contextlib import AsyncExitStack

from fastapi.responses import Response, StreamingResponse
from msgspec import Struct

from isolet.access.rules import Access, OfKey
from isolet.api.native.files import parts
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
        headers = {"content-length": str(file.stat().st_size)}
        return StreamingResponse(parts(file, stack), media_type="application/octet-stream", headers=headers)
