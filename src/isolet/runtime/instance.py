"""One running workerd process that serves one release of one function."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from isolet.domain.invocations import ConsoleLine, storable
from isolet.domain.secrets import Redactor
from isolet.errors import BuildFailed, FunctionCrashed, IsoletError
from isolet.ids import InvocationId
from isolet.runtime.channel import Channel
from isolet.runtime.complaints import load_failure
from isolet.runtime.config import SOCKET_NAME, ConfigBuilder, InstanceSpec
from isolet.runtime.lifecycle import Action, Event, State, transition
from isolet.runtime.process import Child, ChildSpec, PidFiles, listen
from isolet.runtime.sandbox import Sandbox
from isolet.runtime.storage import Storages
from isolet.telemetry import get_logger

log = get_logger("runtime")

_CONSOLE_MARK = b"\x1e"
_EGRESS_INSIDE = "/egress"
_STORAGE_INSIDE = "/storage"
LineSink = Callable[[InvocationId, ConsoleLine], None]


class Launcher:
    """Makes instances: knows the sandbox, the folders and the way out."""

    def __init__(
        self,
        *,
        configs: ConfigBuilder,
        sandbox: Sandbox,
        pid_files: PidFiles,
        sockets: Path,
        egress_socket: Path,
        storages: Storages,
    ) -> None:
        self._configs = configs
        self._sandbox = sandbox
        self._pid_files = pid_files
        self._sockets = sockets
        sockets.mkdir(exist_ok=True)
        for stale in sockets.iterdir():
            stale.unlink()
        self._egress_socket = egress_socket
        self._storages = storages
        self._count = 0

    def launch(self, spec: InstanceSpec, on_line: LineSink) -> Instance:
        """Spawn a process for `spec`; it is ready once `Instance.started` returns. Raises PlatformError."""
        self._count += 1
        path = self._sockets / f"{self._count:x}.sock"
        egress = self._sandbox.path(self._egress_socket.parent, _EGRESS_INSIDE)
        storage = self._storages.hold(spec.project_id)
        try:
            config = self._configs.instance(
                spec,
                egress=f"{egress}/{self._egress_socket.name}",
                storage=self._sandbox.path(storage.sockets, _STORAGE_INSIDE),
            )
            child = ChildSpec(
                name=f"function {spec.release}",
                config=config,
                listeners={SOCKET_NAME: listen(path)},
                folders={_EGRESS_INSIDE: self._egress_socket.parent, _STORAGE_INSIDE: storage.sockets},
            )
            instance = Instance(spec, child, self._sandbox, self._pid_files, path=path, on_line=on_line)
        except BaseException:
            self._storages.release(storage)
            raise
        instance.exited.add_done_callback(lambda _: self._storages.release(storage))
        return instance


class Instance:
    """`active` counts the calls it runs. Its owner hears of its end through `on_stopped`."""

    def __init__(
        self,
        spec: InstanceSpec,
        child: ChildSpec,
        sandbox: Sandbox,
        pid_files: PidFiles,
        *,
        path: Path,
        on_line: LineSink,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._on_line = on_line
        self.redactor = Redactor(spec.variables.values())
        self.spec = spec
        self.state = State.STARTING
        self.active = 0
        self.born = self.last_used = self._loop.time()
        self.on_stopped: Callable[[Instance, bool], None] | None = None
        self.emptied = asyncio.Event()
        self.channel = Channel(str(path))
        try:
            self._child = Child(child, sandbox, pid_files, on_line=self._read_line)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            for listener in child.listeners.values():
                listener.close()
        self._child.exited.add_done_callback(lambda _: self.happened(Event.EXITED))

    @property
    def pid(self) -> int:
        """The pid of workerd itself, as the host sees it."""
        return self._child.pid

    @property
    def complaint(self) -> str:
        return self._child.complaint

    async def started(self, timeout_s: float) -> None:
        """Wait until the module has loaded. Raises BuildFailed for the code's fault, else FunctionCrashed."""
        try:
            listening = await self._child.started(timeout_s)
        except TimeoutError:
            self.happened(Event.KILLED)
            raise BuildFailed(f"the code did not load within {timeout_s:g} s") from None
        except asyncio.CancelledError:
            self.happened(Event.KILLED)
            raise
        if listening:
            self.happened(Event.LISTENED)
            if self.state is State.READY:
                return
        if not self._child.exited.done():
            raise FunctionCrashed("the instance was stopped while it started")
        raise load_failure(self._child.complaint, self.spec.module) or self._start_failure()

    def _start_failure(self) -> IsoletError:
        log.error(
            "instance did not start",
            release=self.spec.release,
            status=self._child.exited.result(),
            complaint=self._child.complaint[-2000:],
        )
        return FunctionCrashed(f"the instance ended with {describe_exit(self._child.exited.result())} as it started")

    def begin_call(self) -> None:
        self.active += 1

    def end_call(self) -> None:
        self.active -= 1
        self.last_used = self._loop.time()
        if self.active == 0:
            self.emptied.set()

    async def probe(self, timeout_s: float) -> int:
        """How many `waitUntil` promises it still works on. Raises OSError or TimeoutError when it does not answer."""
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self.channel.connect()
                try:
                    connection.begin(b'GET / HTTP/1.1\r\nhost: probe\r\nx-isolet-call: {"probe":true}\r\n\r\n')
                    await connection.head()
                    body = b""
                    while chunk := await connection.chunk():
                        body += chunk
                finally:
                    self.channel.release(connection)
        except FunctionCrashed as exc:
            raise ConnectionRefusedError(str(exc)) from exc
        return int(json.loads(body)["waiting"])

    def happened(self, event: Event) -> None:
        """The one place where the state changes."""
        self.state, action = transition(self.state, event)
        if action is Action.KILL:
            self._child.kill()
        elif action is Action.DRAIN and self.active == 0:
            self.emptied.set()
        elif action in (Action.FAIL_START, Action.REPORT_CRASH, Action.RELEASE):
            self._release(crashed=action is Action.REPORT_CRASH)

    @property
    def exited(self) -> asyncio.Future[int]:
        """Resolves with the exit status once the process is reaped."""
        return self._child.exited

    def _release(self, *, crashed: bool) -> None:
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

    def _read_line(self, line: bytes) -> None:
        if not line.startswith(_CONSOLE_MARK):
            return
        try:
            call, level, at_ms, message, stack = json.loads(line[1:])
            parsed = ConsoleLine(
                level=str(level),
                message=storable(self.redactor.text(str(message))),
                at_ms=int(at_ms),
                stack=storable(self.redactor.text(stack)) if stack else None,
            )
        except (ValueError, TypeError):
            return
        self._on_line(call, parsed)


def describe_exit(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
