"""A process that a project has while it is in use: started by the first connection, and again when it ended.

The parent listens on the sockets and starts the process when a connection waits there, so a project that uses none
costs nothing, and connections wait through a restart. It knows nothing of what the process does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from socket import socket

from isolet.errors import PlatformError
from isolet.ids import ProjectId
from isolet.runtime.backoff import BackOff
from isolet.runtime.child_states import ChildAction, ChildEvent, ChildState, transition
from isolet.runtime.process import Child
from isolet.tasks import Tasks
from isolet.telemetry import get_logger

log = get_logger("supervised")

# A process that ran so long did not fail.
_STEADY_S = 30.0


class StartGivenUp(Exception):
    """The process is not to be started: its owner was closed, or held, meanwhile."""


class SupervisedChild:
    """One process and its listening sockets.

    `start` spawns it; what it awaits before it does it follows by `check_wanted`. `watch` runs as long as each process
    does. `kind` and the project name it in logs.
    """

    def __init__(
        self,
        kind: str,
        project_id: ProjectId,
        listeners: Mapping[str, socket],
        start: Callable[[Mapping[str, socket]], Awaitable[Child]],
        watch: Callable[[Child], Awaitable[None]],
        *,
        tasks: Tasks,
    ) -> None:
        self._kind = kind
        self._project_id = project_id
        self._listeners = listeners
        self._start_child = start
        self._watch_child = watch
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._state = ChildState.WAITING
        self._failures = 0
        self._began = 0.0
        self._rest: asyncio.TimerHandle | None = None
        self.child: Child | None = None
        self._watch()

    @property
    def pid(self) -> int | None:
        """The pid of the running process."""
        return self.child.pid if self.child is not None else None

    @property
    def is_closed(self) -> bool:
        return self._state is ChildState.CLOSED

    @property
    def is_held(self) -> bool:
        return self._state in (ChildState.HELD, ChildState.HELD_STARTING, ChildState.HELD_RUNNING)

    def check_wanted(self) -> None:
        """Raises StartGivenUp when the process is not to be started any more."""
        if self._state is not ChildState.STARTING:
            raise StartGivenUp

    def hold(self) -> None:
        """Start no process until `let_go`; one that runs goes on."""
        self._apply(ChildEvent.HELD)

    def let_go(self) -> None:
        self._apply(ChildEvent.LET_GO)

    async def kill(self) -> None:
        if self.child is not None:
            self.child.kill()
            await asyncio.wait({self.child.exited})

    def forget_failures(self) -> None:
        self._failures = 0

    def close(self) -> None:
        """Close the sockets: no process is started any more. One that runs goes on until `kill`."""
        self._apply(ChildEvent.CLOSED)
        for listener in self._listeners.values():
            listener.close()

    def _apply(self, event: ChildEvent) -> None:
        self._state, action = transition(self._state, event)
        match action:
            case ChildAction.WATCH:
                self._watch()
            case ChildAction.UNWATCH:
                self._unwatch()
            case ChildAction.START:
                self._unwatch()
                self._tasks.spawn(self._start(), name=f"start {self._kind} {self._project_id}")
            case ChildAction.REST:
                self._failures += 1
                pause_s = BackOff.SERVICE.pause_s(self._failures)
                self._rest = self._loop.call_later(pause_s, self._apply, ChildEvent.RESTED)
            case ChildAction.NONE:
                pass

    def _watch(self) -> None:
        self._rest = None
        for listener in self._listeners.values():
            self._loop.add_reader(listener.fileno(), self._apply, ChildEvent.CONNECTED)

    def _unwatch(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        for listener in self._listeners.values():
            self._loop.remove_reader(listener.fileno())

    async def _start(self) -> None:
        try:
            child = await self._start_child(self._listeners)
        except StartGivenUp:
            self._apply(ChildEvent.START_GIVEN_UP)
            return
        except (PlatformError, OSError) as exc:
            log.error("a process did not start", kind=self._kind, project=self._project_id, error=str(exc))
            self._apply(ChildEvent.START_FAILED)
            return
        self.child = child
        self._began = self._loop.time()
        self._apply(ChildEvent.STARTED)
        child.exited.add_done_callback(lambda _: self._ended(child))
        self._tasks.spawn(self._watched(child), name=f"guard {self._kind} {self._project_id}")

    async def _watched(self, child: Child) -> None:
        await self._watch_child(child)

    def _ended(self, child: Child) -> None:
        self.child = None
        if self._loop.time() - self._began > _STEADY_S:
            self._failures = 0
        if self._state is ChildState.RUNNING:
            log.error(
                f"{self._kind} process ended; it starts again when it is needed",
                project=self._project_id,
                status=child.exited.result(),
                stderr_tail=child.stderr_tail[-500:],
            )
        self._apply(ChildEvent.EXITED)
