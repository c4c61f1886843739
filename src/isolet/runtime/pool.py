"""Which instances serve which release: started on demand, restarted with back-off, retired, stopped when idle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from isolet.errors import BuildFailed, FunctionCrashed, IsoletError, Unavailable
from isolet.runtime.config import InstanceSpec
from isolet.runtime.instance import Instance, Launcher, LineSink
from isolet.runtime.lifecycle import Event, State
from isolet.tasks import Tasks
from isolet.telemetry import get_logger

log = get_logger("runtime")

LoadSpec = Callable[[], Awaitable[InstanceSpec]]

_BACK_OFF_S = (0.0, 0.1, 0.5, 2.0, 10.0, 60.0)
_STEADY_S = 60.0
_BACKGROUND_S = 30.0
_PROBE_TIMEOUT_S = 2.0
_PROBE_INTERVAL_S = 0.1


@dataclass(slots=True)
class _Group:
    """The instances of one release. `failures` counts crashes in a row; `not_before` is loop time."""

    live: Instance | None = None
    starting: asyncio.Future[Instance] | None = None
    failures: int = 0
    not_before: float = 0.0
    draining: set[Instance] = field(default_factory=set)


class Pool:
    """Owns every instance from spawn to reaping."""

    def __init__(self, launcher: Launcher, *, on_line: LineSink, start_timeout_s: float, idle_timeout_s: float) -> None:
        self._launcher = launcher
        self._on_line = on_line
        self._start_timeout_s = start_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._groups: dict[str, _Group] = {}
        self._all: set[Instance] = set()
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks()
        self._closing = False

    @property
    def instances(self) -> frozenset[Instance]:
        """Every process that has not ended."""
        return frozenset(self._all)

    def ready(self, release: str) -> Instance | None:
        """The instance that takes calls of a release, when there is one: the fast path."""
        group = self._groups.get(release)
        return group.live if group is not None else None

    async def acquire(self, release: str, load: LoadSpec) -> Instance:
        """An instance that takes calls; started when there is none, after a pause when it crashed lately.

        Raises FunctionCrashed when it does not start.
        """
        group = self._groups.setdefault(release, _Group())
        if group.live is not None:
            return group.live
        if group.starting is None:
            group.starting = self._tasks.spawn(self._start(release, group, load), name=f"start {release}")
            group.starting.add_done_callback(lambda _: setattr(group, "starting", None))
        # The start serves every caller that waits; one that leaves does not end it.
        return await asyncio.shield(group.starting)

    async def prove(self, spec: InstanceSpec) -> Instance:
        """Start an instance of a release that is not live yet. Raises BuildFailed for code that does not load."""
        instance = self._launch(spec)
        try:
            await instance.started(self._start_timeout_s)
        except FunctionCrashed as exc:
            raise BuildFailed(exc.message) from exc
        return instance

    def adopt(self, instance: Instance) -> None:
        """Let a proven instance take the calls of its release."""
        group = self._groups.setdefault(instance.spec.release, _Group())
        if group.live is not None or instance.state is not State.READY:
            self.discard(instance)
            return
        self._serve(group, instance)

    def discard(self, instance: Instance) -> None:
        instance.happened(Event.KILLED)

    def retire(self, release: str) -> None:
        """No new calls to this release; the running ones finish, then its process stops."""
        group = self._groups.get(release)
        if group is None:
            return
        group.failures = 0
        if group.live is not None:
            self._drain(group, group.live)
        if group.starting is not None:
            group.starting.add_done_callback(
                lambda start: None if start.cancelled() or start.exception() else self.retire(release)
            )
        self._forget_if_empty(release)

    async def close(self, grace_s: float) -> None:
        """Refuse new starts, let running calls finish for `grace_s`, kill and reap everything."""
        self._closing = True
        for release in list(self._groups):
            self.retire(release)
        for wait_s in (grace_s, None):
            if self._all:
                await asyncio.wait([instance.exited for instance in self._all], timeout=wait_s)
            for instance in list(self._all):
                instance.happened(Event.KILLED)
        await self._tasks.close()

    def _launch(self, spec: InstanceSpec) -> Instance:
        if self._closing:
            raise Unavailable("the server is stopping")
        instance = self._launcher.launch(spec, self._on_line)
        instance.on_stopped = self._stopped
        self._all.add(instance)
        return instance

    async def _start(self, release: str, group: _Group, load: LoadSpec) -> Instance:
        pause = group.not_before - self._loop.time()
        if pause > 0:
            await asyncio.sleep(pause)
        # What is stored may have moved on since the caller looked; its release is retired in a moment then.
        instance = self._launch(replace(await load(), release=release))
        try:
            await instance.started(self._start_timeout_s)
        except IsoletError as exc:
            self._count_failure(group)
            raise FunctionCrashed(f"the function did not start: {exc.message}") from exc
        self._serve(group, instance)
        return instance

    def _serve(self, group: _Group, instance: Instance) -> None:
        group.live = instance
        self._watch_idle(instance)

    def _watch_idle(self, instance: Instance) -> None:
        if instance.state is not State.READY:
            return
        rest = instance.last_used + self._idle_timeout_s - self._loop.time()
        if instance.active or rest > 0:
            self._loop.call_later(max(rest, 0.05), self._watch_idle, instance)
            return
        self.retire(instance.spec.release)

    def _drain(self, group: _Group, instance: Instance) -> None:
        group.live = None
        group.draining.add(instance)
        instance.emptied.clear()
        instance.happened(Event.RETIRED)
        self._tasks.spawn(self._finish(instance), name=f"drain {instance.spec.release}")

    async def _finish(self, instance: Instance) -> None:
        """Wait for the running calls, then for what they left to `waitUntil`, then stop."""
        longest_s = instance.spec.limits.timeout_ms / 1000 + 1
        try:
            while True:
                async with asyncio.timeout(longest_s):
                    await instance.emptied.wait()
                async with asyncio.timeout(_BACKGROUND_S):
                    while await instance.probe(_PROBE_TIMEOUT_S):
                        await asyncio.sleep(_PROBE_INTERVAL_S)
                # A caller that waited for the start may have begun its call only now.
                if not instance.active:
                    break
                instance.emptied.clear()
        except (TimeoutError, OSError) as exc:
            log.debug("instance stops with work left", release=instance.spec.release, error=str(exc))
        instance.happened(Event.EMPTIED)

    def _stopped(self, instance: Instance, crashed: bool) -> None:
        self._all.discard(instance)
        release = instance.spec.release
        group = self._groups.get(release)
        if group is None:
            return
        group.draining.discard(instance)
        if group.live is instance:
            group.live = None
        if crashed:
            self._count_failure(group, lived_s=self._loop.time() - instance.born)
        else:
            self._forget_if_empty(release)

    def _count_failure(self, group: _Group, *, lived_s: float = 0.0) -> None:
        group.failures = 1 if lived_s > _STEADY_S else group.failures + 1
        pause = _BACK_OFF_S[min(group.failures, len(_BACK_OFF_S)) - 1]
        group.not_before = self._loop.time() + pause

    def _forget_if_empty(self, release: str) -> None:
        group = self._groups.get(release)
        if group and not (group.live or group.starting or group.draining or group.failures):
            del self._groups[release]
