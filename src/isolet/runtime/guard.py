"""Holds instances to their limits from outside: CPU, memory, a loop that does not turn.

workerd enforces nothing by itself, and a busy loop blocks its whole process. So the processes are looked at while they
run calls: their CPU clock, their memory, and whether they still answer. What follows from a look is in `judge.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from isolet.clock import Clock
from isolet.runtime.instance import Instance
from isolet.runtime.judge import LOOK_EVERY_S, Sample, Vitals, answered, collected, judge
from isolet.runtime.lifecycle import State
from isolet.runtime.usage import cpu_seconds
from isolet.tasks import Tasks

_REST_S = 0.5
_COLLECT_TIMEOUT_S = 5.0


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
        self._vitals: dict[Instance, Vitals] = {}

    def wake(self) -> None:
        """A call began: look closely from now on."""
        self._wake.set()

    async def run(self) -> None:
        """The background loop: quick while calls run, slow otherwise; those without a call are looked at slowly."""
        while True:
            close = self._look_round()
            self._wake.clear()
            if close:
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            try:
                async with asyncio.timeout(_REST_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        await self._tasks.close()

    def _look_round(self) -> bool:
        """Look at those that are due; whether some must be looked at closely."""
        now = self._loop.time()
        all_due = now >= self._all_due
        if all_due:
            self._all_due = now + _REST_S
        close = False
        watched = [instance for instance in self._watched() if instance.state in (State.READY, State.DRAINING)]
        # Those that have ended are forgotten.
        self._vitals = {instance: self._known(instance) for instance in watched}
        for instance in watched:
            if all_due or self._needs_watching(instance):
                self._look(instance)
                close = close or self._needs_watching(instance)
        return close

    def _known(self, instance: Instance) -> Vitals:
        first = instance.first_look
        return self._vitals.get(instance) or Vitals(looked_at_s=first.at_s, cpu_s=first.cpu_s)

    def _needs_watching(self, instance: Instance) -> bool:
        """Whether it does something, or did since it was looked at last: run calls, grow, not answer."""
        vitals = self._vitals[instance]
        return instance.active > 0 or instance.last_used >= vitals.looked_at_s or vitals.is_restless

    def _look(self, instance: Instance) -> None:
        memory = instance.memory.look()
        sample = Sample(
            at_s=self._loop.time(),
            cpu_s=cpu_seconds(instance.pid),
            memory_bytes=memory,
            replied_at_s=instance.replied_at,
        )
        verdict = judge(self._vitals[instance], sample, instance.limits)
        self._keep(instance, verdict.vitals)
        if verdict.collect:
            self._tasks.spawn(self._collect(instance), name=f"collect {instance.spec.release}")
        if verdict.ask:
            self._tasks.spawn(self._ask(instance), name=f"probe {instance.spec.release}")
        if verdict.give_way:
            instance.priority.lower()
        if verdict.breach is not None:
            instance.end(verdict.breach.report(self._clock.now_ms()))
            return
        instance.busy = verdict.vitals.is_short_of_time
        if instance.busy:
            self._on_busy(instance)

    def _keep(self, instance: Instance, vitals: Vitals) -> None:
        instance.stalled = vitals.stalled
        if instance in self._vitals:
            self._vitals[instance] = vitals

    async def _collect(self, instance: Instance) -> None:
        try:
            await instance.probe(_COLLECT_TIMEOUT_S, collect=True)
        except (OSError, TimeoutError):
            return
        finally:
            left = instance.memory.now_bytes - instance.memory.base_bytes
            self._keep(instance, collected(self._known(instance), left, instance.limits))

    async def _ask(self, instance: Instance) -> None:
        began, lag_s = self._loop.time(), None
        try:
            # As long as it takes: another question would count its processor time anew.
            await instance.probe(None)
            lag_s = self._loop.time() - began
        except (OSError, TimeoutError):
            return
        finally:
            self._keep(instance, answered(self._known(instance), lag_s))
            instance.priority.restore()
