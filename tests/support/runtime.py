"""The runtime around the real workerd, put together as the server does it, without the rest of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from isolet.domain.invocations import ConsoleLine
from isolet.domain.limits import Limits
from isolet.ids import FunctionId, InvocationId, ProjectId, new_id
from isolet.runtime.addresses import Addresses
from isolet.runtime.config import ConfigBuilder
from isolet.runtime.egress import Egresses
from isolet.runtime.envelope import FETCH, Event
from isolet.runtime.instance import Instance
from isolet.runtime.launcher import Launcher
from isolet.runtime.pid_files import PidFiles
from isolet.runtime.places import Budget
from isolet.runtime.pool import Pool
from isolet.runtime.sandbox import Sandbox
from isolet.runtime.spec import InstanceSpec
from isolet.runtime.storage.local import LocalStorages
from isolet.wire import heads

START_TIMEOUT_S = 60.0


def a_spec(module: str, **values: Any) -> InstanceSpec:
    """`module` is what the compiler would give: an ES module that exports a handler."""
    known = {"function_id": FunctionId(new_id()), "project_id": ProjectId("project"), "version": 1, "limits": Limits()}
    return InstanceSpec(**{**known, "release": f"test-{new_id()}", "module": module, **values})


async def acquire(pool: Pool, spec: InstanceSpec) -> Instance:
    """An instance of `spec` that takes a call."""

    async def load() -> InstanceSpec:
        return spec

    return await pool.acquire(
        spec.release, spec.limits, load, project_id=spec.project_id, function_id=spec.function_id, within_s=20
    )


def ready(pool: Pool, spec: InstanceSpec) -> Instance | None:
    return pool.ready(spec.release, spec.limits)


class Lines(Struct):
    """The console lines that instances printed, by call."""

    printed: list[tuple[InvocationId, ConsoleLine]] = field(default_factory=list)

    def __call__(self, invocation_id: InvocationId, line: ConsoleLine) -> None:
        self.printed.append((invocation_id, line))

    @property
    def messages(self) -> list[str]:
        return [line.message for _, line in self.printed]


class Runtime(Struct, frozen=True, kw_only=True):
    """Makes pools; `folder` is a short path for sockets and pids."""

    folder: Path
    configs: ConfigBuilder
    sandbox: Sandbox
    pid_files: PidFiles

    def egresses(
        self,
        *allowed: str,
        limit_of: Callable[[ProjectId], int] = lambda _: 1000,
        idle_timeout_s: float = 300.0,
        addresses: Addresses | None = None,
    ) -> Egresses:
        """Every project's way out; to be closed by the caller."""
        return Egresses(
            configs=self.configs,
            sandbox=self.sandbox,
            pid_files=self.pid_files,
            folder=self.folder,
            allowed_of=lambda _: allowed,
            addresses=addresses or Addresses(),
            limit_of=limit_of,
            idle_timeout_s=idle_timeout_s,
            start_timeout_s=START_TIMEOUT_S,
        )

    def storages(self) -> LocalStorages:
        """To be closed by the caller."""
        return LocalStorages(
            configs=self.configs,
            sandbox=self.sandbox,
            pid_files=self.pid_files,
            data=self.folder / "projects",
            sockets=self.folder / "storage",
            idle_timeout_s=300.0,
            database_max_bytes=1024 * 1024,
            limit_mb=lambda _: 1024,
        )

    @asynccontextmanager
    async def pool(
        self, on_line: Callable[[InvocationId, ConsoleLine], None], *, egresses: Egresses | None = None, **values: Any
    ) -> AsyncIterator[Pool]:
        """A pool that is closed at the end, with nothing left of it, nor of `egresses`."""
        storages = self.storages()
        egresses = egresses or self.egresses()
        launcher = Launcher(
            configs=self.configs,
            sandbox=self.sandbox,
            pid_files=self.pid_files,
            sockets=self.folder / "sockets",
            egresses=egresses,
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
            await egresses.close()


async def fetch(instance: Instance, target: str = "/", *, call: str = "", event: Event = FETCH) -> tuple[int, bytes]:
    """One exchange with an instance, as the invoker does it; `call` is the call's id."""
    instance.begin_call()
    invocation_id = InvocationId(call)
    instance.console.begin(invocation_id)
    connection = await instance.channel.connect()
    try:
        lines = [heads.line(b"host", b"test"), event.line(call.encode())]
        connection.begin(heads.request(b"GET", target.encode(), lines))
        await connection.head()
        body = b""
        while chunk := await connection.chunk():
            body += chunk
        return connection.status, body
    finally:
        instance.console.end(invocation_id)
        instance.end_call(connection)
