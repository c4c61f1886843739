"""Key sets behind an address: fetched through the egress process, kept, and asked for again with a bound."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from isolet.domain.tokens import check_jwks
from isolet.errors import InvalidInput, IsoletError
from isolet.ids import ProjectId
from isolet.runtime.egress import Egresses
from isolet.tasks import Tasks
from isolet.telemetry import get_logger
from isolet.wire import heads
from isolet.wire.channel import Channel

if TYPE_CHECKING:
    from isolet.identity.jose import KeySet

log = get_logger("tokens")

_KEEP_S = 300.0
# A token with a key nobody knows makes us look again, but not more often than this.
_ASK_AGAIN_S = 10.0
_TIMEOUT_S = 5.0
_MAX_BYTES = 262_144


class RemoteKeys:
    """The keys at one address. What was fetched once stays in use while the address does not answer.

    All who need them at a time wait for one fetch; a failure is remembered until it is time to ask again.
    """

    def __init__(self, url: str, project_id: ProjectId, egresses: Egresses) -> None:
        self._url = url
        self._project_id = project_id
        self._egresses = egresses
        self._tasks = Tasks()
        self._fetching: asyncio.Task[None] | None = None
        self._keys: KeySet | None = None
        self._asked_at = -_KEEP_S
        self._got_at = -_KEEP_S

    async def keys(self, key_id: str | None) -> KeySet | None:
        """The set, fetched anew when it is old or lacks `key_id`; None while none could be had."""
        if self._fetching is None and self._is_due(key_id):
            self._asked_at = time.monotonic()
            self._fetching = self._tasks.spawn(self._refresh(), name=f"keys of {self._project_id}")
            self._fetching.add_done_callback(self._fetched)
        if self._fetching is not None and (self._is_old or not self._knows(key_id)):
            # The fetch is everybody's: who leaves does not end it, and it has a deadline of its own.
            await asyncio.wait({self._fetching})
        return self._keys

    def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()

    def _fetched(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    def _knows(self, key_id: str | None) -> bool:
        return self._keys is not None and (key_id is None or any(key.kid == key_id for key in self._keys.keys))

    def _is_due(self, key_id: str | None) -> bool:
        if time.monotonic() - self._asked_at < _ASK_AGAIN_S:
            return False
        return self._is_old or not self._knows(key_id)

    @property
    def _is_old(self) -> bool:
        return time.monotonic() - self._got_at > _KEEP_S

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._egresses.use(self._project_id) as egress:
                text = await self._fetch(egress.channel)
            self._keys = key_set(text)
            self._got_at = time.monotonic()
        except (OSError, TimeoutError, IsoletError) as exc:
            log.warning("cannot fetch the keys of tokens", url=self._url, error=str(exc) or type(exc).__name__)

    async def _fetch(self, channel: Channel) -> Any:
        host = urlsplit(self._url).netloc.encode("ascii")
        head = heads.request(
            b"GET", self._url.encode("ascii"), heads.lines([(b"host", host), (b"accept", b"application/json")])
        )
        connection = await channel.connect()
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
            channel.release(connection)
        return parse(body)


def parse(body: bytes) -> Any:
    """Raises InvalidInput for what is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise InvalidInput("the key set is no JSON") from exc


def key_set(value: object) -> KeySet:
    """Raises InvalidInput."""
    from isolet.identity import jose  # noqa: PLC0415

    try:
        return jose.KeySet.import_key_set({"keys": check_jwks(value)})
    except (jose.JoseError, ValueError, TypeError, KeyError) as exc:
        raise InvalidInput(f"jwks holds a key that cannot be read: {exc}") from exc
