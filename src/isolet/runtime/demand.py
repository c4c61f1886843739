"""Processes that a project has while it is in use: started by the first connection, stopped when nobody needs them.

The parent listens on the sockets and starts the process when a connection waits there, so a project that uses none
costs nothing, and connections wait through a restart. It knows nothing of what the processes do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from socket import socket
from typing import Generic, Protocol, TypeVar

from isolet.errors import NotFound, PlatformError
from isolet.ids import ProjectId
from isolet.runtime.process import Child
from isolet.tasks import Tasks
from isolet.telemetry import get_logger

log = get_logger("demand")

_BACK_OFF_S = (0.0, 0.1, 0.5, 2.0, 5.0)
_STEADY_S = 30.0


class OnDemand:
    """One process and its listening sockets. `start` spawns it, or raises NotNow.

    `kind` and the project name it in logs; `on_started` hears of each new process.
    """

    def __init__(
        self,
        kind: str,
        project_id: ProjectId,
        listeners: Mapping[str, socket],
        start: Callable[[Mapping[str, socket]], Awaitable[Child]],
        *,
        tasks: Tasks,
        on_started: Callable[[Child], None] = lambda _: None,
    ) -> None:
        self._kind = kind
        self._project_id = project_id
        self._listeners = listeners
        self._start_child = start
        self._on_started = on_started
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self.child: Child | None = None
        self.closed = False
        self.held = False
        self._starting = False
        self._failures = 0
        self._began = 0.0
        self._watching = False
        self._rewatch: asyncio.TimerHandle | None = None
        self._watch()

    def hold(self) -> None:
        """Start no process until `let_go`; one that runs goes on."""
        self.held = True
        self._unwatch()

    def let_go(self) -> None:
        self.held = False
        self._watch()

    async def kill(self) -> None:
        if self.child is not None:
            self.child.kill()
            await asyncio.wait({self.child.exited})

    def forget_failures(self) -> None:
        self._failures = 0

    def detach(self) -> None:
        """Close the sockets: no process is started any more."""
        self.closed = True
        self._unwatch()
        if self._rewatch is not None:
            self._rewatch.cancel()
        for listener in self._listeners.values():
            listener.close()

    def _watch(self) -> None:
        """Wait for the first connection."""
        self._rewatch = None
        if not (self.child or self.closed or self.held or self._starting or self._watching):
            self._watching = True
            for listener in self._listeners.values():
                self._loop.add_reader(listener.fileno(), self._activate)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            for listener in self._listeners.values():
                self._loop.remove_reader(listener.fileno())

    def _activate(self) -> None:
        self._unwatch()
        self._starting = True
        self._tasks.spawn(self._start(), name=f"start {self._kind} {self._project_id}")

    async def _start(self) -> None:
        try:
            child = await self._start_child(self._listeners)
        except NotNow:
            self._starting = False
            self._watch()
            return
        except (PlatformError, OSError) as exc:
            log.error("a process did not start", kind=self._kind, project=self._project_id, error=str(exc))
            self._starting = False
            self._watch_later()
            return
        self._starting = False
        self.child = child
        self._began = self._loop.time()
        child.exited.add_done_callback(lambda _: self._ended(child))
        self._on_started(child)

    def _ended(self, child: Child) -> None:
        self.child = None
        if self.closed:
            return
        if self._loop.time() - self._began > _STEADY_S:
            self._failures = 0
        if not self.held:
            log.error(
                f"{self._kind} process ended; it starts again when it is needed",
                project=self._project_id,
                status=child.exited.result(),
                stderr_tail=child.stderr_tail[-500:],
            )
            self._watch_later()

    def _watch_later(self) -> None:
        pause = _BACK_OFF_S[min(self._failures, len(_BACK_OFF_S) - 1)]
        self._failures += 1
        self._rewatch = self._loop.call_later(pause, self._watch)


class NotNow(Exception):
    """The process is not to be started: its owner was closed, or stands still, meanwhile."""


class Service(Protocol):
    """What a project has in use. `users` counts who may need it; `detach` gives its sockets up at once."""

    project_id: ProjectId
    users: int
    idle_timer: asyncio.TimerHandle | None

    def detach(self) -> None: ...
    async def close(self) -> None: ...


S = TypeVar("S", bound=Service)


class InUse(Generic[S]):
    """The services of the projects that are in use: made when they are first held, closed when idle."""

    def __init__(self, make: Callable[[ProjectId], S], *, idle_timeout_s: float, tasks: Tasks) -> None:
        self._make = make
        self._idle_timeout_s = idle_timeout_s
        self._tasks = tasks
        self._open: dict[ProjectId, S] = {}
        self._deleted: set[ProjectId] = set()

    @property
    def services(self) -> list[S]:
        return list(self._open.values())

    def hold(self, project_id: ProjectId) -> S:
        """A project's service, kept working until `release`. Raises NotFound for a project that was deleted."""
        if project_id in self._deleted:
            raise NotFound("Project not found")
        service = self._open.get(project_id)
        if service is None:
            service = self._open[project_id] = self._make(project_id)
        service.users += 1
        return service

    def release(self, service: S) -> None:
        service.users -= 1
        if service.users == 0:
            if service.idle_timer is not None:
                service.idle_timer.cancel()
            loop = asyncio.get_running_loop()
            service.idle_timer = loop.call_later(self._idle_timeout_s, self._stop_if_idle, service)

    @asynccontextmanager
    async def use(self, project_id: ProjectId) -> AsyncIterator[S]:
        """A project's service, for a request of the host's own."""
        service = self.hold(project_id)
        try:
            yield service
        finally:
            self.release(service)

    def delete(self, project_id: ProjectId) -> S | None:
        """The service of a project that is gone, to be closed by the caller: it gets no other."""
        self._deleted.add(project_id)
        return self._open.pop(project_id, None)

    async def close(self) -> None:
        for service in list(self._open.values()):
            await service.close()
        self._open.clear()

    def _stop_if_idle(self, service: S) -> None:
        if service.users == 0 and self._open.get(service.project_id) is service:
            del self._open[service.project_id]
            service.detach()
            self._tasks.spawn(service.close(), name=f"stop {type(service).__name__.lower()} {service.project_id}")
