"""Runs one call: takes an instance, sends the request, streams the reply back, and records what happened.

    door ─► Invoker.call ─► Reply ─► door

A call ends exactly once, in `_Run.finish`, whatever ends it: the reply's last byte, the deadline, a crash, the
caller's leaving.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from isolet.clock import Clock
from isolet.domain.invocations import Door, Invocation, Outcome, cut_body, cut_error
from isolet.domain.limits import RECORDED_BODY_MAX_BYTES
from isolet.errors import (
    ClientDisconnected,
    FunctionCrashed,
    FunctionTimeout,
    HandlerFailed,
    IsoletError,
    NotDeployed,
)
from isolet.ids import InvocationId, new_id
from isolet.invoke import headers as header_rules
from isolet.invoke.recorder import Recorder
from isolet.invoke.routes import Route
from isolet.runtime.channel import Connection, Headers
from isolet.runtime.config import CALL_HEADER, PROTO_HEADER, InstanceSpec
from isolet.runtime.instance import Instance
from isolet.runtime.lifecycle import State
from isolet.runtime.pool import Pool
from isolet.tasks import Tasks

# Calls shorter than this never pay for watching whether their caller is still there.
_WATCH_AFTER_S = 0.05
_ERROR_HEADER = b"x-isolet-error"
_BARE_500 = b"Internal Server Error"
_NEVER_SETTLED = (
    "The handler never produced a response: its promise can never settle, or the runtime cancelled the call"
)
_STATUS = {
    Outcome.HANDLER_FAILED: 500,
    Outcome.TIMEOUT: 504,
    Outcome.CRASHED: 502,
    Outcome.DISCONNECTED: 499,
    Outcome.INTERNAL: 500,
}


@dataclass(slots=True, kw_only=True)
class CallRequest:
    """What a door hands over. `target` is the path and query that the function sees in `request.url`.

    `gone` resolves when the caller leaves; without it nobody waits. Header names are lower case.
    """

    door: Door
    method: bytes
    target: bytes
    path: str
    headers: Headers
    body: bytes | AsyncIterator[bytes]
    scheme: str = "http"
    gone: Callable[[], Awaitable[None]] | None = None


class Invoker:
    def __init__(
        self,
        *,
        pool: Pool,
        recorder: Recorder,
        clock: Clock,
        load_spec: Callable[[Route], Awaitable[InstanceSpec]],
    ) -> None:
        self.pool = pool
        self.recorder = recorder
        self.tasks = Tasks()
        self.loop = asyncio.get_running_loop()
        self._clock = clock
        self.load_spec = load_spec

    async def call(self, route: Route, request: CallRequest) -> Reply:
        """Run the live version of a function; the reply's body follows as it is read.

        Raises NotDeployed before anything runs, and an ExecutionError, which carries `invocation_id` in its details,
        when the function fails before its reply begins.
        """
        if route.version is None:
            raise NotDeployed("Function is not deployed")
        invocation = Invocation(
            id=InvocationId(new_id()),
            project_id=route.project_id,
            function_id=route.function_id,
            function_name=route.name,
            version=route.version,
            door=request.door,
            method=request.method.decode("latin-1"),
            path=request.path,
            started_at_ms=self._clock.now_ms(),
        )
        run = _Run(self, route, request, invocation)
        self.recorder.begin(invocation)
        try:
            await run.start()
        except BaseException as exc:
            error = run.translate(exc)
            run.finish(error)
            if error is exc:
                raise
            raise error from exc
        return Reply(run)

    async def close(self) -> None:
        await self.tasks.close()


class _Run:
    """The moving parts of one call."""

    __slots__ = (
        "_aborted",
        "_began",
        "_done",
        "_host",
        "_request",
        "_response",
        "_route",
        "_timer",
        "_watch",
        "connection",
        "instance",
        "invocation",
    )

    def __init__(self, host: Invoker, route: Route, request: CallRequest, invocation: Invocation) -> None:
        self._host = host
        self._route = route
        self._request = request
        self._began = time.perf_counter_ns()
        self._timer: asyncio.TimerHandle | None = None
        self._watch: list[asyncio.Task[None]] = []
        self._done = False
        self._aborted: IsoletError | None = None
        self._response = bytearray()
        self.invocation = invocation
        self.instance: Instance | None = None
        self.connection: Connection | None = None

    @property
    def live_connection(self) -> Connection:
        """The connection of a call that has one. Raises what ended the call before."""
        if self.connection is None:
            raise FunctionCrashed("the call has no connection")
        return self.connection

    async def start(self) -> None:
        """Until the head of the function's reply is there."""
        instance = self._host.pool.ready(self._route.release)
        if instance is None:
            instance = await self._cold_start()
        self.instance = instance
        instance.begin_call()
        timeout_s = self._route.limits.timeout_ms / 1000
        self._timer = self._host.loop.call_later(min(_WATCH_AFTER_S, timeout_s), self._tick)
        connection = await self._exchange(instance)
        if connection.status == 500:
            await self._check_failure(instance, connection)

    async def _cold_start(self) -> Instance:
        began = time.perf_counter_ns()
        timeout_ms = self._route.limits.timeout_ms
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return await self._host.pool.acquire(self._route.release, lambda: self._host.load_spec(self._route))
        except TimeoutError:
            raise FunctionTimeout(timeout_ms=timeout_ms) from None
        finally:
            self.invocation.cold_start_us = (time.perf_counter_ns() - began) // 1000

    async def _exchange(self, instance: Instance) -> Connection:
        """Send the request and wait for the head; once more when an idle connection had just been closed."""
        body = self._request.body
        connection = self.connection = await instance.channel.connect()
        if self._aborted is not None:
            raise self._aborted
        while True:
            try:
                if isinstance(body, bytes):
                    self._keep_request(body)
                    connection.begin(self._head(body) + body, without_body=self._request.method == b"HEAD")
                else:
                    connection.begin(self._head(None), without_body=self._request.method == b"HEAD")
                    self._spawn(self._pump(connection, body), "request body")
                await connection.head()
                return connection
            except ConnectionResetError:
                stale = connection.uses > 1 and instance.state is State.READY and isinstance(body, bytes)
                if not stale or connection.started:
                    raise
                connection = self.connection = await instance.channel.connect(fresh=True)

    def _head(self, body: bytes | None) -> bytes:
        request = self._request
        lines = header_rules.to_function(request.headers)
        length = header_rules.get(request.headers, b"content-length")
        if body is not None:
            if body or request.method not in (b"GET", b"HEAD", b"DELETE", b"OPTIONS"):
                lines.append(b"content-length: %d\r\n" % len(body))
        elif length is not None:
            lines.append(b"content-length: %b\r\n" % length)
        else:
            lines.append(b"transfer-encoding: chunked\r\n")
        if request.scheme == "https":
            lines.append(PROTO_HEADER.encode() + b": https\r\n")
        return b'%b %b HTTP/1.1\r\n%b%b: {"id":"%b"}\r\n\r\n' % (
            request.method,
            request.target,
            b"".join(lines),
            CALL_HEADER.encode(),
            self.invocation.id.encode(),
        )

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

    def _recordable(self, body: bytes) -> tuple[bytes, bool]:
        """What is kept of a body, without the values of secrets, and whether it was cut."""
        if self.instance is not None and self.instance.redactor.longest:
            redacted = self.instance.redactor.data(body)
            return redacted[:RECORDED_BODY_MAX_BYTES], len(body) > RECORDED_BODY_MAX_BYTES
        return cut_body(body)

    @property
    def _keep_bytes(self) -> int:
        """How much of a body is held: enough to see a secret that begins in the part that is kept."""
        longest = self.instance.redactor.longest if self.instance is not None else 0
        return RECORDED_BODY_MAX_BYTES + longest + 1

    def _keep_request(self, chunk: bytes) -> None:
        kept = self.invocation
        room = self._keep_bytes - len(kept.request_body)
        kept.request_body += chunk[:room]
        kept.request_truncated = kept.request_truncated or len(chunk) > room

    async def _check_failure(self, instance: Instance, connection: Connection) -> None:
        """Tell our wrapper's report and workerd's own bare 500 from a function's reply."""
        if header_rules.get(connection.headers, _ERROR_HEADER) is not None:
            report = json.loads(await self._read_all(connection))
            redact = instance.redactor.text
            stack = report["stack"]
            raise HandlerFailed(redact(str(report["message"])), stack=redact(stack) if stack else None)
        bare = (
            header_rules.get(connection.headers, b"connection") == b"close"
            and header_rules.get(connection.headers, b"content-type") is None
            and header_rules.get(connection.headers, b"content-length") == b"%d" % len(_BARE_500)
        )
        if bare:
            raise HandlerFailed(_NEVER_SETTLED)

    async def _read_all(self, connection: Connection) -> bytes:
        parts = []
        while chunk := await connection.chunk():
            parts.append(chunk)
        return b"".join(parts)

    def _tick(self) -> None:
        """The call is not a short one: watch its caller, and its deadline."""
        rest_s = self._route.limits.timeout_ms / 1000 - _WATCH_AFTER_S
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

    def _spawn(self, work: Awaitable[None], name: str) -> None:
        self._watch.append(self._host.tasks.spawn(work, name=f"{name} {self.invocation.id}"))  # type: ignore[arg-type]

    async def chunk(self) -> bytes:
        """The next part of the reply's body; its end finishes the call."""
        try:
            data = await self.live_connection.chunk()
        except BaseException as exc:
            error = self.translate(exc)
            self.finish(error)
            if error is exc:
                raise
            raise error from exc
        if not data:
            self.finish(None)
        elif len(self._response) <= RECORDED_BODY_MAX_BYTES:
            self._response += data[: self._keep_bytes - len(self._response)]
        return data

    def translate(self, exc: BaseException) -> BaseException:
        """What happened, in the house's words, with the id of the call."""
        if isinstance(exc, OSError):
            exc = FunctionCrashed("The function's process ended while it ran this call")
        if isinstance(exc, IsoletError):
            exc.details = {**exc.details, "invocation_id": self.invocation.id}
        return exc

    def finish(self, error: BaseException | None) -> None:
        """Give everything back and hand over the record; only the first call counts."""
        if self._done:
            return
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._watch:
            task.cancel()
        invocation = self.invocation
        invocation.duration_us = (time.perf_counter_ns() - self._began) // 1000
        if self.connection is not None and error is None:
            invocation.status = self.connection.status
        elif error is not None:
            invocation.outcome = _outcome(error)
            invocation.status = _STATUS[invocation.outcome]
            invocation.error = cut_error(str(error))
        invocation.request_body, cut = self._recordable(invocation.request_body)
        invocation.request_truncated = invocation.request_truncated or cut
        invocation.response_body, invocation.response_truncated = self._recordable(bytes(self._response))
        if self.instance is not None:
            if self.connection is not None:
                self.instance.channel.release(self.connection)
            self.instance.end_call()
        self._host.recorder.end(invocation)


class Reply:
    """A function's reply. Read it to its end or `close` it; either ends the call."""

    __slots__ = ("_run", "headers", "invocation_id", "status")

    def __init__(self, run: _Run) -> None:
        self._run = run
        self.invocation_id = run.invocation.id
        self.status = run.live_connection.status
        self.headers = header_rules.to_caller(run.live_connection.headers, run.invocation.id)

    @property
    def has_chunk(self) -> bool:
        """Whether `chunk` answers without waiting."""
        connection = self._run.live_connection
        return connection.complete or bool(connection.chunks)

    def finish_if_read(self) -> bool:
        """Whether the part that `chunk` gave last was the end of the body; then the call is over."""
        connection = self._run.live_connection
        if connection.complete and not connection.chunks:
            self._run.finish(None)
            return True
        return False

    async def chunk(self) -> bytes:
        """The next part of the body, empty at its end. Raises ExecutionError when the call breaks off."""
        return await self._run.chunk()

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises HandlerFailed when it is larger than `limit` bytes."""
        parts, size = [], 0
        while data := await self.chunk():
            parts.append(data)
            size += len(data)
            if size > limit:
                self.close()
                raise HandlerFailed(f"The reply is larger than {limit} bytes")
        return b"".join(parts)

    def close(self) -> None:
        """Give the rest up, when it was not read to its end."""
        self._run.finish(ClientDisconnected("the caller left before the reply was complete"))


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
