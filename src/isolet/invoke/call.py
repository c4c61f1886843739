"""One call while it runs: takes an instance, sends the request, streams the reply, and ends exactly once.

Whatever ends it — the reply's last byte, the deadline, a limit, a crash, the caller's leaving — goes through
`Call.finish`, which gives everything back and hands over the record.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from isolet.domain.invocations import SWITCHED, Invocation, Kind
from isolet.domain.limits import RECORDED_BODY_MAX_BYTES
from isolet.errors import (
    ClientDisconnected,
    FunctionCrashed,
    FunctionTimeout,
    IsoletError,
    PlatformError,
    TooManyRequests,
    Unavailable,
)
from isolet.invoke.failures import broken_off, check_reply, explain, record_error
from isolet.invoke.request import CallRequest
from isolet.invoke.sending import send_parts, send_spooled
from isolet.invoke.services import CallServices
from isolet.invoke.spool import Spooled
from isolet.invoke.watch import WATCH_AFTER_S
from isolet.observe.redaction import Kept
from isolet.routing.routes import Route
from isolet.runtime.instance import Instance, NotDelivered
from isolet.runtime.judge import at_deadline
from isolet.wire.channel import Connection, Unread

# A timeout that may pass before the call is watched has its own timer from the start.
_SHORT_MS = 4000 * WATCH_AFTER_S
# A loop that does not answer for so long after a deadline is stuck.
_STUCK_AFTER_S = 0.25
# A connection that breaks off, or is not taken, is followed by the end of its process within this time, or by none.
_EXIT_SHOWS_S = 0.25
_RUNS_MAX = 4
# Of others the limit is for the whole call.
_WITH_CALLER = (Kind.SYNC, Kind.WEBSOCKET)


class Call:
    __slots__ = (
        "_aborted",
        "_allowed_ms",
        "_answered",
        "_done",
        "_held",
        "_is_whole",
        "_last",
        "_means",
        "_moved_s",
        "_request",
        "_response",
        "_route",
        "_timer",
        "_wait",
        "_watch",
        "began_s",
        "connection",
        "instance",
        "invocation",
    )

    def __init__(self, means: CallServices, route: Route, request: CallRequest, invocation: Invocation) -> None:
        self._means = means
        self._route = route
        self._request = request
        # The loop's own clock counts milliseconds.
        self.began_s = self._moved_s = time.monotonic()
        self._allowed_ms = route.limits.timeout_ms
        if self._allowed_ms > means.reply_max_ms and invocation.kind in _WITH_CALLER:
            self._allowed_ms = means.reply_max_ms
        self._timer: asyncio.TimerHandle | None = None
        self._wait: asyncio.Timeout | None = None
        self._watch: list[asyncio.Task[None]] | None = None
        self._done = False
        # Whether all of the request is there still, to be sent once more.
        self._is_whole = True
        self._last: Instance | None = None
        self._aborted: IsoletError | None = None
        self._answered = False
        self._response = b""
        self._held: Kept | None = None
        self.invocation = invocation
        self.instance: Instance | None = None
        self.connection: Connection | None = None

    @property
    def live_connection(self) -> Connection:
        """The connection of a call that has one. Raises what ended the call, else FunctionCrashed."""
        if self.connection is None:
            raise self._aborted or FunctionCrashed("the call has no connection")
        return self.connection

    @property
    def live_instance(self) -> Instance:
        """The instance that runs the call. Raises FunctionCrashed when none does."""
        if self.instance is None:
            raise FunctionCrashed("the call has no instance")
        return self.instance

    # Running.

    async def start(self) -> None:
        """Until the head of the function's reply is there. Raises what ends the call instead."""
        self._means.recorder.begin(self.invocation)
        self._means.watch.add(self)
        if self._allowed_ms <= _SHORT_MS:
            self._timer = self._means.loop.call_later(self._allowed_ms / 1000, self._time_out)
        try:
            await self._run()
        except (TooManyRequests, Unavailable):
            # Nothing ran, so nothing is recorded.
            self._means.recorder.drop(self.invocation)
            self.stop_watching()
            self._done = True
            raise
        except BaseException as exc:
            await self.fail(exc)
        self._answered = True
        self._moved()

    async def _run(self) -> None:
        """Once, and again elsewhere while the instance had not read a byte of it."""
        for run in range(1, _RUNS_MAX + 1):
            self.instance = instance = (
                self._means.pool.ready(self._route.release, self._route.limits) or await self._acquire()
            )
            instance.begin_call()
            instance.console.begin(self.invocation.id)
            instance.origins.begin(self.invocation.id, self._request.origin)
            self._means.on_call()
            try:
                connection = await self._exchange(instance)
                if connection.status == 500:
                    await check_reply(instance, connection, self._request.event.name)
                return
            except NotDelivered as exc:
                self._give_back()
                if run == _RUNS_MAX or not self._is_whole:
                    raise FunctionCrashed("The function's process ended before it took this call") from exc

    async def _acquire(self) -> Instance:
        began = time.perf_counter_ns()
        rest_s = self._allowed_ms / 1000 - self._elapsed_s()
        try:
            # It ends early when the caller leaves.
            async with asyncio.timeout(None) as self._wait:
                instance = await self._means.pool.acquire(
                    self._route.release,
                    self._route.limits,
                    lambda: self._means.load_spec(self._route),
                    project_id=self._route.project_id,
                    function_id=self._route.function_id,
                    within_s=max(rest_s, 0),
                )
        except TimeoutError:
            raise self._aborted or FunctionTimeout(timeout_ms=self._allowed_ms) from None
        finally:
            self._wait = None
        waited_us = (time.perf_counter_ns() - began) // 1000
        if instance.served:
            self.invocation.queue_us += waited_us
        else:
            self.invocation.cold_start_us += waited_us
        return instance

    async def _exchange(self, instance: Instance) -> Connection:
        """Send the request and wait for the head; once more when an idle connection had just been closed."""
        fresh = False
        if self._request.is_large:
            await instance.check_alive(_EXIT_SHOWS_S)
        while True:
            try:
                connection = self.connection = await instance.channel.connect(fresh=fresh)
            except FunctionCrashed as exc:
                await instance.ends_within(_EXIT_SHOWS_S)
                raise NotDelivered from exc
            if self._aborted is not None:
                raise self._aborted
            instance.calls.add(connection)
            try:
                self._send(connection)
                await connection.head()
                return connection
            except ConnectionResetError as exc:
                if connection.started or not self._is_whole:
                    raise
                ends = await instance.ends_within(_EXIT_SHOWS_S)
                # What read the request ran it, perhaps, and broke its reply off.
                if not isinstance(exc, Unread):
                    raise
                if ends:
                    raise NotDelivered from exc
                if connection.uses == 1:
                    raise
                instance.calls.discard(connection)
                connection.forget()
                fresh = True

    def _send(self, connection: Connection) -> None:
        """Write the request; a body that is not in memory follows as the instance takes it."""
        request, body = self._request, self._request.body
        without_body = request.method == b"HEAD"
        if isinstance(body, bytes):
            # Not added to what an earlier try kept.
            self.invocation.request_body = body if len(body) <= RECORDED_BODY_MAX_BYTES else body[: self._keep_bytes]
            whole = request.head(self.invocation.id, len(body)) + body
            connection.begin(whole, without_body=without_body, head_only=not body)
            return
        self.invocation.request_body = b""
        length = body.size if isinstance(body, Spooled) else None
        connection.begin(request.head(self.invocation.id, length), without_body=without_body, more=True)
        if connection.error is None:
            self._is_whole = isinstance(body, Spooled)
            if isinstance(body, Spooled):
                sent = send_spooled(self, connection, body)
            else:
                sent = send_parts(self, connection, body, request.headers)
            self._spawn(sent, "request body")

    def take_rest(self) -> bytes:
        """The body, or what is left of it, of a reply that has come whole; the call is over then."""
        data = self.live_connection.take()
        self._keep_response(data)
        self.finish(None)
        return data

    async def chunk(self) -> bytes:
        """The next part of the reply's body; its end finishes the call."""
        try:
            data = await self.live_connection.chunk()
        except BaseException as exc:
            # The connection of a call that was ended while this waited no longer knows why.
            await self.fail(self._aborted if self._aborted and isinstance(exc, ConnectionAbortedError) else exc)
            raise
        if not data:
            self.finish(None)
        else:
            self._keep_response(data)
            self._moved()
        return data

    # Watching.

    def tick(self) -> None:
        """The call is not a short one: watch its caller, and its deadline."""
        if self._timer is None:
            rest_s = self._allowed_ms / 1000 - self._elapsed_s()
            self._timer = self._means.loop.call_later(max(rest_s, 0), self._time_out)
        # A body that is still being read is watched by its reader.
        if self._request.gone is not None and isinstance(self._request.body, bytes | Spooled):
            self._spawn(self._watch_caller(self._request.gone), "watch caller")

    async def watch_sender(self) -> None:
        """The caller of a body that came in parts, once it has sent all of it."""
        if self._request.gone is not None:
            await self._watch_caller(self._request.gone)

    async def _watch_caller(self, gone: Callable[[], Awaitable[None]]) -> None:
        await gone()
        self._abort(ClientDisconnected("the caller left"))
        if self._wait is not None and self._wait.when() is None:
            self._wait.reschedule(0)

    def _moved(self) -> None:
        """The reply has begun, or goes on; that of a call without a timer is too young to matter."""
        if self._timer is not None:
            self._moved_s = time.monotonic()

    def _time_out(self) -> None:
        if self._answered and (rest_s := self._rest_of_reply_s()) > 0:
            self._timer = self._means.loop.call_later(rest_s, self._time_out)
            return
        error = FunctionTimeout(timeout_ms=self._allowed_ms)
        self._abort(error)
        if self._answered:
            # Nobody may be waiting for the reply's next part: its caller does not take the last one.
            self.finish(error)

    def _rest_of_reply_s(self) -> float:
        """How long a reply that has begun may go on with nothing more of it: its limit is silence, and a total."""
        if self.invocation.kind not in _WITH_CALLER:
            return 0
        silent_s = time.monotonic() - self._moved_s
        return min(self._allowed_ms / 1000 - silent_s, self._means.reply_max_ms / 1000 - self._elapsed_s())

    def _abort(self, error: IsoletError) -> None:
        self._aborted = error
        if self.connection is not None and not self._done:
            self.connection.abort(error)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._means.tasks.spawn(work, name=f"{name} {self.invocation.id}")
        self._watch = [*(self._watch or ()), task]

    def _elapsed_s(self) -> float:
        return time.monotonic() - self.began_s

    # Ending.

    async def fail(self, exc: BaseException) -> None:
        """End the call with an error as one of our error classes, and raise it."""
        error: BaseException = exc
        if isinstance(exc, OSError):
            report = self.invocation.kill_report = await explain(self.instance, exc, self._means.clock.now_ms())
            error = FunctionCrashed(report.message) if report else broken_off(self.instance, self.began_s)
        elif isinstance(exc, Exception) and not isinstance(exc, IsoletError):
            error = PlatformError("the call broke off")
        if isinstance(error, IsoletError):
            error.details = {**error.details, "invocation_id": self.invocation.id}
        if isinstance(error, PlatformError):
            error.details = {**error.details, "function_id": self.invocation.function_id}
        self.finish(error)
        try:
            if error is exc:
                raise exc
            raise error from exc
        finally:
            # What was raised leads to the frames it went through: what these, or the call, hold of it goes with the
            # garbage collector alone, and that would take a tenth of a second once thousands of calls have failed.
            self._aborted = None
            del exc, error

    def finish(self, error: BaseException | None) -> None:
        """Give everything back and hand over the record; only the first time counts."""
        if self._done:
            return
        self._done = True
        self.stop_watching()
        invocation = self.invocation
        invocation.duration_us = round(self._elapsed_s() * 1e6)
        if error is not None:
            record_error(invocation, error)
        if self.connection is not None and (error is None or self.connection.status == SWITCHED):
            invocation.status = self.connection.status
        instance = self.instance
        self._means.recording.words(invocation)
        self._held = self._hold(instance or self._last, whole=error is None)
        invocation.memory_limit_mb = self._route.limits.memory_limit_mb
        if instance is not None:
            invocation.memory_bytes = instance.measure_memory()
        self._give_back(succeeded=error is None)
        if isinstance(error, FunctionTimeout):
            # The caller has its answer; the record waits for what became of the instance.
            self._means.recorder.conclude(invocation)
            self._means.tasks.spawn(self._conclude_timeout(instance), name=f"conclude {invocation.id}")
        else:
            self._means.recorder.end(invocation, self._held)

    async def _conclude_timeout(self, instance: Instance | None) -> None:
        """The deadline passed: an instance whose loop does not even answer a probe is killed on the spot."""
        at_its_end = partial(
            at_deadline,
            allowed_ms=self._allowed_ms,
            used_ms=self.invocation.duration_us // 1000,
            at_ms=self._means.clock.now_ms(),
        )
        report = at_its_end(answers=True)
        if instance is not None and not await instance.answers(_STUCK_AFTER_S):
            instance.end(at_its_end(answers=False))
            report = instance.ended or report
        self.invocation.kill_report = report
        self._means.recorder.end(self.invocation, self._held)

    def stop_watching(self) -> None:
        """No deadline and no watch on the caller any more."""
        self._means.watch.remove(self)
        if self._timer is not None:
            self._timer.cancel()
        for task in self._watch or ():
            task.cancel()
        self._watch = None

    def _give_back(self, *, succeeded: bool = False) -> None:
        instance, connection = self.instance, self.connection
        self._last, self.instance, self.connection = instance, None, None
        if instance is not None:
            instance.console.end(self.invocation.id)
            instance.origins.end(self.invocation.id)
            instance.end_call(connection)
            self._means.pool.freed(instance, succeeded=succeeded)

    # Recording.

    @property
    def _keep_bytes(self) -> int:
        """How much of a body is held: enough to see a secret that begins in the part that is kept."""
        redactor = self.instance.redactor if self.instance is not None else None
        return RECORDED_BODY_MAX_BYTES + Kept.more_bytes(redactor)

    def _hold(self, instance: Instance | None, *, whole: bool) -> Kept:
        request = self._request
        return Kept(
            recording=self._means.recording,
            headers=request.headers,
            own=request.own,
            query=request.target.partition(b"?")[2],
            response=self._response,
            redactor=None if instance is None else instance.redactor,
            whole=whole,
        )

    def _keep_response(self, data: bytes) -> None:
        self.invocation.response_bytes += len(data)
        if not self._response and len(data) <= RECORDED_BODY_MAX_BYTES:
            self._response = data
        elif len(self._response) <= RECORDED_BODY_MAX_BYTES:
            self._response += data[: self._keep_bytes - len(self._response)]

    def keep_request(self, chunk: bytes) -> None:
        self.invocation.request_body += chunk[: max(self._keep_bytes - len(self.invocation.request_body), 0)]
