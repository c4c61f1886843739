"""The runtime around the real workerd, put together as the server does it, without the rest of the house."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isolet.domain.invocations import ConsoleLine
from isolet.domain.limits import Limits
from isolet.ids import FunctionId, InvocationId, ProjectId, new_id
from isolet.runtime.config import ConfigBuilder, InstanceSpec
from isolet.runtime.egress import Egress
from isolet.runtime.instance import Instance, Launcher
from isolet.runtime.pool import Budget, Pool
from isolet.runtime.process import PidFiles
from isolet.runtime.sandbox import Sandbox
from isolet.runtime.storage import Storages
from isolet.tasks import Tasks

START_TIMEOUT_S = 15.0


def a_spec(module: str, **values: Any) -> InstanceSpec:
    """`module` is what the compiler would give: an ES module that exports a handler."""
    known = {"function_id": FunctionId(new_id()), "project_id": ProjectId("project"), "version": 1, "limits": Limits()}
    return InstanceSpec(**{**known, "release": f"test-{new_id()}", "module": module, **values})


async def acquire(pool: Pool, spec: InstanceSpec) -> Instance:
    """An instance of `spec` that takes a call."""

    async def load() -> InstanceSpec:
        return spec

    return await pool.acquire(spec.release, spec.limits, load, within_s=20)


def ready(pool: Pool, spec: InstanceSpec) -> Instance | None:
    return pool.ready(spec.release, spec.limits)


@dataclass(slots=True)
class Lines:
    """The console lines that instances printed, by call."""

    printed: list[tuple[InvocationId, ConsoleLine]] = field(default_factory=list)

    def __call__(self, invocation_id: InvocationId, line: ConsoleLine) -> None:
        self.printed.append((invocation_id, line))

    @property
    def messages(self) -> list[str]:
        return [line.message for _, line in self.printed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Makes pools; `folder` is a short path for sockets and pids."""

    folder: Path
    configs: ConfigBuilder
    sandbox: Sandbox
    pid_files: PidFiles

    @asynccontextmanager
    async def egress(self, *allowed: str) -> AsyncIterator[Egress]:
        """The way out, supervised."""
        egress = Egress(
            configs=self.configs,
            sandbox=self.sandbox,
            pid_files=self.pid_files,
            socket=self.folder / "egress" / "socket",
            allowed=allowed,
            start_timeout_s=START_TIMEOUT_S,
        )
        tasks = Tasks()
        try:
            await egress.start()
            tasks.loop(egress.supervise(), name="egress")
            yield egress
        finally:
            await egress.close()
            await tasks.close()

    def storages(self) -> Storages:
        """To be closed by the caller."""
        return Storages(
            configs=self.configs,
            sandbox=self.sandbox,
            pid_files=self.pid_files,
            data=self.folder / "projects",
            sockets=self.folder / "storage",
            idle_timeout_s=300.0,
            database_max_bytes=1024 * 1024,
        )

    @asynccontextmanager
    async def pool(self, on_line: Callable[[InvocationId, ConsoleLine], None], **values: Any) -> AsyncIterator[Pool]:
        """A pool that is closed at the end, with nothing left of it."""
        storages = self.storages()
        egress_socket = self.folder / "egress" / "socket"
        egress_socket.parent.mkdir(exist_ok=True)
        launcher = Launcher(
            configs=self.configs,
            sandbox=self.sandbox,
            pid_files=self.pid_files,
            sockets=self.folder / "sockets",
            egress_socket=egress_socket,
            storages=storages,
        )
        known = {
            "start_timeout_s": START_TIMEOUT_S,
            "idle_timeout_s": 300.0,
            "queue_timeout_s": 10.0,
            "on_health": lambda _function_id, _reason: None,
            "budget": Budget(instances=64, memory_bytes=2**40),
        }
        pool = Pool(launcher, on_line=on_line, **{**known, **values})
        try:
            yield pool
        finally:
            await pool.close(0.0)
            await storages.close()


async def fetch(instance: Instance, target: str = "/", *, call: str = "{}") -> tuple[int, bytes]:
    """One exchange with an instance, as the invoker does it; `call` is what the host says of it."""
    instance.begin_call()
    connection = await instance.channel.connect()
    try:
        head = f"GET {target} HTTP/1.1\r\nhost: test\r\nx-isolet-call: {call}\r\n\r\n"
        connection.begin(head.encode())
        await connection.head()
        body = b""
        while chunk := await connection.chunk():
            body += chunk
        return connection.status, body
    finally:
        instance.end_call(connection)
