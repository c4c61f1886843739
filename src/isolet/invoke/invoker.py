"""The one way to run a function.

    door ─► Invoker.call ─► Reply ─► door

Everything that a call is while it runs is in `isolet.invoke.call`.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable

from isolet.clock import Clock
from isolet.domain.invocations import Invocation
from isolet.domain.limits import REPLY_MAX_MS
from isolet.domain.own_keys import OwnKeys
from isolet.domain.shared_origin import tamed, without_session
from isolet.errors import ClientDisconnected, HandlerFailed, IsoletError, NotDeployed, TooManyRequests, Unavailable
from isolet.ids import FunctionId, InvocationId, ProjectId, new_id
from isolet.invoke.call import Call
from isolet.invoke.request import CallRequest, check_target
from isolet.invoke.services import CallServices
from isolet.invoke.watch import Watch
from isolet.invoke.websocket import splice
from isolet.observe.recorder import Recorder
from isolet.observe.redaction import Redaction
from isolet.routing.routes import Route
from isolet.runtime.pool import Pool
from isolet.runtime.spec import InstanceSpec
from isolet.tasks import Tasks
from isolet.wire import headers as header_rules
from isolet.wire.upgrade import Upgrade

# As `zlib` names it.
_GZIP = 16 + zlib.MAX_WBITS


class Invoker:
    """`on_call` hears that a call begins to run on an instance.

    No credential of the platform goes to a function, and no reply leaves that would rule the origin: whichever door.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        recorder: Recorder,
        clock: Clock,
        load_spec: Callable[[Route], Awaitable[InstanceSpec]],
        on_call: Callable[[], None],
        recording: Redaction,
        own_keys: OwnKeys,
        sandbox_pages: bool = True,
        base_path: bytes = b"",
        reply_max_ms: int = REPLY_MAX_MS,
        on_refused: Callable[[ProjectId, FunctionId, IsoletError], None] = lambda *_: None,
    ) -> None:
        """`reply_max_ms` is what a call with a caller may take in all; `on_refused` hears of calls that ran nothing.

        `base_path` is what stands before the paths of the API outside of a proxy, such as `/isolet`.
        """
        self._on_refused = on_refused
        self.own_keys = own_keys
        self._sandbox_pages = sandbox_pages
        self._base_path = base_path
        self._means = CallServices(
            loop=asyncio.get_running_loop(),
            tasks=Tasks(),
            clock=clock,
            pool=pool,
            load_spec=load_spec,
            on_call=on_call,
            watch=Watch(),
            recorder=recorder,
            recording=recording,
            reply_max_ms=reply_max_ms,
        )

    def admit(self, route: Route) -> None:
        """Refuse a call before its body is read. Raises NotDeployed; TooManyRequests when too many wait already."""
        try:
            _check_deployed(route)
            self._means.pool.admit(route.release, route.project_id)
        except IsoletError as exc:
            self._on_refused(route.project_id, route.function_id, exc)
            raise

    async def call(self, route: Route, request: CallRequest) -> Reply:
        """Run the live version of a function; the reply's body follows as it is read.

        Raises NotDeployed, RequestError and TooManyRequests before anything runs, and an ExecutionError, which carries
        `invocation_id` in its details, when the function fails before its reply begins.
        """
        version = _check_deployed(route)
        invocation = Invocation(
            id=request.invocation_id or InvocationId(new_id()),
            project_id=route.project_id,
            function_id=route.function_id,
            function_name=route.name,
            version=version,
            door=request.door,
            kind=request.kind,
            method=request.method.decode("latin-1"),
            path=request.path,
            started_at_ms=self._means.clock.now_ms(),
        )
        request.passed = self.own_keys.without(request.headers)
        request.target = self.own_keys.without_in_query(request.target)
        check_target(request.target)
        call = Call(self._means, route, request, invocation)
        try:
            await call.start()
        except (TooManyRequests, Unavailable) as exc:
            self._on_refused(route.project_id, route.function_id, exc)
            raise
        return Reply(call, request, sandboxed=self._sandbox_pages, base=self._base_path)

    async def close(self) -> None:
        self._means.watch.close()
        await self._means.tasks.close()


def _check_deployed(route: Route) -> int:
    if route.version is None:
        raise NotDeployed("Function is not deployed")
    return route.version


def _unpacked(body: bytes, most: int) -> bytes:
    """At most so many bytes; what is no gzip stays as it is."""
    try:
        return zlib.decompressobj(wbits=_GZIP).decompress(body, most)
    except zlib.error:
        return body


class Reply:
    """A function's reply. Read it to its end or `close` it; either ends the call."""

    __slots__ = ("_call", "_connection", "headers", "invocation_id", "status")

    def __init__(self, call: Call, request: CallRequest, *, sandboxed: bool, base: bytes) -> None:
        self._call = call
        self._connection = call.live_connection
        self.invocation_id = call.invocation.id
        self.status = self._connection.status
        told = header_rules.to_caller(self._connection.headers, call.invocation.id)
        if request.own_origin:
            self.headers = without_session(told)
        else:
            self.headers = tamed(told, sandboxed=sandboxed, asked=request.asked, base=base)

    def take_whole(self) -> bytes | None:
        """The whole body, when all of it has come; the call is over then."""
        return self._call.take_rest() if self._connection.complete else None

    @property
    def has_chunk(self) -> bool:
        """Whether `chunk` answers without waiting."""
        return self._connection.complete or bool(self._connection.chunks)

    def finish_if_read(self) -> bool:
        """Whether the part that `chunk` gave last was the end of the body; then the call is over."""
        if self._connection.complete and not self._connection.chunks:
            self._call.finish(None)
            return True
        return False

    async def chunk(self) -> bytes:
        """The next part of the body, empty at its end. Raises ExecutionError when the call breaks off."""
        return await self._call.chunk()

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

    async def read_plain(self, limit: int) -> bytes:
        """The same for who knows no codings: a body that the function sends with gzip is unpacked, to `limit` bytes."""
        body = await self.read(limit)
        if header_rules.get(self.headers, b"content-encoding") != b"gzip":
            return body
        plain = await asyncio.to_thread(_unpacked, body, limit + 1)
        if len(plain) > limit:
            raise HandlerFailed(f"The reply is larger than {limit} bytes")
        return plain

    async def splice(self, upgrade: Upgrade, *, idle_timeout_s: float) -> None:
        """Go on as the WebSocket that the function agreed to with its 101, until either side has closed it."""
        await splice(self._call, self.headers, upgrade, idle_timeout_s=idle_timeout_s)

    def close(self) -> None:
        """Give the rest up, when it was not read to its end."""
        self._call.finish(ClientDisconnected("the caller left before the reply was complete"))
