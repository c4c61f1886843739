"""Runs an asynchronous call through the invoker, and decides what follows: done, another attempt, a callback."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from urllib.parse import unquote

from isolet.clock import Clock
from isolet.domain import callbacks
from isolet.domain.invocations import Door, Kind
from isolet.domain.jobs import NO_ROOM_DELAY_MS, Attempt, Job, JobEvent, JobKind, Result, concluded, lane
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
from isolet.ids import InvocationId, JobId, new_id
from isolet.invoke.invoker import Invoker
from isolet.invoke.request import CallRequest, stored_origin
from isolet.jobs.outcomes import INTERNAL_ERROR
from isolet.routing.routes import Route, Routes
from isolet.telemetry import get_logger

log = get_logger("jobs")

RESULT_MAX_BYTES = 16 * 1024 * 1024
HOPS_HEADER = "x-isolet-hops"
_NOT_KEPT = frozenset({b"x-invocation-id", b"content-length"})


class Calls:
    """`find` asks the store for a function that the routes do not have: another server may have just made it.

    `tell` gives the status and the body that stand for a failure.
    """

    def __init__(
        self,
        *,
        routes: Routes,
        find: Callable[[str], Awaitable[Route | None]],
        invoker: Invoker,
        clock: Clock,
        tell: Callable[[IsoletError], tuple[int, bytes]],
    ) -> None:
        self._routes = routes
        self._find = find
        self._invoker = invoker
        self._clock = clock
        self._tell = tell

    def lane_limit(self, name: str) -> int:
        """As many calls of a function at once as its instances take."""
        route = self._routes.function(name.partition(":")[2])
        return 1 if route is None else route.limits.concurrency * route.limits.max_instances

    async def run(self, job: Job) -> tuple[Job, Job | None]:
        """The job after one try, and its callback when it ended."""
        began_ms, began = self._clock.now_ms(), time.monotonic()
        try:
            result = await self._call(job)
        except (TooManyRequests, Unavailable):
            after = concluded(job, JobEvent.HANDED_BACK, self._clock.now_ms(), attempt=None, delay_ms=NO_ROOM_DELAY_MS)
            return after, None
        duration_ms = round((time.monotonic() - began) * 1000)
        attempt = Attempt(at_ms=began_ms, duration_ms=duration_ms, status=result.status, error=result.error)
        now_ms = self._clock.now_ms()
        delay_ms = self._delay_ms(job, result)
        if delay_ms is not None:
            return concluded(job, JobEvent.RETRIED, now_ms, attempt=attempt, result=result, delay_ms=delay_ms), None
        event = JobEvent.SUCCEEDED if result.error is None and result.status < 500 else JobEvent.FAILED
        after = concluded(job, event, now_ms, attempt=attempt, result=result)
        return after, _callback(after, duration_ms, now_ms) if after.callback_url else None

    def failed(self, job: Job, attempt: Attempt, now_ms: int) -> tuple[Job, Job | None]:
        """A call that is given up, and its callback, which tells why."""
        why = attempt.error or INTERNAL_ERROR
        result = self._failed(PlatformError(why) if why == INTERNAL_ERROR else FunctionCrashed(why))
        told = replace(attempt, status=result.status)
        after = concluded(job, JobEvent.FAILED, now_ms, attempt=told, result=result)
        return after, _callback(after, attempt.duration_ms, now_ms) if after.callback_url else None

    def _delay_ms(self, job: Job, result: Result) -> int | None:
        route = self._routes.function(job.function_id)
        if route is None or route.version is None:
            return None
        return route.retry.delay_ms(job.attempts + 1, result.status, random.random())  # noqa: S311 – spreads load

    async def _call(self, job: Job) -> Result:
        try:
            route = self._routes.function(job.function_id)
            if route is None or route.version is None:
                route = await self._find(job.function_id)
            if route is None:
                raise NotFound("function not found")
            headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in job.headers]
            origin = stored_origin(headers)
            reply = await self._invoker.call(
                route,
                CallRequest(
                    door=Door.ALTAIR,
                    kind=Kind.ASYNC,
                    invocation_id=InvocationId(job.id),
                    method=job.method.encode(),
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
        return Result(status=reply.status, headers=told, body=body)

    def _failed(self, error: IsoletError) -> Result:
        status, body = self._tell(error)
        headers = [("content-type", "application/json")]
        return Result(status=status, headers=headers, body=body, error=error.message)


def hops_of(headers: Sequence[tuple[str, str]]) -> int:
    """How many callbacks in a row led to a call; what a caller wrote there that is no number counts as none."""
    value = next((value for name, value in headers if name == HOPS_HEADER), "0")
    return int(value[:4]) if value.isascii() and value.isdigit() else 0


def _callback(call: Job, duration_ms: int, now_ms: int) -> Job:
    """The delivery of a call's result."""
    url = call.callback_url or ""
    headers = callbacks.headers_for(
        call.result_headers,
        call_id=call.id,
        function_name=call.function_name,
        status=call.result_status or 0,
        duration_ms=duration_ms,
        hops=hops_of(call.headers) + 1,
    )
    return Job(
        id=JobId(new_id()),
        kind=JobKind.CALLBACK,
        project_id=call.project_id,
        function_id=call.function_id,
        function_name=call.function_name,
        lane=lane(call.project_id, callbacks.host_of(url)),
        method="POST",
        target=url,
        created_at_ms=now_ms,
        due_at_ms=now_ms,
        headers=headers,
        body=call.result_body,
        parent_id=call.id,
    )
