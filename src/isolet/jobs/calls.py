"""The kind of asynchronous calls: runs one, and decides what follows: done, another attempt, a callback."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import unquote

from msgspec import Struct
from msgspec.structs import replace

from isolet.clock import Clock
from isolet.database.conclusions import Outcome
from isolet.domain import callbacks
from isolet.domain.http_jobs import CALLBACK, CallPayload, DeliveryPayload, ReplyHead
from isolet.domain.jobs import NO_ROOM_DELAY_MS, Attempt, Job, JobEvent, Result, concluded
from isolet.errors import (
    ExecutionError,
    FunctionCrashed,
    IsoletError,
    NotDeployed,
    NotFound,
    PlatformError,
    TooManyRequests,
    Unavailable,
)
from isolet.ids import InvocationId, JobId, ProjectId, new_id
from isolet.invoke.invoker import Invoker
from isolet.invoke.request import CallRequest, stored_origin
from isolet.jobs.handler import INTERNAL_ERROR, Handler
from isolet.routing.routes import Route, Routes
from isolet.telemetry import get_logger

log = get_logger("jobs")

RESULT_MAX_BYTES = 16 * 1024 * 1024
HOPS_HEADER = "x-isolet-hops"
_NOT_KEPT = frozenset({b"x-invocation-id", b"content-length"})


class Calls(Handler):
    """`find` asks the store for a function that the routes do not have: another server may have just made it.

    `tell` gives the status and the body that stand for a failure. While a project `is_held_back` its calls wait: each
    may leave a callback of megabytes.
    """

    def __init__(
        self,
        *,
        routes: Routes,
        find: Callable[[str], Awaitable[Route | None]],
        invoker: Invoker,
        clock: Clock,
        tell: Callable[[IsoletError], tuple[int, bytes]],
        is_held_back: Callable[[ProjectId], bool] = lambda _: False,
    ) -> None:
        self._is_held_back = is_held_back
        self._routes = routes
        self._find = find
        self._invoker = invoker
        self._clock = clock
        self._tell = tell

    def lane(self, job: Job) -> str:
        return job.function_id

    def lane_limit(self, lane: str) -> int:
        """As many calls of a function at once as its instances take."""
        project_id, _, function_id = lane.partition(":")
        if self._is_held_back(ProjectId(project_id)):
            return 0
        route = self._routes.function(function_id)
        return 1 if route is None else route.limits.concurrency * route.limits.max_instances

    async def run(self, job: Job) -> Outcome:
        """The job after one try, and its callback when it ended."""
        began_ms, began = self._clock.now_ms(), time.monotonic()
        asked = CallPayload.of(job)
        try:
            reply = await self._call(job, asked)
        except (TooManyRequests, Unavailable):
            after = concluded(job, JobEvent.HANDED_BACK, self._clock.now_ms(), attempt=None, delay_ms=NO_ROOM_DELAY_MS)
            return Outcome(job=after)
        duration_ms = round((time.monotonic() - began) * 1000)
        status, result = reply.head.status, reply.result
        attempt = Attempt(at_ms=began_ms, duration_ms=duration_ms, status=status, error=result.error)
        now_ms = self._clock.now_ms()
        delay_ms = self._delay_ms(job, status)
        if delay_ms is not None:
            # Nothing is kept of its result: it may have megabytes, and nobody is shown that of a try that is repeated.
            after = concluded(job, JobEvent.RETRIED, now_ms, attempt=attempt, delay_ms=delay_ms)
            return Outcome(job=after)
        event = JobEvent.SUCCEEDED if result.error is None and status < 500 else JobEvent.FAILED
        after = concluded(job, event, now_ms, attempt=attempt, result=result)
        return Outcome(job=after, follow_ups=_callbacks(after, asked, reply.head, duration_ms, now_ms))

    def failed(self, job: Job, attempt: Attempt, now_ms: int) -> Outcome:
        """A call that is given up, and its callback, which tells why."""
        why = attempt.error or INTERNAL_ERROR
        reply = self._failed(PlatformError(why) if why == INTERNAL_ERROR else FunctionCrashed(why))
        told = replace(attempt, status=reply.head.status)
        after = concluded(job, JobEvent.FAILED, now_ms, attempt=told, result=reply.result)
        follow_ups = _callbacks(after, CallPayload.of(job), reply.head, attempt.duration_ms, now_ms)
        return Outcome(job=after, follow_ups=follow_ups)

    def _delay_ms(self, job: Job, status: int) -> int | None:
        route = self._routes.function(job.function_id)
        if route is None or route.version is None:
            return None
        return route.retry.delay_ms(job.attempts + 1, status, random.random())  # noqa: S311 – spreads load

    async def _call(self, job: Job, asked: CallPayload) -> _Reply:
        try:
            route = self._routes.function(job.function_id)
            if route is None or route.version is None:
                route = await self._find(job.function_id)
            if route is None:
                raise NotFound("function not found")
            headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in asked.headers]
            origin = stored_origin(headers)
            reply = await self._invoker.call(
                route,
                CallRequest(
                    door=asked.door,
                    kind=asked.kind,
                    invocation_id=InvocationId(job.id),
                    method=asked.method.encode(),
                    target=job.target.encode("latin-1"),
                    path=unquote(job.target.partition("?")[0]),
                    headers=headers,
                    scheme=origin.scheme,
                    origin=origin,
                    body=job.body,
                ),
            )
            body = await reply.read(RESULT_MAX_BYTES)
        except (ExecutionError, NotFound, NotDeployed) as exc:
            return self._failed(exc)
        told = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.headers if name not in _NOT_KEPT
        ]
        return _Reply(ReplyHead(status=reply.status, headers=told), body)

    def _failed(self, error: IsoletError) -> _Reply:
        status, body = self._tell(error)
        return _Reply(ReplyHead(status=status, headers=[("content-type", "application/json")]), body, error.message)


class _Reply(Struct, frozen=True):
    """`error` is None for a reply of the function's own."""

    head: ReplyHead
    body: bytes
    error: str | None = None

    @property
    def result(self) -> Result:
        return Result(payload=self.head.dump(), body=self.body, error=self.error)


def hops_of(headers: Sequence[tuple[str, str]]) -> int:
    """How many callbacks in a row led to a call; what a caller wrote there that is no number counts as none."""
    value = next((value for name, value in headers if name == HOPS_HEADER), "0")
    return int(value[:4]) if value.isascii() and value.isdigit() else 0


def _callbacks(call: Job, asked: CallPayload, reply: ReplyHead, duration_ms: int, now_ms: int) -> list[Job]:
    """The delivery of a call's result, where one is asked for."""
    url = asked.callback_url
    if not url:
        return []
    headers = callbacks.headers_for(
        reply.headers,
        call_id=call.id,
        function_name=call.function_name,
        status=reply.status,
        duration_ms=duration_ms,
        hops=hops_of(asked.headers) + 1,
    )
    delivery = Job(
        id=JobId(new_id()),
        kind=CALLBACK,
        project_id=call.project_id,
        function_id=call.function_id,
        function_name=call.function_name,
        target=url,
        payload=DeliveryPayload(headers=headers).dump(),
        created_at_ms=now_ms,
        due_at_ms=now_ms,
        body=call.result_body,
        parent_id=call.id,
    )
    return [delivery]
