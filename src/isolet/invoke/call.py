"""One call while it runs: takes an instance, sends the request, streams the reply, and ends exactly once.

Whatever ends it — the reply's last byte, the deadline, a limit, a crash, the caller's leaving — goes through
`Call.finish`, which gives everything back and hands over the record.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isolet.domain.invocations import SWITCHED, Door, Invocation, Kind, Outcome, cut_error, storable
from isolet.domain.kills import KillReport, Limit
from isolet.domain.limits import RECORDED_BODY_MAX_BYTES
from isolet.errors import (
    ClientDisconnected,
    FunctionCrashed,
    FunctionTimeout,
    HandlerFailed,
    IsoletError,
    PlatformError,
    TooManyRequests,
    Unavailable,
)
from isolet.ids import InvocationId
from isolet.invoke import headers as header_rules
from isolet.invoke.routes import Route
from isolet.invoke.watch import WATCH_AFTER_S
from isolet.runtime.channel import Connection, Headers, Unread
from isolet.runtime.config import CALL_HEADER, PROTO_HEADER
from isolet.runtime.instance import Instance, InstanceEnded, NeverSeen
from isolet.runtime.lifecycle import State

if TYPE_CHECKING:
    from isolet.invoke.invoker import Invoker

# A timeout that may pass before the call is watched has its own timer from the start.
_SHORT_MS = 4000 * WATCH_AFTER_S
# A loop that does not answer for so long after a deadline is stuck.
_STUCK_AFTER_S = 0.25
# A connection that breaks off is followed by the end of its process within this time, or by none.
_EXIT_SHOWS_S = 0.25
_RUNS_MAX = 4
_SMALL = RECORDED_BODY_MAX_BYTES
_ERROR_HEADER = b"x-isolet-error"
_REPORT_MAX_BYTES = 262_144
_BARE_500_LENGTH = b"%d" % len(b"Internal Server Error")
_NEVER_SETTLED = (
    "The handler never produced a response: its promise can never settle, or the runtime cancelled the call"
)
_BROKEN_OFF = "The function broke its reply off before it was complete"
_BODYLESS = frozenset({b"GET", b"HEAD", b"DELETE", b"OPTIONS"})
_STATUS = {
    Outcome.HANDLER_FAILED: 500,
    Outcome.TIMEOUT: 504,
    Outcome.CRASHED: 502,
    Outcome.DISCONNECTED: 499,
    Outcome.INTERNAL: 500,
}
_UPGRADE_LINES = b"connection: Upgrade\r\nupgrade: websocket\r\n"
_HTTPS_LINE = PROTO_HEADER.encode() + b": https\r\n"
_ID_LINE = CALL_HEADER.encode() + b': {"id":"%b"}\r\n\r\n'
_CONTEXT_LINE = CALL_HEADER.encode() + b': {"id":"%b","context":%b}\r\n\r\n'


@dataclass(slots=True, kw_only=True)
class CallRequest:
    """What a door hands over. `target` is the path and query that the function sees in `request.url`.

    `gone` resolves when the caller leaves; without it nobody waits. Header names are lower case. `invocation_id` is
    for calls that had an id before they ran.
    `upgrade`: the function may answer 101 and go on as a WebSocket.
    `context` is a JSON object in ASCII that the function's context is made of; empty where a dialect has none.
    """

    door: Door
    method: bytes
    target: bytes
    path: str
    headers: Headers
    body: bytes | AsyncIterator[bytes]
    scheme: str = "http"
    gone: Callable[[], Coroutine[Any, Any, None]] | None = None
    context: bytes = b""
    kind: Kind = Kind.SYNC
    invocation_id: InvocationId | None = None
    upgrade: bool = False


class Call:
    __slots__ = (
        "_aborted",
        "_done",
        "_host",
        "_last",
        "_request",
        "_response",
        "_route",
        "_timer",
        "_watch",
        "began_s",
        "connection",
        "instance",
        "invocation",
    )

    def __init__(self, host: Invoker, route: Route, request: CallRequest, invocation: Invocation) -> None:
        self._host = host
        self._route = route
        self._request = request
        self.began_s = host.loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._watch: list[asyncio.Task[None]] | None = None
        self._done = False
        self._last: Instance | None = None
        self._aborted: IsoletError | None = None
        self._response = b""
        self.invocation = invocation
        self.instance: Instance | None = None
        self.connection: Connection | None = None

    @property
    def live_connection(self) -> Connection:
        """The connection of a call that has one. Raises FunctionCrashed when it has none."""
        if self.connection is None:
            raise FunctionCrashed("the call has no connection")
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
        self._host.recorder.begin(self.invocation)
        self._host.watch.add(self)
        if self._route.limits.timeout_ms <= _SHORT_MS:
            self._timer = self._host.loop.call_later(self._route.limits.timeout_ms / 1000, self._time_out)
        try:
            await self._run()
        except (TooManyRequests, Unavailable):
            # Nothing ran, so nothing is recorded.
            self._host.recorder.drop(self.invocation)
            self.stop_watching()
            self._done = True
            raise
        except BaseException as exc:
            await self.fail(exc)

    async def _run(self) -> None:
        """Once, and again elsewhere while the instance had not read a byte of it."""
        for run in range(1, _RUNS_MAX + 1):
            self.instance = instance = (
                self._host.pool.ready(self._route.release, self._route.limits) or await self._acquire()
            )
            instance.begin_call()
            self._host.on_call()
            try:
                connection = await self._exchange(instance)
                if connection.status == 500:
                    await self._check_failure(instance, connection)
                return
            except NeverSeen as exc:
                self._give_back()
                if run == _RUNS_MAX or not isinstance(self._request.body, bytes):
                    raise FunctionCrashed("The function's process ended before it took this call") from exc

    async def _acquire(self) -> Instance:
        began = time.perf_counter_ns()
        acquire = self._host.pool.acquire(
            self._route.release, self._route.limits, lambda: self._host.load_spec(self._route)
        )
        rest_s = self._route.limits.timeout_ms / 1000 - self._elapsed_s()
        try:
            async with asyncio.timeout(max(rest_s, 0)):
                instance = await acquire
        except TimeoutError:
            raise FunctionTimeout(timeout_ms=self._route.limits.timeout_ms) from None
        waited_us = (time.perf_counter_ns() - began) // 1000
        if instance.served:
            self.invocation.queue_us += waited_us
        else:
            self.invocation.cold_start_us += waited_us
        return instance

    async def _exchange(self, instance: Instance) -> Connection:
        """Send the request and wait for the head; once more when an idle connection had just been closed."""
        body = self._request.body
        fresh = False
        while True:
            try:
                idle = None if fresh else instance.channel.idle()
                connection = self.connection = idle or await instance.channel.connect(fresh=True)
            except FunctionCrashed as exc:
                raise NeverSeen from exc
            if self._aborted is not None:
                raise self._aborted
            instance.calls.add(connection)
            try:
                if isinstance(body, bytes):
                    # Not added to what an earlier try kept.
                    self.invocation.request_body = body if len(body) <= _SMALL else body[: self._keep_bytes]
                    connection.begin(self._head(body) + body, without_body=self._request.method == b"HEAD")
                else:
                    connection.begin(self._head(None), without_body=self._request.method == b"HEAD")
                    self._spawn(self._pump(connection, body), "request body")
                while not connection.started:
                    await connection.news()
                return connection
            except ConnectionResetError as exc:
                if connection.started or not isinstance(body, bytes):
                    raise
                ends = await instance.ends_within(_EXIT_SHOWS_S)
                if ends and isinstance(exc, Unread):
                    raise NeverSeen from exc
                # A process that died with the request in its hands ran it, perhaps; one that lives closed an idle
                # connection.
                if ends or connection.uses == 1:
                    raise
                instance.calls.discard(connection)
                fresh = True

    def _head(self, body: bytes | None) -> bytes:
        request = self._request
        lines = header_rules.to_function(request.headers)
        if request.upgrade:
            lines.append(_UPGRADE_LINES)
        if body is not None:
            if body or request.method not in _BODYLESS:
                lines.append(b"content-length: %d\r\n" % len(body))
        elif (length := header_rules.get(request.headers, b"content-length")) is not None:
            lines.append(b"content-length: %b\r\n" % length)
        else:
            lines.append(b"transfer-encoding: chunked\r\n")
        if request.scheme == "https":
            lines.append(_HTTPS_LINE)
        call_id = self.invocation.id.encode()
        lines.append(_CONTEXT_LINE % (call_id, request.context) if request.context else _ID_LINE % call_id)
        return b"%b %b HTTP/1.1\r\n%b" % (request.method, request.target, b"".join(lines))

    async def _pump(self, connection: Connection, body: AsyncIterator[bytes]) -> None:
        """Send the caller's body as it comes."""
        chunked = header_rules.get(self._request.headers, b"content-length") is None
        try:
            async for chunk in body:
                if chunk:
                    self._keep_request(chunk)
                    await connection.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
            if chunked:
                await connection.write(b"0\r\n\r\n")
        except OSError:
            # The function may answer without reading its whole request; the reply decides.
            return
        except IsoletError as exc:
            connection.abort(exc)

    async def _check_failure(self, instance: Instance, connection: Connection) -> None:
        """Tell our wrapper's report and workerd's own bare 500 from a function's reply."""
        headers = connection.headers
        if header_rules.get(headers, _ERROR_HEADER) is not None:
            message, stack = await self._read_report(connection)
            raise HandlerFailed(instance.redact(message), stack=instance.redact(stack) if stack else None)
        if (
            header_rules.get(headers, b"connection") == b"close"
            and header_rules.get(headers, b"content-type") is None
            and header_rules.get(headers, b"content-length") == _BARE_500_LENGTH
        ):
            raise HandlerFailed(_NEVER_SETTLED)

    async def _read_report(self, connection: Connection) -> tuple[str, str | None]:
        """Message and stack of our wrapper's report. A function that imitates one has failed as well."""
        body = b""
        while len(body) <= _REPORT_MAX_BYTES and (chunk := await connection.chunk()):
            body += chunk
        try:
            report = json.loads(body)
            message, stack = report["message"], report["stack"]
        except (ValueError, KeyError, TypeError):
            message = stack = None
        if not isinstance(message, str) or not isinstance(stack, str | None):
            return "The reply has a header that is reserved: x-isolet-error", None
        return message, stack

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
            await self.fail(exc)
            raise
        if not data:
            self.finish(None)
        else:
            self._keep_response(data)
        return data

    # Watching.

    def tick(self) -> None:
        """The call is not a short one: watch its caller, and its deadline."""
        if self._timer is None:
            rest_s = self._route.limits.timeout_ms / 1000 - self._elapsed_s()
            self._timer = self._host.loop.call_later(max(rest_s, 0), self._time_out)
        if self._request.gone is not None:
            self._spawn(self._watch_caller(self._request.gone), "watch caller")

    async def _watch_caller(self, gone: Callable[[], Awaitable[None]]) -> None:
        await gone()
        self._abort(ClientDisconnected("the caller left"))

    def _time_out(self) -> None:
        self._abort(FunctionTimeout(timeout_ms=self._route.limits.timeout_ms))

    def _abort(self, error: IsoletError) -> None:
        self._aborted = error
        if self.connection is not None and not self._done:
            self.connection.abort(error)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._host.tasks.spawn(work, name=f"{name} {self.invocation.id}")
        self._watch = [*(self._watch or ()), task]

    def _elapsed_s(self) -> float:
        return self._host.loop.time() - self.began_s

    # Ending.

    async def fail(self, exc: BaseException) -> None:
        """End the call with an error in the house's words, and raise it."""
        error: BaseException = exc
        if isinstance(exc, OSError):
            report = self.invocation.kill_report = await self._explain(exc)
            error = FunctionCrashed(report.message) if report else HandlerFailed(_BROKEN_OFF)
        elif isinstance(exc, Exception) and not isinstance(exc, IsoletError):
            error = PlatformError("the call broke off")
        if isinstance(error, IsoletError):
            error.details = {**error.details, "invocation_id": self.invocation.id}
        if isinstance(error, PlatformError):
            error.details = {**error.details, "function_id": self.invocation.function_id}
        self.finish(error)
        if error is exc:
            raise exc
        raise error from exc

    async def _explain(self, exc: OSError) -> KillReport | None:
        if isinstance(exc, InstanceEnded):
            return exc.report
        if self.instance is None:
            return KillReport(limit=Limit.CRASH, at_ms=self._host.clock.now_ms(), detail="it did not start")
        return await self.instance.post_mortem(self._host.clock.now_ms())

    def finish(self, error: BaseException | None) -> None:
        """Give everything back and hand over the record; only the first time counts."""
        if self._done:
            return
        self._done = True
        self.stop_watching()
        invocation = self.invocation
        invocation.duration_us = round(self._elapsed_s() * 1e6)
        if error is not None:
            invocation.outcome = _outcome(error)
            invocation.status = _STATUS[invocation.outcome]
            invocation.error = cut_error(str(error))
            if isinstance(error, HandlerFailed) and error.stack:
                invocation.stack = storable(error.stack)
        if self.connection is not None and (error is None or self.connection.status == SWITCHED):
            invocation.status = self.connection.status
        instance = self.instance
        self._fill_record(instance or self._last, whole=error is None)
        invocation.memory_limit_mb = self._route.limits.memory_limit_mb
        if instance is not None:
            invocation.memory_bytes = instance.measure_memory()
        self._give_back(succeeded=error is None)
        if isinstance(error, FunctionTimeout):
            # The caller has its answer; the record waits for what became of the instance.
            self._host.recorder.conclude(invocation)
            self._host.tasks.spawn(self._conclude_timeout(instance), name=f"conclude {invocation.id}")
        else:
            self._host.recorder.end(invocation)

    async def _conclude_timeout(self, instance: Instance | None) -> None:
        """The deadline passed: an instance whose loop does not even answer a probe is killed on the spot."""
        limits = self._route.limits
        # The loop's timers may fire a millisecond early.
        used_ms = max(self.invocation.duration_us // 1000, limits.timeout_ms)
        now_ms = self._host.clock.now_ms()
        report = KillReport(limit=Limit.TIME, at_ms=now_ms, allowed=limits.timeout_ms, used=used_ms)
        if instance is not None and instance.state in (State.READY, State.DRAINING):
            try:
                await instance.probe(_STUCK_AFTER_S)
            except (OSError, TimeoutError):
                instance.end(
                    KillReport(limit=Limit.TIME, at_ms=now_ms, allowed=limits.timeout_ms, used=used_ms, stuck=True)
                )
                report = instance.ended or report
        self.invocation.kill_report = report
        self._host.recorder.end(self.invocation)

    def stop_watching(self) -> None:
        """No deadline and no watch on the caller any more."""
        self._host.watch.remove(self)
        if self._timer is not None:
            self._timer.cancel()
        for task in self._watch or ():
            task.cancel()

    def _give_back(self, *, succeeded: bool = False) -> None:
        instance, connection = self.instance, self.connection
        self._last, self.instance, self.connection = instance, None, None
        if instance is not None:
            instance.end_call(connection)
            self._host.pool.freed(instance, succeeded=succeeded)

    # Recording.

    @property
    def _keep_bytes(self) -> int:
        """How much of a body is held: enough to see a secret that begins in the part that is kept."""
        longest = self.instance.redactor.longest if self.instance is not None else 0
        return RECORDED_BODY_MAX_BYTES + longest + 1

    def _fill_record(self, instance: Instance | None, *, whole: bool) -> None:
        request = self._request
        self._host.recording.fill(
            self.invocation,
            headers=request.headers,
            query=request.target.partition(b"?")[2],
            response=self._response,
            redactor=None if instance is None else instance.redactor,
            whole=whole,
        )

    def _keep_response(self, data: bytes) -> None:
        self.invocation.response_bytes += len(data)
        if not self._response and len(data) <= _SMALL:
            self._response = data
        elif len(self._response) <= RECORDED_BODY_MAX_BYTES:
            self._response += data[: self._keep_bytes - len(self._response)]

    def _keep_request(self, chunk: bytes) -> None:
        kept = self.invocation
        kept.request_body += chunk[: max(self._keep_bytes - len(kept.request_body), 0)]


def _outcome(error: BaseException) -> Outcome:
    match error:
        case HandlerFailed():
            return Outcome.HANDLER_FAILED
        case FunctionTimeout():
            return Outcome.TIMEOUT
        case FunctionCrashed():
            return Outcome.CRASHED
        case ClientDisconnected() | asyncio.CancelledError():
            return Outcome.DISCONNECTED
        case _:
            return Outcome.INTERNAL
