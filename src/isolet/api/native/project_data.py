"""The native API of a project's stores: KV, SQL, backup."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.convertors import register_url_convertor

from isolet.access.rules import Access, PathSlug
from isolet.api.body import Body
from isolet.api.native.parameters import Limit
from isolet.api.native.serving import page, serve
from isolet.api.request import Parts, open_body
from isolet.api.rows import GrantedProject
from isolet.contract.backups import Backups
from isolet.contract.database import Database, DatabaseReply, ImportReply, SqlQuery, TableReply
from isolet.contract.kv import METADATA_HEADER, Kv, KvKeyReply
from isolet.domain.access import Role
from isolet.errors import InvalidInput
from isolet.ids import ProjectId
from isolet.project_data import kv, sql
from isolet.project_data.backup import Backups as BackupService
from isolet.project_data.kv import Kv as KvService
from isolet.project_data.kv import KvKey
from isolet.project_data.sql import Sql
from isolet.settings import Settings

_CHUNK = 1024 * 1024
_WHOLE = {"key": "kv_key"}
_DEPLOY = Access(Role.DEPLOY, PathSlug())
_READ = _DEPLOY.for_readers()
_ADMIN = Access(Role.ADMIN, PathSlug())


class _KeyConvertor(Parts):
    """The rest of the path, line breaks and all."""

    regex = "(?s:.*)"


register_url_convertor("kv_key", _KeyConvertor())


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageDoor:
    """Reading and writing data needs the role `deploy`; a backup holds everything, and it and a restore `admin`."""

    kv: KvService
    sql: Sql
    backups: BackupService
    settings: Settings

    @serve(Kv.list, _READ)
    async def list_keys(
        self, project: GrantedProject, prefix: str = "", limit: Limit = 50, cursor: str | None = None
    ) -> Response:
        keys, following = await self.kv.list(project.id, prefix=prefix, limit=limit, cursor=cursor)
        # In ASCII: metadata may hold half a surrogate pair, which is no UTF-8.
        return await page(_key, keys, following)

    @serve(Kv.get, _READ, convertors=_WHOLE)
    async def get_value(self, request: Request, project: GrantedProject, key: str) -> Response:
        _check_path(request)
        found = await self.kv.get(project.id, key)
        headers = {METADATA_HEADER: found.metadata} if found.metadata is not None else {}
        return Response(found.data, media_type="application/octet-stream", headers=headers)

    @serve(Kv.put, _DEPLOY, convertors=_WHOLE)
    async def put_value(
        self, request: Request, project: GrantedProject, key: str, expiration_ttl: int | None = None
    ) -> None:
        _check_path(request)
        metadata = request.headers.get(METADATA_HEADER)
        with self._body(request, project.id, kv.VALUE_MAX_BYTES, kv.TOO_LARGE) as body:
            value = await body.whole()
            await self.kv.put(project.id, key, value, expiration_ttl=expiration_ttl, metadata=metadata)

    @serve(Kv.delete, _DEPLOY, convertors=_WHOLE)
    async def delete_value(self, request: Request, project: GrantedProject, key: str) -> None:
        _check_path(request)
        await self.kv.delete(project.id, key)

    @serve(Database.get, _READ)
    async def figures(self, project: GrantedProject) -> DatabaseReply:
        found = await self.sql.figures(project.id)
        tables = [TableReply(name=name, rows=rows) for name, rows in found.tables.items()]
        return DatabaseReply(size_bytes=found.size_bytes, tables=tables)

    @serve(Database.query, _DEPLOY)
    async def query(self, project: GrantedProject, body: SqlQuery) -> Response:
        parts = await self.sql.answer(project.id, body.sql, body.params, arrays=body.rows == "arrays")
        return StreamingResponse(parts, media_type="application/json")

    @serve(Database.export, _READ)
    async def export(self, project: GrantedProject) -> Response:
        text = await self.sql.export(project.id, self.settings.max_body_bytes)
        return StreamingResponse(_encoded(text), media_type="application/sql; charset=utf-8")

    @serve(Database.import_text, _DEPLOY)
    async def import_text(self, request: Request, project: GrantedProject, replace: bool = False) -> ImportReply:
        with self._body(request, project.id, sql.MESSAGE_MAX_BYTES, sql.TOO_LARGE) as body:
            text = await asyncio.to_thread(_text, await body.whole())
            return ImportReply(statements=await self.sql.import_text(project.id, text, replace=replace))

    @serve(Backups.download, _ADMIN)
    async def backup(self, project: GrantedProject) -> Response:
        stack = AsyncExitStack()
        file = await stack.enter_async_context(self.backups.create(project.id))
        headers = {
            "content-disposition": f'attachment; filename="{project.slug}.backup.tar"',
            "content-length": str(file.stat().st_size),
        }
        return StreamingResponse(_parts(file, stack), media_type="application/x-tar", headers=headers)

    @serve(Backups.restore, _ADMIN)
    async def restore(self, request: Request, project: GrantedProject) -> None:
        # A backup may be as large as the stores are: it goes to disk as it comes.
        with self.backups.upload(project.id) as upload:
            with open_body(request, project.id, limit=upload.max_bytes) as body:
                async for part in body.parts():
                    await self.backups.write(upload, part)
            await self.backups.restore(upload)

    def _body(self, request: Request, project_id: ProjectId, most: int, too_large: str) -> Body:
        """Bounded by what the store takes, unless this server takes less."""
        limit = self.settings.max_body_bytes
        if most < limit:
            return open_body(request, project_id, limit=most, too_large=too_large)
        return open_body(request, project_id, limit=limit)


def _text(body: bytes) -> str:
    """Raises InvalidInput. In parts, so that no step of it takes long."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        parts = [decoder.decode(body[start : start + _CHUNK]) for start in range(0, len(body), _CHUNK)]
        return "".join([*parts, decoder.decode(b"", final=True)])
    except UnicodeDecodeError as exc:
        raise InvalidInput("the SQL text is not UTF-8") from exc


def _encoded(text: str) -> Iterator[bytes]:
    """In parts, each encoded in a thread once the caller took the one before."""
    for start in range(0, len(text), _CHUNK):
        yield text[start : start + _CHUNK].encode()


def _check_path(request: Request) -> None:
    """Raises InvalidInput for a key that is not UTF-8: in the decoded path, several of them look the same."""
    try:
        unquote_to_bytes(request.scope["raw_path"]).decode()
    except UnicodeDecodeError as exc:
        raise InvalidInput("the key is not UTF-8") from exc


def _key(key: KvKey) -> KvKeyReply:
    shown: dict[str, Any] = {"name": key.name}
    if key.expiration is not None:
        shown["expiration"] = key.expiration
    if key.metadata is not None:
        shown["metadata"] = key.metadata
    return KvKeyReply(**shown)


async def _parts(file: Path, stack: AsyncExitStack) -> AsyncIterator[bytes]:
    async with stack:
        with file.open("rb") as opened:
            while part := await asyncio.to_thread(opened.read, _CHUNK):
                yield part
