"""What projects have while they are in use: made when it is first held, closed when idle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from isolet.errors import NotFound
from isolet.ids import ProjectId
from isolet.tasks import Tasks


class OfProject(Protocol):
    @property
    def project_id(self) -> ProjectId: ...


class Service(OfProject, Protocol):
    """`detach` gives its sockets up at once, so that the next use of the project makes new ones; then it is closed."""

    def detach(self) -> None: ...

    async def close(self) -> None: ...


S = TypeVar("S", bound=Service)


class _Use(Struct, Generic[S]):
    """`users` counts who may need the service."""

    service: S
    users: int = 0
    idle: asyncio.TimerHandle | None = None


class InUse(Generic[S]):
    """The services of the projects that are in use. `kind` names them in logs."""

    def __init__(self, kind: str, make: Callable[[ProjectId], S], *, idle_timeout_s: float, tasks: Tasks) -> None:
        self._kind = kind
        self._make = make
        self._idle_timeout_s = idle_timeout_s
        self._tasks = tasks
        self._open: dict[ProjectId, _Use[S]] = {}
        self._deleted: set[ProjectId] = set()

    @property
    def services(self) -> list[S]:
        return [use.service for use in self._open.values()]

    def hold(self, project_id: ProjectId) -> S:
        """A project's service, kept working until `release`. Raises NotFound for a project that was deleted."""
        if project_id in self._deleted:
            raise NotFound("Project not found")
        use = self._open.get(project_id)
        if use is None:
            use = self._open[project_id] = _Use(self._make(project_id))
        use.users += 1
        return use.service

    def release(self, service: OfProject) -> None:
        """One that was deleted, or closed, is left alone."""
        use = self._open.get(service.project_id)
        if use is None or use.service is not service:
            return
        use.users -= 1
        if use.users == 0:
            if use.idle is not None:
                use.idle.cancel()
            loop = asyncio.get_running_loop()
            use.idle = loop.call_later(self._idle_timeout_s, self._stop_if_idle, use)

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
        use = self._open.pop(project_id, None)
        return use.service if use is not None else None

    async def close(self) -> None:
        for service in self.services:
            await service.close()
        self._open.clear()

    def _stop_if_idle(self, use: _Use[S]) -> None:
        project_id = use.service.project_id
        if use.users == 0 and self._open.get(project_id) is use:
            del self._open[project_id]
            use.service.detach()
            self._tasks.spawn(use.service.close(), name=f"stop {self._kind} {project_id}")
