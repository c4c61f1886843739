"""A project's KV namespaces, as its functions see them in `env.KV` and in further bindings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct

from isolet.domain.stores import DEFAULT, StoreKind
from isolet.errors import InvalidInput, NotFound, TooLarge, Unavailable
from isolet.ids import ProjectId
from isolet.project_data.exchange import Answer, ask
from isolet.runtime.config import STORE_HEADER
from isolet.runtime.storage.port import ProjectStorages

KEY_MAX_BYTES = 512
VALUE_MAX_BYTES = 25 * 1024 * 1024
TOO_LARGE = f"value is larger than {VALUE_MAX_BYTES} bytes"
METADATA_MAX_BYTES = 1024
TTL_MAX_S = 100 * 365 * 86_400
# 500 keys and their metadata, each character escaped. A store that was restored may hold what no `put` takes.
_PAGE_MAX_BYTES = 4 * 1024 * 1024
_EXPIRATION_MAX_S = 2**53
_METADATA = "cf-kv-metadata"


class KvKey(Struct, frozen=True, kw_only=True):
    """`expiration` is in seconds since the epoch; `metadata` is a JSON value."""

    name: str
    expiration: int | None
    metadata: Any


class KvValue(Struct, frozen=True, kw_only=True):
    """`metadata` is JSON text in ASCII."""

    data: bytes
    metadata: str | None


class Kv:
    """Each method is about one namespace, which is there."""

    def __init__(self, storages: ProjectStorages) -> None:
        self._storages = storages

    async def list(
        self, project_id: ProjectId, *, prefix: str, limit: int, cursor: str | None, namespace: str = DEFAULT
    ) -> tuple[Sequence[KvKey], str | None]:
        """A page of keys in order, and the cursor of the next one."""
        query = {"prefix": prefix, "key_count_limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        target = "/?" + urlencode(query)
        answer = await self._ask(project_id, namespace, "GET", target, max_bytes=_PAGE_MAX_BYTES)
        # Keys with their metadata may be a megabyte, of many small values.
        return await asyncio.to_thread(_keys, answer.body)

    async def get(self, project_id: ProjectId, key: str, *, namespace: str = DEFAULT) -> KvValue:
        """Raises NotFound."""
        answer = await self._ask(project_id, namespace, "GET", _path(key))
        metadata = answer.header(_METADATA.encode())
        if metadata is not None:
            metadata = _compact(await asyncio.to_thread(_read_metadata, metadata.encode("latin-1")))
        return KvValue(data=answer.body, metadata=metadata)

    async def put(
        self,
        project_id: ProjectId,
        key: str,
        value: bytes,
        *,
        expiration_ttl: int | None = None,
        metadata: str | None = None,
        namespace: str = DEFAULT,
    ) -> None:
        """`expiration_ttl` in seconds, 60 to `TTL_MAX_S`; `metadata` is JSON text. Raises InvalidInput, TooLarge."""
        if len(value) > VALUE_MAX_BYTES:
            raise TooLarge(TOO_LARGE)
        if expiration_ttl is not None and expiration_ttl > TTL_MAX_S:
            raise InvalidInput(f"expiration_ttl is larger than {TTL_MAX_S}")
        query = "" if expiration_ttl is None else f"?expiration_ttl={expiration_ttl}"
        headers = {} if metadata is None else {_METADATA: _check_metadata(metadata)}
        await self._ask(project_id, namespace, "PUT", _path(key) + query, headers=headers, body=value)

    async def delete(self, project_id: ProjectId, key: str, *, namespace: str = DEFAULT) -> None:
        """Also when there is none."""
        await self._ask(project_id, namespace, "DELETE", _path(key))

    async def _ask(
        self,
        project_id: ProjectId,
        namespace: str,
        method: str,
        target: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        max_bytes: int = VALUE_MAX_BYTES,
    ) -> Answer:
        """Raises NotFound, InvalidInput for what the store refuses, Unavailable when it fails, as on a full disk.

        Raises TooLarge for an answer of more than `max_bytes`.
        """
        async with self._storages.use(project_id) as storage:
            way, named = storage.way_to(StoreKind.KV), {**(headers or {}), STORE_HEADER: namespace}
            answer = await ask(way, method, target, headers=named, body=body, max_bytes=max_bytes)
        if answer.status == 404:
            raise NotFound("Key not found")
        if answer.status == 413:
            raise TooLarge(answer.reason)
        if answer.status >= 500:
            raise Unavailable(f"the project's storage failed: {answer.reason}")
        if not 200 <= answer.status < 300:
            raise InvalidInput(answer.reason or f"the store answered {answer.status}")
        return answer


def _keys(answer: bytes) -> tuple[list[KvKey], str | None]:
    page = json.loads(answer)
    return [_key(key) for key in page["keys"]], page.get("cursor")


def _key(told: dict[str, Any]) -> KvKey:
    expiration = told.get("expiration")
    is_time = type(expiration) is int and 0 <= expiration <= _EXPIRATION_MAX_S
    return KvKey(
        name=str(told["name"]),
        expiration=expiration if is_time else None,
        metadata=_read_metadata(told["metadata"]) if "metadata" in told else None,
    )


def _read_metadata(stored: str | bytes) -> Any:
    """The value. What no `put` wrote, as in a store that was restored, is given as text, as much as there may be."""
    try:
        value = json.loads(stored)
        # A function's own JSON may be a little longer than ours.
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        if len(text.encode(errors="surrogatepass")) <= 2 * METADATA_MAX_BYTES:
            return value
    except (ValueError, TypeError, RecursionError):
        pass
    shown = stored.decode(errors="replace") if isinstance(stored, bytes) else str(stored)
    return shown[:METADATA_MAX_BYTES]


def _path(key: str) -> str:
    if not key or key in (".", ".."):
        raise InvalidInput(f"{key!r} cannot be a key")
    if len(key.encode()) > KEY_MAX_BYTES:
        raise InvalidInput(f"key is longer than {KEY_MAX_BYTES} bytes")
    return "/" + quote(key, safe="")


def _check_metadata(text: str) -> str:
    """The metadata as it travels in a header: ASCII only."""
    try:
        value = json.loads(text)
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())
    except (ValueError, RecursionError) as exc:
        raise InvalidInput("metadata is not JSON") from exc
    if size > METADATA_MAX_BYTES:
        raise InvalidInput(f"metadata is larger than {METADATA_MAX_BYTES} bytes")
    return _compact(value)


def _compact(value: Any) -> str:
    """JSON in ASCII."""
    return json.dumps(value, separators=(",", ":"))
