"""Holds instances to their limits from outside: CPU, memory, a loop that does not turn.

workerd enforces nothing by itself, and a busy loop blocks its whole process. So the processes are looked at while they
run calls: their CPU clock, their memory, and whether they still answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from isolet.clock import Clock
from isolet.domain.kills import KillReport, Limit
from isolet.runtime.instance import Instance
from isolet.runtime.lifecycle import State
from isolet.runtime.usage import cpu_seconds
from isolet.tasks import Tasks

# A breach of memory is ended within 200 ms: four looks.
_LOOK_EVERY_S = 0.05
_REST_S = 0.5
# After so much processor time an instance shows that its loop turns, however long it took to get that.
_UNPROVEN_S = 0.035
# An instance is short of time when answers take so long on average and it has all of a core: with less, the calls wait
# elsewhere, and another instance would only cost more.
_LAG_S = 0.02
_FULL_SHARE = 0.9
_STALLED_S = 0.1
# So much processor time without an answer: others go first until it answers.
_STUCK_MS = 50
# Over its limit an instance has this long to collect its garbage, unless it is far over.
_OVER_S = 0.1
_FAR_OVER = 1.5
_COLLECT_TIMEOUT_S = 5.0
_MB = 1024 * 1024
# What is more than this between two looks is looked at closely, call or none.
_GROWTH_BYTES = 1024 * 1024


class Guard:
    """Looks at the instances that `watched` gives; `on_busy` hears of each one that is short of time."""

    def __init__(
        self, *, watched: Callable[[], Iterable[Instance]], on_busy: Callable[[Instance], None], clock: Clock
    ) -> None:
        self._watched = watched
        self._on_busy = on_busy
        self._clock = clock
        self._tasks = Tasks()
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._all_due = 0.0

    def wake(self) -> None:
        """A call began: look closely from now on."""
        self._wake.set()

    async def run(self) -> None:
        """The background loop: quick while calls run, slow otherwise; those without a call are looked at slowly."""
        while True:
            now = self._loop.time()
            all_due = now >= self._all_due
            if all_due:
                self._all_due = now + _REST_S
            close = False
            for instance in list(self._watched()):
                if instance.state in (State.READY, State.DRAINING) and (all_due or instance.needs_watching):
                    self._look(instance)
                    close = close or instance.needs_watching
            self._wake.clear()
            if close:
                await asyncio.sleep(_LOOK_EVERY_S)
                continue
            try:
                async with asyncio.timeout(_REST_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        await self._tasks.close()

    def _look(self, instance: Instance) -> None:
        memory = instance.anonymous_bytes - instance.base_memory_bytes
        instance.grows = memory > instance.memory_bytes + _GROWTH_BYTES
        instance.memory_bytes = max(memory, 0)
        instance.peak_memory_bytes = max(instance.peak_memory_bytes, memory)
        now, cpu = self._loop.time(), cpu_seconds(instance.pid)
        if self._check_memory(instance, memory, now):
            return
        share = (cpu - instance.cpu_seen_s) / max(now - instance.looked_at, 0.001)
        instance.share += (share - instance.share) * 0.2
        instance.unproven_s += cpu - instance.cpu_seen_s
        if instance.asked_at is not None:
            self._check_answer(instance, instance.asked_at, now, cpu)
        elif instance.unproven_s > _UNPROVEN_S:
            # Of one that was left alone since it had no calls, only the last moments say something.
            instance.asked_at = max(instance.looked_at, now - 2 * _LOOK_EVERY_S)
            instance.asked_cpu_s = instance.cpu_seen_s
            self._tasks.spawn(self._ask(instance), name=f"probe {instance.spec.release}")
        else:
            instance.lag_s *= 0.8
        instance.looked_at, instance.cpu_seen_s = now, cpu
        instance.busy = instance.stalled or (instance.lag_s > _LAG_S and instance.share > _FULL_SHARE)
        if instance.busy:
            self._on_busy(instance)

    def _check_memory(self, instance: Instance, memory: int, now: float) -> bool:
        """Whether the instance was killed for its memory.

        V8 leaves garbage lying that only its wrappers hold, so a collection is asked for as memory grows; what stays
        over the limit in spite of it is in use.
        """
        limit = instance.limits.memory_limit_mb * _MB
        if memory <= limit:
            instance.over_since = None
        elif instance.over_since is None:
            instance.over_since = now
        if memory > max(instance.collect_from_bytes, limit // 2) and not instance.collecting:
            instance.collecting = True
            self._tasks.spawn(self._collect(instance, limit), name=f"collect {instance.spec.release}")
        over_s = 0.0 if instance.over_since is None else now - instance.over_since
        if memory > _FAR_OVER * limit or over_s > _OVER_S:
            self._kill(instance, Limit.MEMORY, limit // _MB, memory // _MB)
            return True
        return False

    async def _collect(self, instance: Instance, limit: int) -> None:
        try:
            await instance.probe(_COLLECT_TIMEOUT_S, collect=True)
        except (OSError, TimeoutError):
            return
        finally:
            instance.collecting = False
            left = instance.anonymous_bytes - instance.base_memory_bytes
            # The next time when a sixth of the limit has gathered again, or close to the limit.
            instance.collect_from_bytes = min(left + limit // 6, limit * 19 // 20)

    def _check_answer(self, instance: Instance, asked_at: float, now: float, cpu: float) -> None:
        """The loop has not answered since `asked_at`. It turns all the same when replies come from it."""
        if instance.turned_at > asked_at:
            instance.asked_at, instance.asked_cpu_s, instance.stalled = now, cpu, False
            return
        used_ms = round((cpu - instance.asked_cpu_s) * 1000)
        if used_ms > _STUCK_MS:
            # One that gets no processor time is not stuck, whatever it takes to answer.
            instance.stalled = now - asked_at > _STALLED_S
            instance.priority.lower()
        if used_ms > instance.limits.cpu_ms:
            self._kill(instance, Limit.CPU, instance.limits.cpu_ms, used_ms)

    async def _ask(self, instance: Instance) -> None:
        began = self._loop.time()
        try:
            # As long as it takes: another question would count its processor time anew.
            await instance.probe(None)
            instance.unproven_s = 0.0
            # A moving average over some five answers.
            instance.lag_s += (self._loop.time() - began - instance.lag_s) * 0.2
        except (OSError, TimeoutError):
            return
        finally:
            instance.asked_at, instance.stalled = None, False
            instance.priority.restore()

    def _kill(self, instance: Instance, limit: Limit, allowed: int, used: int) -> None:
        instance.end(
            KillReport(limit=limit, at_ms=self._clock.now_ms(), allowed=allowed, used=used, stuck=limit is Limit.CPU)
        )
