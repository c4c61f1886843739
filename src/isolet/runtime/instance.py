"""One running workerd process that serves one release of one function."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from isolet.domain.kills import KillReport, Limit
from isolet.domain.redaction import Redactor
from isolet.errors import BuildFailed, FunctionCrashed, IsoletError
from isolet.runtime import loading
from isolet.runtime.cgroups import Cgroup
from isolet.runtime.complaints import load_failure
from isolet.runtime.console import Console, LineSink, OwnLineSink
from isolet.runtime.envelope import COLLECT, PROBE
from isolet.runtime.judge import Sample
from isolet.runtime.lifecycle import Action, Event, State, transition
from isolet.runtime.memory import Memory
from isolet.runtime.origins import Origins
from isolet.runtime.pid_files import PidFiles
from isolet.runtime.priority import Priority
from isolet.runtime.process import Child, ChildSpec
from isolet.runtime.sandbox import Sandbox
from isolet.runtime.spec import InstanceSpec
from isolet.runtime.usage import cpu_seconds, is_ending
from isolet.tasks import Tasks
from isolet.telemetry import get_logger
from isolet.wire import heads
from isolet.wire.channel import Channel, Connection
from isolet.wire.crowd import Crowd
from isolet.wire.tunnel import Tunnel

log = get_logger("runtime")

_PROBE, _COLLECT = (
    heads.request(b"GET", b"/", [heads.line(b"host", b"probe"), event.line(b"")]) for event in (PROBE, COLLECT)
)
# A dying process closes its sockets moments before it is seen to have ended.
_POST_MORTEM_S = 0.5
_MB = 1024 * 1024
_ANSWER = re.compile(rb'\{"waiting":(\d{1,9})\}')
_ANSWER_MAX_BYTES = 64
_NOT_LOADED = (500, b"Internal Server Error")
_OUT_OF_MEMORY = re.compile(r"out of memory|Reached heap limit|bad_alloc|Cannot allocate memory|mmap\(", re.IGNORECASE)
# `entry.js` and `console.js` cut at 4,096 or more, and count characters beyond U+FFFF twice.
_MAY_BE_CUT_CHARS = 2_000


class InstanceEnded(ConnectionError):
    """The process was killed while it ran the call."""

    def __init__(self, report: KillReport) -> None:
        super().__init__(report.message)
        self.report = report


class NotDelivered(ConnectionError):
    """The process ended, or could not be reached, before it read the first byte of the call."""


class Owner(Struct, frozen=True, kw_only=True):
    """What the owner of an instance hears: lines of its calls, its other lines, that it was killed, that it has ended.

    `on_stopped` also gets whether it ended by itself.
    """

    on_line: LineSink
    on_own_line: OwnLineSink
    on_stopping: Callable[[Instance], None]
    on_stopped: Callable[[Instance, bool], None]


class Instance:
    """`active` counts the calls it runs, `longest_ms` is the most time that one of them got.

    Its owner hears that it stops, and that it has.
    """

    def __init__(
        self,
        spec: InstanceSpec,
        child: ChildSpec,
        sandbox: Sandbox,
        pid_files: PidFiles,
        *,
        path: Path,
        owner: Owner,
        crowd: Crowd | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._owner = owner
        self.redactor = spec.redactor or Redactor(spec.private)
        self.console = Console(self.redactor, spec.module, on_line=owner.on_line, on_own_line=owner.on_own_line)
        self.origins = Origins()
        self.spec = spec
        self.state = State.STARTING
        self.active = 0
        self.served = False
        self.calls: set[Connection] = set()
        self.tunnels: set[Tunnel] = set()
        self.last_used = self._loop.time()
        self.replied_at = 0.0
        self.ended: KillReport | None = None
        self.cgroup: Cgroup | None = None
        self.memory = Memory()
        self.idle_timer: asyncio.TimerHandle | None = None
        # What calls go by now; the module was loaded under `spec.limits`.
        self.limits = spec.limits
        self.longest_ms = 0
        # What it had used when it was ready: the guard measures from there.
        self.first_look = Sample(at_s=self.last_used, cpu_s=0.0)
        # What the guard found: its loop does not turn, or it needs more of a processor than it has.
        self.stalled = False
        self.busy = False
        self.emptied = asyncio.Event()
        self.channel = Channel(str(path), crowd)
        try:
            self._child = Child(child, sandbox, pid_files, on_line=self.console.read, on_error=self.console.read_error)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            for listener in child.listeners.values():
                listener.close()
        self._child.exited.add_done_callback(lambda _: self.happened(Event.EXITED))
        # From its first moment, so that one that starts does not outrank those that serve.
        self.priority = Priority(self.pid)

    @property
    def pid(self) -> int:
        """The pid of workerd itself, as the host sees it."""
        return self._child.pid

    @property
    def stderr_tail(self) -> str:
        """The end of what it wrote to standard error, without the values of secrets."""
        return self.redactor.text(self._child.stderr_tail, cut=True, headless=not self._child.stderr_is_whole)

    def redact(self, text: str) -> str:
        """What the wrapper reports, without the values of secrets; a long text may have been cut there."""
        return self.console.redact(text, cut=len(text) >= _MAY_BE_CUT_CHARS)

    def redact_stack(self, stack: str) -> str:
        """The same of a stack trace, with its places in the author's text."""
        return self.console.redact_stack(stack, cut=len(stack) >= _MAY_BE_CUT_CHARS)

    async def started(self, timeout_s: float) -> None:
        """Wait until the module has loaded. Raises BuildFailed for the code's fault, else FunctionCrashed."""
        watching = Tasks().spawn(self._watch_loading(timeout_s), name=f"watch loading {self.spec.release}")
        try:
            listening = await self._child.started(loading.start_max_s(self.spec.limits, timeout_s))
        except TimeoutError:
            self.happened(Event.KILLED)
            raise loading.too_slow(timeout_s) from None
        except asyncio.CancelledError:
            self.happened(Event.KILLED)
            raise
        finally:
            watching.cancel()
        if listening:
            self.happened(Event.LISTENED)
            if self.state is State.READY:
                self._is_ready()
                return
        if watching.done() and not watching.cancelled():
            raise watching.result()
        if not self._child.exited.done():
            raise FunctionCrashed("the instance was stopped while it started")
        # The lines of a large module are read for that.
        failed = await asyncio.to_thread(load_failure, self.stderr_tail, self.spec.module, self.spec.code)
        raise failed or self._start_failure()

    async def _watch_loading(self, timeout_s: float) -> BuildFailed:
        failed = await loading.watch(
            self._child, self.priority, self.spec.limits, timeout_s, on_memory=self.memory.loading
        )
        self.happened(Event.KILLED)
        return failed

    def _is_ready(self) -> None:
        self.first_look = Sample(at_s=self._loop.time(), cpu_s=cpu_seconds(self.pid))
        self.memory.started(self.pid)
        # The first was of bubblewrap; by now `pid` is workerd, whose threads are told apart.
        self.priority = Priority(self.pid)
        if self.cgroup is not None:
            self.cgroup.take(self.pid)

    def _start_failure(self) -> IsoletError:
        if self._out_of_memory:
            return loading.too_much_memory(self.spec.limits)
        log.error(
            "instance did not start",
            function_id=self.spec.function_id,
            release=self.spec.release,
            status=self._child.exited.result(),
            stderr_tail=self.stderr_tail[-2000:],
        )
        return FunctionCrashed(f"the instance ended with {describe_exit(self._child.exited.result())} as it started")

    def begin_call(self) -> None:
        self.active += 1
        self.served = True
        self.longest_ms = max(self.longest_ms, self.limits.timeout_ms)
        self.emptied.clear()

    def end_call(self, connection: Connection | None) -> None:
        self.active -= 1
        self.last_used = self._loop.time()
        if connection is not None:
            if connection.complete:
                self.replied_at = self.last_used
            self.calls.discard(connection)
            self.channel.release(connection)
        if self.active == 0:
            self.emptied.set()

    def retire_tunnels(self) -> None:
        """Ask the callers of its WebSockets to connect again."""
        for tunnel in list(self.tunnels):
            tunnel.retire()

    def measure_memory(self) -> int:
        """Its private resident memory in bytes; looked at anew at most every 50 ms, so that a call costs nothing."""
        return self.memory.recent(self._loop.time())

    def end(self, report: KillReport) -> None:
        """Kill the process for what `report` says. Calls whose bytes it has not read are told so, to run elsewhere."""
        if self.state not in (State.READY, State.DRAINING):
            return
        # Stopped first, so that what it has read and what not stays as it is while we look.
        self._child.halt()
        unseen = {connection for connection in self.calls if connection.unread}
        self.ended = report.counting(hit=max(len(self.calls) - len(unseen) - 1, 0), rerun=len(unseen))
        log.warning(
            "instance killed", function_id=self.spec.function_id, release=self.spec.release, **self.ended.to_json()
        )
        for connection in list(self.calls):
            connection.abort(NotDelivered() if connection in unseen else InstanceEnded(self.ended))
        self.happened(Event.KILLED)

    async def answers(self, timeout_s: float) -> bool:
        """Whether its loop turns: it answers a probe in time. One that is about to end is not asked."""
        if self.state not in (State.READY, State.DRAINING):
            return True
        try:
            await self.probe(timeout_s)
        except (OSError, TimeoutError):
            return False
        return True

    async def check_alive(self, timeout_s: float) -> None:
        """Raises NotDelivered for a process that ends; so that others start meanwhile, it waits until it is gone."""
        if is_ending(self.pid):
            await self.ends_within(timeout_s)
            raise NotDelivered

    async def ends_within(self, timeout_s: float) -> bool:
        """Whether the process is gone, or goes within this time."""
        if self.state is State.READY:
            await asyncio.wait({self.exited}, timeout=timeout_s)
        return self.state is not State.READY

    async def post_mortem(self, at_ms: int) -> KillReport | None:
        """Why the process is gone, once it is; None when it broke a call off and lives on."""
        if self.ended is None:
            await asyncio.wait({self.exited}, timeout=_POST_MORTEM_S)
        if self.ended is None and self.exited.done():
            self.ended = self._explain_exit(at_ms)
        return self.ended

    @property
    def _out_of_memory(self) -> bool:
        """Whether the process that is gone went for want of memory."""
        by_kernel = self.cgroup is not None and self.cgroup.killed
        return by_kernel or _OUT_OF_MEMORY.search(self._child.stderr_tail) is not None

    def _explain_exit(self, at_ms: int) -> KillReport:
        hit = max(self.active - 1, 0)
        if self._out_of_memory:
            allowed = self.spec.limits.memory_limit_mb
            used = max(self.memory.peak_bytes // _MB, allowed)
            return KillReport(limit=Limit.MEMORY, at_ms=at_ms, allowed=allowed, used=used, hit=hit)
        return KillReport(limit=Limit.CRASH, at_ms=at_ms, detail=describe_exit(self.exited.result()), hit=hit)

    async def probe(self, timeout_s: float | None, *, collect: bool = False) -> int:
        """How many `waitUntil` promises it still works on; with `collect` it collects garbage first.

        Raises OSError or TimeoutError when it does not answer, or answers what the wrapper does not say.
        """
        try:
            async with asyncio.timeout(timeout_s):
                _, body = await self._ask(_COLLECT if collect else _PROBE)
        except FunctionCrashed as exc:
            raise ConnectionRefusedError(str(exc)) from exc
        if (answer := _ANSWER.fullmatch(body)) is None:
            # The function runs in the same isolate, and may have changed what the wrapper stands on.
            raise ConnectionAbortedError("the instance's answer cannot be read")
        return int(answer[1])

    async def check_loaded(self, timeout_s: float) -> None:
        """Raises BuildFailed when the runtime listens, but could not say what the module threw as it loaded."""
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._ask(_PROBE)
        except (OSError, TimeoutError, FunctionCrashed):
            return
        if answer == _NOT_LOADED:
            raise BuildFailed("the module threw as it loaded, and what it threw cannot be shown")

    async def _ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a request of the host's own, which is short."""
        connection = await self.channel.connect()
        try:
            connection.begin(request)
            await connection.head()
            body = b""
            while len(body) <= _ANSWER_MAX_BYTES and (chunk := await connection.chunk()):
                body += chunk
        finally:
            self.channel.release(connection)
        return connection.status, body

    def happened(self, event: Event) -> None:
        """The one place where the state changes."""
        self.state, action = transition(self.state, event)
        if action is Action.KILL:
            self._child.kill()
            self._owner.on_stopping(self)
        elif action is Action.DRAIN and self.active == 0:
            self.emptied.set()
        elif action in (Action.FAIL_START, Action.REPORT_CRASH, Action.RELEASE):
            self._release(crashed=action is Action.REPORT_CRASH)

    @property
    def exited(self) -> asyncio.Future[int]:
        """Resolves with the exit status once the process is reaped."""
        return self._child.exited

    def _release(self, *, crashed: bool) -> None:
        if self.cgroup is not None:
            self.cgroup.remove()
        self.memory.close()
        self.emptied.set()
        self._path.unlink(missing_ok=True)
        self.channel.close()
        if crashed:
            log.warning(
                "instance crashed",
                release=self.spec.release,
                status=describe_exit(self._child.exited.result()),
                active=self.active,
            )
        self._owner.on_stopped(self, crashed)


def describe_exit(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
