"""Owns every instance from spawn to reaping: starts them on demand, scales, retires, makes room, stops the idle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from functools import partial

from msgspec.structs import replace

from isolet.domain.invocations import ConsoleLine
from isolet.domain.limits import Limits
from isolet.errors import BuildFailed, FunctionCrashed, IsoletError, TooManyRequests, Unavailable
from isolet.ids import FunctionId, ProjectId
from isolet.runtime.callers import Callers
from isolet.runtime.console import LineSink
from isolet.runtime.deploy_queue import DeployQueue
from isolet.runtime.draining import finish
from isolet.runtime.group import QUARANTINE_AFTER, Group
from isolet.runtime.instance import Instance, Owner
from isolet.runtime.launcher import Launcher
from isolet.runtime.lifecycle import Event, State
from isolet.runtime.places import Budget, Places, Share
from isolet.runtime.spec import InstanceSpec
from isolet.tasks import Tasks
from isolet.telemetry import get_logger
from isolet.threads import work_for

log = get_logger("runtime")

LoadSpec = Callable[[], Awaitable[InstanceSpec]]
# Hears that a function does not start any more, with the reason, or (None) that it does again.
HealthSink = Callable[[FunctionId, str | None], None]

# A start that is further away than this fails the call at once.
_START_WAIT_MAX_S = 5.0
# One that does not answer by then shows in its calls.
_PROOF_TIMEOUT_S = 2.0
_EXTRA_IDLE_S = 15.0


class Pool:
    """`on_line` gets what calls print, `on_own_line` what a function printed that is of no call that one could tell.

    `on_health` hears whether a live version starts.
    """

    def __init__(
        self,
        launcher: Launcher,
        *,
        on_line: LineSink,
        on_own_line: Callable[[InstanceSpec, ConsoleLine], None] = lambda _spec, _line: None,
        on_health: HealthSink,
        start_timeout_s: float,
        idle_timeout_s: float,
        queue_timeout_s: float,
        budget: Budget,
        share_of: Callable[[ProjectId], Share] | None = None,
    ) -> None:
        self._launcher = launcher
        self._on_line = on_line
        self._on_own_line = on_own_line
        self._on_health = on_health
        self._start_timeout_s = start_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._queue_timeout_s = queue_timeout_s
        everything = Share(instances=budget.instances)
        self._places = Places(budget, share_of or (lambda _: everything), lambda: self._all)
        self._callers = Callers()
        self._groups: dict[str, Group] = {}
        self._all: set[Instance] = set()
        self._proving: set[Instance] = set()
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks()
        self._deploys = DeployQueue(self._has_room)
        self._closing = False

    @property
    def instances(self) -> frozenset[Instance]:
        """Every process that has not ended."""
        return frozenset(self._all)

    # Taking calls.

    def ready(self, release: str, limits: Limits) -> Instance | None:
        """An instance that takes the call at once, when there is one: the fast path."""
        group = self._groups.get(release)
        if group is None or group.waiting:
            return None
        instance = group.free(limits)
        return None if instance is None or instance.stalled else instance

    def admit(self, release: str, project_id: ProjectId) -> None:
        """Raises TooManyRequests when as many callers wait, of the function or of the project, as may."""
        self._callers.admit(self._groups.get(release), project_id)

    async def acquire(
        self,
        release: str,
        limits: Limits,
        load: LoadSpec,
        *,
        project_id: ProjectId,
        function_id: FunctionId | None = None,
        within_s: float,
    ) -> Instance:
        """An instance that takes the call: started when there is none, waited for when all are full.

        Raises FunctionCrashed when none starts, TooManyRequests when none has room in time or too many wait, and
        TimeoutError when a start takes longer than `within_s`.
        """
        self.admit(release, project_id)
        with self._callers.one(project_id):
            group = self._groups.setdefault(release, Group(release, project_id, function_id))
            return await self._acquire(group, limits, load, within_s)

    async def _acquire(self, group: Group, limits: Limits, load: LoadSpec, within_s: float) -> Instance:
        release, project_id, function_id = group.release, group.project_id, group.function_id
        began = self._loop.time()
        latest = began + within_s
        deadline = min(began + self._queue_timeout_s, latest)
        while True:
            group = self._groups.setdefault(release, Group(release, project_id, function_id))
            instance = group.free(limits)
            if instance is not None and not instance.stalled:
                return instance
            if not group.instances or (instance is not None and self._may_grow(group, limits)):
                # The start serves every caller that waits; one that leaves does not end it.
                self._start(group, load)
                await group.wait(latest - self._loop.time())
            elif instance is not None:
                return instance
            else:
                if self._may_grow(group, limits):
                    self._start(group, load)
                await group.wait_for_room(deadline - self._loop.time())

    def freed(self, instance: Instance, *, succeeded: bool) -> None:
        """A call has ended: the next one that waits gets its place."""
        group = self._groups.get(instance.spec.release)
        if group is not None:
            if succeeded and group.crashes:
                group.count_success()
            if group.waiting:
                group.wake()
            elif self._deploys.waiting and not instance.active:
                self._deploys.give_room()

    def busy(self, instance: Instance) -> None:
        """An instance is short of time: start another, when all of its release are and calls wait."""
        group = self._groups.get(instance.spec.release)
        if group is not None and group.all_busy and self._may_grow(group, group.limits):
            spec = instance.spec

            async def again() -> InstanceSpec:
                return spec

            log.info("another instance starts", release=group.release, instances=len(group.instances) + 1)
            self._start(group, again)

    # Deploys.

    async def prove(self, spec: InstanceSpec) -> Instance:
        """Start an instance of a release that is not live yet, once there is room for it.

        Raises BuildFailed for code that does not load, TooManyRequests when there is no room in time.
        """
        await self._deploys.wait(spec.project_id, self._queue_timeout_s)
        instance = self._launch(spec)
        self._proving.add(instance)
        try:
            await instance.started(self._start_timeout_s)
        except FunctionCrashed as exc:
            if self._closing:
                raise Unavailable("the server is stopping") from exc
            raise BuildFailed(exc.message) from exc
        finally:
            self._proving.discard(instance)
        try:
            await instance.check_loaded(_PROOF_TIMEOUT_S)
        except BaseException:
            self.discard(instance)
            raise
        return instance

    def adopt(self, instance: Instance) -> None:
        """Let a proven instance take the calls of its release."""
        group = self._group_of(instance)
        if instance.state is State.READY:
            self._serve(group, instance)
            self._deploys.give_room()

    def _group_of(self, instance: Instance) -> Group:
        spec = instance.spec
        return self._groups.setdefault(spec.release, Group(spec.release, spec.project_id, spec.function_id))

    def _serve(self, group: Group, instance: Instance) -> None:
        instance.last_used = self._loop.time()
        group.serve(instance)
        self._watch_idle(instance)

    def discard(self, instance: Instance) -> None:
        instance.happened(Event.KILLED)

    def retire(self, release: str) -> None:
        """No new calls to this release; the running ones finish, then its processes stop."""
        group = self._groups.get(release)
        if group is None:
            return
        group.retired = True
        group.start_failures = 0
        for instance in list(group.instances):
            self._drain(group, instance)
        if group.starting is not None:
            group.starting.add_done_callback(
                lambda start: None if start.cancelled() or start.exception() else self.retire(release)
            )
        self._forget_if_empty(group)

    def retire_function(self, function_id: FunctionId) -> None:
        """Retire every release of a function that is gone, and end what is being proven of it."""
        # One that has no process may have failures that slow its starts, and callers that wait.
        for group in [group for group in self._groups.values() if group.function_id == function_id]:
            self.retire(group.release)
        self._give_up([instance for instance in self._proving if instance.spec.function_id == function_id])

    def retire_project(self, project_id: ProjectId) -> None:
        """Retire every release of a project that is gone, and end what is being proven of it."""
        for group in [group for group in self._groups.values() if group.project_id == project_id]:
            self.retire(group.release)
        self._give_up([instance for instance in self._proving if instance.spec.project_id == project_id])

    def _give_up(self, proving: Iterable[Instance]) -> None:
        """A module that does not end by itself would use its CPU limit up for nothing."""
        for instance in proving:
            self.discard(instance)

    def cut(self) -> None:
        """Refuse new starts, and kill what runs."""
        self._closing = True
        for instance in list(self._all):
            instance.happened(Event.KILLED)

    async def close(self, grace_s: float) -> None:
        """Refuse new starts, let running calls finish for `grace_s`, kill and reap everything."""
        self._closing = True
        for release in list(self._groups):
            self.retire(release)
        for wait_s in (grace_s, None):
            if self._all:
                await asyncio.wait([instance.exited for instance in self._all], timeout=wait_s)
            self.cut()
        await self._tasks.close()

    # Starting.

    def _start(self, group: Group, load: LoadSpec) -> asyncio.Future[Instance]:
        if group.starting is None:
            start = self._tasks.spawn(self._start_one(group, load), name=f"start {group.release}")
            group.starting = start
            start.add_done_callback(partial(self._start_ended, group))
        return group.starting

    def _start_ended(self, group: Group, start: asyncio.Future[Instance]) -> None:
        group.starting = None
        failed = None if start.cancelled() else start.exception()
        # An extra one that does not start fails nobody.
        group.wake_all(failed if not group.instances else None)
        self._forget_if_empty(group)

    async def _start_one(self, group: Group, load: LoadSpec) -> Instance:
        pause = group.pause_s
        if pause > _START_WAIT_MAX_S:
            raise FunctionCrashed(
                f"The function did not start {group.start_failures} times in a row ({group.reason}); "
                f"the next try is in {pause:.0f} s"
            )
        if pause > 0:
            await asyncio.sleep(pause)
        # What is stored may have moved on since the caller looked; its release is retired in a moment then.
        spec = replace(await load(), release=group.release)
        instance = self._launch(spec)
        try:
            await instance.started(self._start_timeout_s)
        except IsoletError as exc:
            group.count_start_failure(exc.message)
            if group.start_failures == QUARANTINE_AFTER:
                self._on_health(spec.function_id, exc.message)
            raise FunctionCrashed(f"The function did not start: {exc.message}") from exc
        if group.start_failures >= QUARANTINE_AFTER:
            self._on_health(spec.function_id, None)
        self._serve(group, instance)
        return instance

    def _launch(self, spec: InstanceSpec) -> Instance:
        if self._closing:
            raise Unavailable("the server is stopping")
        self._make_room(spec.project_id)
        # In a context of its own: what an instance logs later belongs to no request that happened to start it.
        owner = Owner(
            on_line=self._on_line,
            on_own_line=partial(self._on_own_line, spec),
            on_stopping=self._stopping,
            on_stopped=self._stopped,
        )
        context = Context()
        context.run(work_for, spec.project_id)
        instance = context.run(self._launcher.launch, spec, owner)
        self._all.add(instance)
        return instance

    # Room.

    def _may_grow(self, group: Group, limits: Limits) -> bool:
        """Whether another instance of a release that has some may start: extras never push others out."""
        return (
            group.starting is None
            and len(group.instances) < limits.max_instances
            and group.pause_s == 0
            and self._places.fits(group.project_id)
        )

    def _make_room(self, project_id: ProjectId) -> None:
        """Let idle instances go until the project may start one. Raises TooManyRequests when all are at work."""
        while not self._places.fits(project_id):
            idle = self._places.yielding(project_id)
            # One that a deploy has just proven may have no group yet; it starts anew when it is called.
            self._drain(self._group_of(idle), idle)

    def _has_room(self, project_id: ProjectId) -> bool:
        """Whether a deploy may start an instance now; one that has to fail anyway waits no longer."""
        if self._closing:
            return True
        try:
            self._make_room(project_id)
        except TooManyRequests:
            return False
        return True

    # Stopping.

    def _watch_idle(self, instance: Instance) -> None:
        group = self._groups.get(instance.spec.release)
        if instance.state is not State.READY or group is None:
            return
        extra = len(group.instances) > 1
        limit_s = min(self._idle_timeout_s, _EXTRA_IDLE_S) if extra else self._idle_timeout_s
        rest_s = instance.last_used + limit_s - self._loop.time()
        if not instance.active and rest_s <= 0:
            self._drain(group, instance)
            self._forget_if_empty(group)
            return
        # An instance may become an extra one later, so nobody sleeps longer than extras do.
        pause_s = min(max(rest_s, 0.05), _EXTRA_IDLE_S)
        instance.idle_timer = self._loop.call_later(pause_s, self._watch_idle, instance)

    def _drain(self, group: Group, instance: Instance) -> None:
        group.drop(instance)
        group.draining.add(instance)
        instance.happened(Event.RETIRED)
        self._tasks.spawn(finish(instance), name=f"drain {instance.spec.release}")

    def _stopping(self, instance: Instance) -> None:
        """It was killed: no call goes there any more, though it has not ended yet."""
        group = self._groups.get(instance.spec.release)
        if group is not None and instance in group.instances:
            group.drop(instance)
            group.draining.add(instance)
            group.wake_all()

    def _stopped(self, instance: Instance, crashed: bool) -> None:
        self._all.discard(instance)
        if instance.idle_timer is not None:
            instance.idle_timer.cancel()
        self._deploys.give_room()
        group = self._groups.get(instance.spec.release)
        if group is None:
            return
        group.drop(instance)
        if crashed or instance.ended is not None:
            group.count_crash()
        group.wake_all()
        self._forget_if_empty(group)

    def _forget_if_empty(self, group: Group) -> None:
        if group.is_forgotten and self._groups.get(group.release) is group:
            del self._groups[group.release]
