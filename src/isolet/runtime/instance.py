"""One running workerd process that serves one release of one function."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from isolet.domain.kills import KillReport, Limit
from isolet.domain.redaction import Redactor
from isolet.errors import BuildFailed, FunctionCrashed, IsoletError
from isolet.runtime.cgroups import Cgroup, Cgroups
from isolet.runtime.complaints import load_failure
from isolet.runtime.config import SOCKET_NAME, ConfigBuilder, InstanceSpec
from isolet.runtime.console import Console, LineSink, OwnLineSink
from isolet.runtime.egress import Egress, Egresses
from isolet.runtime.envelope import COLLECT, PROBE
from isolet.runtime.lifecycle import Action, Event, State, transition
from isolet.runtime.origins import Origins
from isolet.runtime.priority import Priority
from isolet.runtime.process import Child, ChildSpec, PidFiles, listen
from isolet.runtime.sandbox import Sandbox
from isolet.runtime.storage.port import ProjectStorage, ProjectStorages
from isolet.runtime.usage import MemoryGauge, anonymous_bytes, busy_seconds, cpu_seconds
from isolet.tasks import Tasks
from isolet.telemetry import get_logger
from isolet.wire import heads
from isolet.wire.channel import Channel, Connection
from isolet.wire.tunnel import Tunnel

log = get_logger("runtime")

_EGRESS_INSIDE = "/egress"
_STORAGE_INSIDE = "/storage"
_LOOPBACK_INSIDE = "/loopback"
# The kernel's own limit stands behind the one that is watched: it counts address space, so it leaves more room.
_MEMORY_SLACK_BYTES = 256 * 1024 * 1024
_PROBE, _COLLECT = (
    heads.request(b"GET", b"/", [heads.line(b"host", b"probe"), event.line(b"")]) for event in (PROBE, COLLECT)
)
# A cgroup counts what the program itself takes, too, and pages of files that it was the first to read.
_CGROUP_SLACK_BYTES = 192 * 1024 * 1024
# Nobody guesses what an instance shows when it calls other functions.
_TOKEN_BYTES = 32
# A dying process closes its sockets moments before it is seen to have ended.
_POST_MORTEM_S = 0.5
_MEASURE_EVERY_S = 0.05
# Of processor time, workerd itself takes some 0.05 s.
_OWN_START_S = 0.5
_STARVED_S = 120.0
_MB = 1024 * 1024
_ANSWER = re.compile(rb'\{"waiting":(\d{1,9})\}')
_ANSWER_MAX_BYTES = 64
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


class Launcher:
    """Makes instances: knows the sandbox, the folders and the way out."""

    def __init__(
        self,
        *,
        configs: ConfigBuilder,
        sandbox: Sandbox,
        pid_files: PidFiles,
        sockets: Path,
        egresses: Egresses,
        storages: ProjectStorages,
        loopback_socket: Path | None = None,
        cgroups: Cgroups | None = None,
    ) -> None:
        self._cgroups = cgroups
        self._loopback_socket = loopback_socket
        self._configs = configs
        self._sandbox = sandbox
        self._pid_files = pid_files
        self._sockets = sockets
        sockets.mkdir(exist_ok=True)
        for stale in sockets.iterdir():
            stale.unlink()
        self._egresses = egresses
        self._storages = storages
        self._count = 0
        self._by_token: dict[str, Instance] = {}

    def launch(self, spec: InstanceSpec, on_line: LineSink, on_own_line: OwnLineSink) -> Instance:
        """Spawn a process for `spec`; it is ready once `Instance.started` returns. Raises PlatformError."""
        self._count += 1
        path = self._sockets / f"{self._count:x}.sock"
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        storage = self._storages.hold(spec.project_id)
        egress = self._egresses.hold(spec.project_id)
        try:
            config = self._configs.instance(
                spec,
                egress=f"{self._sandbox.path(egress.folder, _EGRESS_INSIDE)}/{egress.socket.name}",
                storage=self._sandbox.path(storage.mount, _STORAGE_INSIDE),
                loopback=self._loopback_address(),
                token=token,
            )
            child = ChildSpec(
                name=f"function {spec.release}",
                config=config,
                listeners={SOCKET_NAME: listen(path)},
                folders=self._folders(egress.folder, storage.mount),
                memory_max_bytes=2 * spec.limits.memory_limit_mb * _MB + _MEMORY_SLACK_BYTES,
            )
            instance = Instance(
                spec, child, self._sandbox, self._pid_files, path=path, on_line=on_line, on_own_line=on_own_line
            )
        except BaseException:
            self._let_go(egress, storage)
            raise
        self._by_token[token] = instance
        instance.exited.add_done_callback(lambda _: self._ended(token, egress, storage))
        if self._cgroups is not None:
            instance.cgroup = self._cgroups.make(
                f"{self._count:x}", spec.limits.memory_limit_mb * _MB + _CGROUP_SLACK_BYTES
            )
        return instance

    def _loopback_address(self) -> str | None:
        socket = self._loopback_socket
        return f"{self._sandbox.path(socket.parent, _LOOPBACK_INSIDE)}/{socket.name}" if socket is not None else None

    def instance_of(self, token: str) -> Instance | None:
        """The instance that shows this token when it calls other functions."""
        return self._by_token.get(token)

    def _ended(self, token: str, egress: Egress, storage: ProjectStorage) -> None:
        del self._by_token[token]
        self._let_go(egress, storage)

    def _let_go(self, egress: Egress, storage: ProjectStorage) -> None:
        self._egresses.release(egress)
        self._storages.release(storage)

    def _folders(self, egress: Path, storage: Path) -> dict[str, Path]:
        folders = {_EGRESS_INSIDE: egress, _STORAGE_INSIDE: storage}
        if self._loopback_socket is not None:
            folders[_LOOPBACK_INSIDE] = self._loopback_socket.parent
        return folders


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
        on_line: LineSink,
        on_own_line: OwnLineSink,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self.redactor = spec.redactor or Redactor(spec.private)
        self.console = Console(self.redactor, spec.module, on_line=on_line, on_own_line=on_own_line)
        self.origins = Origins()
        self.spec = spec
        self.state = State.STARTING
        self.active = 0
        self.served = False
        self.calls: set[Connection] = set()
        self.tunnels: set[Tunnel] = set()
        self.last_used = self._loop.time()
        self.ended: KillReport | None = None
        self.cgroup: Cgroup | None = None
        self._gauge: MemoryGauge | None = None
        self.idle_timer: asyncio.TimerHandle | None = None
        # What calls go by now; the module was loaded under `spec.limits`.
        self.limits = spec.limits
        self.longest_ms = 0
        self._unloadable: BuildFailed | None = None
        self._init_watch()
        self.on_stopping: Callable[[Instance], None] | None = None
        self.on_stopped: Callable[[Instance, bool], None] | None = None
        self.emptied = asyncio.Event()
        self.channel = Channel(str(path))
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
        return self.redactor.text(self._child.stderr_tail)

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
            # What it is watched for ends it before that, on any machine that gives it some processor time.
            listening = await self._child.started(timeout_s + _STARVED_S + 10 * self._loading_cpu_s)
        except TimeoutError:
            self.happened(Event.KILLED)
            raise self._too_slow(timeout_s) from None
        except asyncio.CancelledError:
            self.happened(Event.KILLED)
            raise
        finally:
            watching.cancel()
        if listening:
            self.happened(Event.LISTENED)
            if self.state is State.READY:
                self.looked_at, self.cpu_seen_s = self._loop.time(), cpu_seconds(self.pid)
                self._gauge = MemoryGauge(self.pid)
                # The first was of bubblewrap; by now `pid` is workerd, whose threads are told apart.
                self.priority = Priority(self.pid)
                self.base_memory_bytes = self.anonymous_bytes
                if self.cgroup is not None:
                    self.cgroup.take(self.pid)
                return
        if self._unloadable is not None:
            raise self._unloadable
        if not self._child.exited.done():
            raise FunctionCrashed("the instance was stopped while it started")
        raise load_failure(self.stderr_tail, self.spec.module, self.spec.code) or self._start_failure()

    async def _watch_loading(self, timeout_s: float) -> None:
        """End a module that takes all memory or processor time as it loads, or that waits without end.

        The kernel's limit, and the guard, begin once it listens.
        """
        memory_max_bytes = 2 * self.spec.limits.memory_limit_mb * _MB + _MEMORY_SLACK_BYTES
        began = self._loop.time()
        while self.state is State.STARTING:
            await asyncio.sleep(_MEASURE_EVERY_S)
            if self.priority.pid != self.pid:
                # Bubblewrap may have started workerd before its own priority was lowered.
                self.priority = Priority(self.pid)
            worked_s = cpu_seconds(self.pid)
            if anonymous_bytes(self.pid) > memory_max_bytes:
                self._unloadable = self._too_much_memory()
            elif worked_s > self._loading_cpu_s:
                self._unloadable = BuildFailed(
                    f"the code used more than its CPU time of {self.spec.limits.cpu_ms} ms as it loaded"
                )
            elif self._loop.time() - began > timeout_s + worked_s and self._waits(began, timeout_s):
                self._unloadable = self._too_slow(timeout_s)
            if self._unloadable is not None:
                self.happened(Event.KILLED)

    def _waits(self, began: float, timeout_s: float) -> bool:
        """Whether it was idle that long, and not only short of a processor."""
        return self._loop.time() - began - busy_seconds(self.pid) > timeout_s

    @property
    def _loading_cpu_s(self) -> float:
        """What the module may use, and what workerd itself does before it."""
        return self.spec.limits.cpu_ms / 1000 + _OWN_START_S

    @staticmethod
    def _too_slow(timeout_s: float) -> BuildFailed:
        return BuildFailed(f"the code did not load within {timeout_s:g} s")

    def _too_much_memory(self) -> BuildFailed:
        return BuildFailed(f"the code exceeded its memory limit of {self.spec.limits.memory_limit_mb} MB as it loaded")

    def _init_watch(self) -> None:
        """What the guard keeps of its looks: loop time, CPU seconds, bytes."""
        self.looked_at = self._loop.time()
        self.cpu_seen_s = 0.0
        self.lag_s = 0.0
        self.share = 0.0
        self.unproven_s = 0.0
        self.turned_at = 0.0
        self.asked_at: float | None = None
        self.asked_cpu_s = 0.0
        self.stalled = False
        self.busy = False
        self.measured_at = 0.0
        self.measured_bytes = 0
        self.base_memory_bytes = 0
        self.memory_bytes = 0
        self.peak_memory_bytes = 0
        self.collecting = False
        self.collect_from_bytes = 0
        self.over_since: float | None = None
        self.grows = False

    @property
    def needs_watching(self) -> bool:
        """Whether it does something, or did since the guard looked last: run calls, grow, not answer."""
        asked = self.asked_at is not None or self.over_since is not None
        return self.active > 0 or self.last_used >= self.looked_at or asked or self.grows

    def _start_failure(self) -> IsoletError:
        if self._out_of_memory:
            return BuildFailed(
                f"the code exceeded its memory limit of {self.spec.limits.memory_limit_mb} MB as it loaded"
            )
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
                self.turned_at = self.last_used
            self.calls.discard(connection)
            self.channel.release(connection)
        if self.active == 0:
            self.emptied.set()

    def retire_tunnels(self) -> None:
        """Ask the callers of its WebSockets to connect again."""
        for tunnel in list(self.tunnels):
            tunnel.retire()

    @property
    def anonymous_bytes(self) -> int:
        """Its private resident memory now; 0 before it has started, and once it is gone."""
        return self._gauge.anonymous_bytes if self._gauge is not None else 0

    def measure_memory(self) -> int:
        """Its private resident memory in bytes; looked at anew at most every 50 ms, so that a call costs nothing."""
        now = self._loop.time()
        if now - self.measured_at > _MEASURE_EVERY_S:
            self.measured_at = now
            self.measured_bytes = self.anonymous_bytes or self.base_memory_bytes + self.peak_memory_bytes
        return self.measured_bytes

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
            used = max(self.peak_memory_bytes // _MB, allowed)
            return KillReport(limit=Limit.MEMORY, at_ms=at_ms, allowed=allowed, used=used, hit=hit)
        return KillReport(limit=Limit.CRASH, at_ms=at_ms, detail=describe_exit(self.exited.result()), hit=hit)

    async def probe(self, timeout_s: float | None, *, collect: bool = False) -> int:
        """How many `waitUntil` promises it still works on; with `collect` it collects garbage first.

        Raises OSError or TimeoutError when it does not answer, or answers what the wrapper does not say.
        """
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self.channel.connect()
                try:
                    connection.begin(_COLLECT if collect else _PROBE)
                    await connection.head()
                    body = b""
                    while len(body) <= _ANSWER_MAX_BYTES and (chunk := await connection.chunk()):
                        body += chunk
                finally:
                    self.channel.release(connection)
        except FunctionCrashed as exc:
            raise ConnectionRefusedError(str(exc)) from exc
        if (answer := _ANSWER.fullmatch(body)) is None:
            # The function runs in the same isolate, and may have changed what the wrapper stands on.
            raise ConnectionAbortedError("the instance's answer cannot be read")
        return int(answer[1])

    def happened(self, event: Event) -> None:
        """The one place where the state changes."""
        self.state, action = transition(self.state, event)
        if action is Action.KILL:
            self._child.kill()
            if self.on_stopping is not None:
                self.on_stopping(self)
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
        if self._gauge is not None:
            self._gauge.close()
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
        if self.on_stopped is not None:
            self.on_stopped(self, crashed)


def describe_exit(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
