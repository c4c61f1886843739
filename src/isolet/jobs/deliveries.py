"""The kind of deliveries: callbacks go out through the egress process of a project, which alone resolves names.

No redirect is followed, an answer is read to 64 KiB, and the whole exchange has one deadline.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from functools import partial
from urllib.parse import urlsplit

from msgspec import Struct

from isolet.clock import Clock
from isolet.database.conclusions import Outcome
from isolet.domain import callbacks
from isolet.domain.http_jobs import DeliveryPayload, ReplyHead
from isolet.domain.jobs import Attempt, Job, JobEvent, Result, concluded
from isolet.domain.retries import delivery_delay_ms
from isolet.errors import IsoletError, StoreError, StoreRefused
from isolet.jobs.handler import Handler
from isolet.jobs.webhook_secrets import WebhookSecrets
from isolet.runtime.egress import Egresses
from isolet.telemetry import get_logger
from isolet.wire import heads
from isolet.wire.channel import Channel, Connection
from isolet.wire.headers import get

log = get_logger("jobs")

_ANSWER_MAX_BYTES = 65_536
_KEPT_BYTES = 1_024
# A result may have 16 MiB, and a project ten secrets.
_SIGNED_AT_ONCE_BYTES = 262_144
_GONE = 410
_EGRESS_HEADER = b"x-isolet-egress"


class Deliveries(Handler):
    def __init__(
        self,
        *,
        egresses: Egresses,
        secrets: WebhookSecrets,
        clock: Clock,
        schedule_s: Sequence[float],
        timeout_s: float,
        host_limit: int,
    ) -> None:
        self._egresses = egresses
        self._secrets = secrets
        self._clock = clock
        self._schedule_s = schedule_s
        self._timeout_s = timeout_s
        self._host_limit = host_limit

    def lane(self, job: Job) -> str:
        return callbacks.group_of(job.target)

    def lane_limit(self, lane: str) -> int:
        return self._host_limit

    async def run(self, job: Job) -> Outcome:
        """The job after one attempt at its delivery."""
        began_ms, began = self._clock.now_ms(), time.monotonic()
        answer = await self._deliver(job)
        result, now_ms = answer.result, self._clock.now_ms()
        attempt = Attempt(
            at_ms=began_ms,
            duration_ms=round((time.monotonic() - began) * 1000),
            status=answer.status or None,
            error=result.error,
        )
        if result.error is None:
            return Outcome(job=concluded(job, JobEvent.SUCCEEDED, now_ms, attempt=attempt, result=result))
        spread = random.random()  # noqa: S311 – spreads load
        delay_ms = delivery_delay_ms(self._schedule_s, job.attempts + 1, spread, retry_after_ms=answer.wanted_ms)
        if delay_ms is None or answer.status == _GONE:
            return Outcome(job=concluded(job, JobEvent.FAILED, now_ms, attempt=attempt, result=result))
        after = concluded(job, JobEvent.RETRIED, now_ms, attempt=attempt, result=result, delay_ms=delay_ms)
        return Outcome(job=after)

    async def _deliver(self, job: Job) -> _Answer:
        try:
            data = await self._request(job)
            # No two projects share a connection.
            async with asyncio.timeout(self._timeout_s), self._egresses.use(job.project_id) as egress:
                return await self._exchange(egress.channel, data)
        except TimeoutError:
            return _Answer(error=f"no complete answer within {self._timeout_s:g} s")
        except (OSError, IsoletError) as exc:
            if isinstance(exc, StoreError) and not isinstance(exc, StoreRefused):
                # The store is away, and nothing was sent: it is put off.
                raise
            return _Answer(error=f"cannot deliver: {exc}")
        except Exception as exc:
            # A callback was promised: whatever goes wrong is an attempt that failed.
            log.error("an attempt at a callback failed", exc_info=exc)
            return _Answer(error="cannot deliver: internal error")

    async def _exchange(self, channel: Channel, data: bytes) -> _Answer:
        fresh = False
        while True:
            connection = await channel.connect(fresh=fresh)
            try:
                connection.begin(data)
                await connection.head()
                body = await _read(connection)
                return self._judge(connection, body)
            except ConnectionResetError:
                if fresh or connection.uses < 2 or connection.started:
                    raise
                # The idle connection had just been closed.
                fresh = True
            finally:
                channel.release(connection)

    def _judge(self, connection: Connection, body: bytes) -> _Answer:
        status, text = connection.status, body[:_KEPT_BYTES]
        if get(connection.headers, _EGRESS_HEADER) is not None:
            return _Answer(error=text.decode(errors="replace").strip()[:512])
        if 200 <= status < 300:
            return _Answer(status=status, body=text)
        error = f"the receiver answered {status}"
        if 300 <= status < 400:
            error += "; redirects are not followed"
        wanted = (get(connection.headers, b"retry-after") or b"").decode("latin-1")
        wanted_ms = callbacks.retry_after_ms(wanted, self._clock.now_ms())
        return _Answer(status=status, body=text, error=error, wanted_ms=wanted_ms)

    async def _request(self, job: Job) -> bytes:
        """The whole request, in the form for a proxy, signed with every active secret."""
        timestamp_s = self._clock.now_ms() // 1000
        message_id = str(job.parent_id or job.id)
        keys = await self._secrets.keys(job.project_id)
        sign = partial(callbacks.signature, keys, message_id=message_id, timestamp_s=timestamp_s, body=job.body)
        # It lets the loop go on meanwhile.
        signed = await asyncio.to_thread(sign) if len(job.body) * len(keys) > _SIGNED_AT_ONCE_BYTES else sign()
        headers = [
            ("host", urlsplit(job.target).netloc),
            *DeliveryPayload.of(job).headers,
            ("webhook-id", message_id),
            ("webhook-timestamp", str(timestamp_s)),
            *([("webhook-signature", signed)] if signed else []),
            ("content-length", str(len(job.body))),
        ]
        lines = [heads.line(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return heads.request(b"POST", job.target.encode("latin-1"), lines) + job.body


class _Answer(Struct, frozen=True, kw_only=True):
    """What came back: `status` is 0 for nothing, `wanted_ms` is how long the receiver asks to wait."""

    status: int = 0
    body: bytes = b""
    error: str | None = None
    wanted_ms: int = 0

    @property
    def result(self) -> Result:
        return Result(payload=ReplyHead(status=self.status).dump(), body=self.body, error=self.error)


async def _read(connection: Connection) -> bytes:
    """At most 64 KiB; the rest is cut off with its connection."""
    body = b""
    while len(body) < _ANSWER_MAX_BYTES and (chunk := await connection.chunk()):
        body += chunk
    return body[:_ANSWER_MAX_BYTES]
