"""The native API of a project's stores: KV, SQL, backup."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from msgspec import Struct
from starlette.convertors import register_url_convertor

from isolet.access.rules import Access, PathSlug
from isolet.api.body import Body
from isolet.api.native.files import FileReply
from isolet.api.native.parameters import Limit
from isolet.api.native.serving import page, serve
from isolet.api.request import Parts, open_body
from isolet.api.rows import GrantedProject
from isolet.clock import iso
from isolet.contract.backups import Backups
from isolet.contract.database import Database, DatabaseReply, ImportReply, SqlQuery, TableReply
from isolet.contract.kv import METADATA_HEADER, Kv, KvKeyReply
from isolet.contract.models import Page
from isolet.contract.stores import StoreReply, Stores
from isolet.domain.access import Role
from isolet.domain.projects import Project
from isolet.domain.stores import DEFAULT, StoreKind, check_store
from isolet.errors import InvalidInput
from isolet.ids import ProjectId
from isolet.invoke.spool import PART_BYTES
from isolet.project_data import kv, sql
from isolet.project_data.backup import Backups as BackupService
from isolet.project_data.kv import Kv as KvService
from isolet.project_data.kv import KvKey
from isolet.project_data.sql import Place, Sql
from isolet.project_data.stores import Store
from isolet.project_data.stores import Stores as StoreService
from isolet.settings import Settings
from isolet.wire.headers import get

_CHUNK = 1024 * 1024
_WHOLE = {"key": "kv_key"}
_DEPLOY = Access(Role.DEPLOY, PathSlug())
_READ = _DEPLOY.for_readers()
_ADMIN = Access(Role.ADMIN, PathSlug())


class _KeyConvertor(Parts):
    """The rest of the path, line breaks and all."""

    regex = "(?s:.*)"


register_url_convertor("kv_key", _KeyConvertor())


# Which store a request is about.
Named = Annotated[str, Query(max_length=63)]


class StorageDoor(Struct, frozen=True, kw_only=True):
    """Reading data needs the role `read` or `deploy`, writing `deploy`; a backup holds everything, and needs `admin`.

    What writes to a store that is not there makes it.
    """

    stores: StoreService
    kv: KvService
    sql: Sql
    backups: BackupService
    settings: Settings

    @serve(Kv.list, _READ)
    async def list_keys(
        self,
        project: GrantedProject,
        prefix: str = "",
        limit: Limit = 50,
        cursor: str | None = None,
        namespace: Named = DEFAULT,
    ) -> Response:
        place = await self.stores.known(project.id, StoreKind.KV, namespace)
        keys, following = await self.kv.list(project.id, prefix=prefix, limit=limit, cursor=cursor, namespace=place)
        # In ASCII: metadata may hold half a surrogate pair, which is no UTF-8.
        return await page(_key, keys, following)

    @serve(Kv.get, _READ, convertors=_WHOLE)
    async def get_value(
        self, request: Request, project: GrantedProject, key: str, namespace: Named = DEFAULT
    ) -> Response:
        _check_path(request)
        place = await self.stores.known(project.id, StoreKind.KV, namespace)
        found = await self.kv.get(project.id, key, namespace=place)
        headers = {METADATA_HEADER: found.metadata} if found.metadata is not None else {}
        if len(found.data) <= PART_BYTES:
            return Response(found.data, media_type="application/octet-stream", headers=headers)
        headers["content-length"] = str(len(found.data))
        return StreamingResponse(_parts(found.data), media_type="application/octet-stream", headers=headers)

    @serve(Kv.put, _DEPLOY, convertors=_WHOLE)
    async def put_value(
        self,
        request: Request,
        project: GrantedProject,
        key: str,
        expiration_ttl: int | None = None,
        namespace: Named = DEFAULT,
    ) -> None:
        _check_path(request)
        check_store(StoreKind.KV, namespace)
        metadata = _metadata(request)
        with self._body(request, project.id, kv.VALUE_MAX_BYTES, kv.TOO_LARGE) as body:
            value = await body.whole()
            place = await self.stores.made(project.id, StoreKind.KV, namespace)
            await self.kv.put(project.id, key, value, expiration_ttl=expiration_ttl, metadata=metadata, namespace=place)

    @serve(Kv.delete, _DEPLOY, convertors=_WHOLE)
    async def delete_value(
        self, request: Request, project: GrantedProject, key: str, namespace: Named = DEFAULT
    ) -> None:
        _check_path(request)
        place = await self.stores.known(project.id, StoreKind.KV, namespace)
        await self.kv.delete(project.id, key, namespace=place)

    @serve(Database.get, _READ)
    async def figures(self, project: GrantedProject, database: Named = DEFAULT) -> DatabaseReply:
        found = await self.sql.figures(await self._known(project, database))
        tables = [TableReply(name=name, rows=rows) for name, rows in found.tables.items()]
        return DatabaseReply(size_bytes=found.size_bytes, tables=tables)

    @serve(Database.query, _DEPLOY)
    async def query(self, project: GrantedProject, body: SqlQuery, database: Named = DEFAULT) -> Response:
        place = await self._made(project, database)
        parts = await self.sql.answer(place, body.sql, body.params, arrays=body.rows == "arrays")
        return StreamingResponse(parts, media_type="application/json")

    @serve(Database.export, _READ)
    async def export(self, project: GrantedProject, database: Named = DEFAULT) -> Response:
        text = await self.sql.export(await self._known(project, database), self.settings.max_body_bytes)
        return StreamingResponse(_encoded(text), media_type="application/sql; charset=utf-8")

    @serve(Database.import_text, _DEPLOY)
    async def import_text(
        self, request: Request, project: GrantedProject, replace: bool = False, database: Named = DEFAULT
    ) -> ImportReply:
        check_store(StoreKind.DATABASE, database)
        with self._body(request, project.id, sql.MESSAGE_MAX_BYTES, sql.TOO_LARGE) as body:
            text = await asyncio.to_thread(_text, await body.whole())
            place = await self._made(project, database)
            return ImportReply(statements=await self.sql.import_text(place, text, replace=replace))

    @serve(Stores.list_namespaces, _READ)
    async def list_namespaces(self, project: GrantedProject) -> Page[StoreReply]:
        return await self._stores(project, StoreKind.KV)

    @serve(Stores.delete_namespace, _DEPLOY)
    async def delete_namespace(self, project: GrantedProject, store: str) -> None:
        await self.stores.delete(project.id, StoreKind.KV, store)

    @serve(Stores.list_databases, _READ)
    async def list_databases(self, project: GrantedProject) -> Page[StoreReply]:
        return await self._stores(project, StoreKind.DATABASE)

    @serve(Stores.delete_database, _DEPLOY)
    async def delete_database(self, project: GrantedProject, store: str) -> None:
        await self.stores.delete(project.id, StoreKind.DATABASE, store)

    @serve(Backups.download, _ADMIN)
    async def backup(self, project: GrantedProject) -> Response:
        stack = AsyncExitStack()
        file = await stack.enter_async_context(self.backups.create(project.id))
        headers = {"content-disposition": f'attachment; filename="{project.slug}.backup.tar"'}
        return FileReply(file, stack, media_type="application/x-tar", headers=headers)

    @serve(Backups.restore, _ADMIN)
    async def restore(self, request: Request, project: GrantedProject) -> None:
        # A backup may be as large as the stores are: it goes to disk as it comes.
        async with self.backups.upload(project.id) as upload:
            with open_body(request, project.id, limit=upload.max_bytes) as body:
                async for part in body.parts():
                    await self.backups.write(upload, part)
            await self.backups.restore(upload)

    async def _stores(self, project: Project, kind: StoreKind) -> Page[StoreReply]:
        return Page[StoreReply](
            data=[_store(store) for store in await self.stores.list(project.id, kind)], next_cursor=None
        )

    async def _known(self, project: Project, database: str) -> Place:
        return Place(project.id, await self.stores.known(project.id, StoreKind.DATABASE, database))

    async def _made(self, project: Project, database: str) -> Place:
        return Place(project.id, await self.stores.made(project.id, StoreKind.DATABASE, database))

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


def _metadata(request: Request) -> str | None:
    """JSON in UTF-8, as it is anywhere else; what is none is Latin-1, as headers once were."""
    value = get(request.scope["headers"], METADATA_HEADER.encode())
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _store(store: Store) -> StoreReply:
    made = None if store.created_at_ms is None else iso(store.created_at_ms)
    return StoreReply(name=store.name, size_bytes=store.size_bytes, created_at=made)


def _key(key: KvKey) -> KvKeyReply:
    shown: dict[str, Any] = {"name": key.name}
    if key.expiration is not None:
        shown["expiration"] = key.expiration
    if key.metadata is not None:
        shown["metadata"] = key.metadata
    return KvKeyReply(**shown)


async def _parts(data: bytes) -> AsyncIterator[bytes]:
    """To write 25 MB at once would hold up the event loop."""
    for at in range(0, len(data), PART_BYTES):
        yield data[at : at + PART_BYTES]
