"""Key sets behind an address: fetched through the egress process, kept, and asked for again with a bound."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from isolet.domain.tokens import check_jwks
from isolet.errors import FunctionCrashed, InvalidHead, InvalidInput
from isolet.runtime.channel import Channel
from isolet.telemetry import get_logger
from isolet.wire import heads

if TYPE_CHECKING:
    from isolet.invoke.jose import KeySet

log = get_logger("tokens")

_KEEP_S = 300.0
# A token with a key nobody knows makes us look again, but not more often than this.
_ASK_AGAIN_S = 10.0
_TIMEOUT_S = 5.0
_MAX_BYTES = 262_144


class RemoteKeys:
    """The keys at one address. What was fetched once stays in use while the address does not answer."""

    def __init__(self, url: str, egress_socket: Path) -> None:
        self._url = url
        self._channel = Channel(str(egress_socket))
        self._lock = asyncio.Lock()
        self._keys: KeySet | None = None
        self._asked_at = -_KEEP_S

    async def keys(self, key_id: str | None) -> KeySet | None:
        """The set, fetched anew when it is old or lacks `key_id`; None while none could be had."""
        if self._is_due(key_id):
            async with self._lock:
                if self._is_due(key_id):
                    await self._refresh()
        return self._keys

    def close(self) -> None:
        self._channel.close()

    def _is_due(self, key_id: str | None) -> bool:
        age_s = time.monotonic() - self._asked_at
        if age_s < _ASK_AGAIN_S:
            return False
        known = self._keys is not None and (key_id is None or any(key.kid == key_id for key in self._keys.keys))
        return not known or age_s > _KEEP_S

    async def _refresh(self) -> None:
        self._asked_at = time.monotonic()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                text = await self._fetch()
            self._keys = key_set(text)
        except (OSError, TimeoutError, FunctionCrashed, InvalidHead, InvalidInput) as exc:
            log.warning("cannot fetch the keys of tokens", url=self._url, error=str(exc) or type(exc).__name__)

    async def _fetch(self) -> Any:
        host = urlsplit(self._url).netloc.encode("ascii")
        head = heads.request(
            b"GET", self._url.encode("ascii"), heads.lines([(b"host", host), (b"accept", b"application/json")])
        )
        connection = await self._channel.connect()
        try:
            connection.begin(head)
            await connection.head()
            body = b""
            while part := await connection.chunk():
                body += part
                if len(body) > _MAX_BYTES:
                    raise InvalidInput("the key set is too large")
            if connection.status != 200:
                text = body[:200].decode(errors="replace").strip()
                raise InvalidInput(f"status {connection.status}: {text}")
        finally:
            self._channel.release(connection)
        return parse(body)


def parse(body: bytes) -> Any:
    """Raises InvalidInput for what is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise InvalidInput("the key set is no JSON") from exc


def key_set(value: object) -> KeySet:
    """Raises InvalidInput."""
    from isolet.invoke import jose  # noqa: PLC0415

    try:
        return jose.KeySet.import_key_set({"keys": check_jwks(value)})
    except (jose.JoseError, ValueError, TypeError, KeyError) as exc:
        raise InvalidInput(f"jwks holds a key that cannot be read: {exc}") from exc
