"""How the room for instances is shared: who may start another one, and whose idle one stops for it.

A project up to its share may take any place. One that holds its share takes what nobody else wants, and leaves some
places free, so that another project can start at once, however long the calls run that hold the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from msgspec import Struct

from isolet.errors import TooManyRequests
from isolet.ids import ProjectId
from isolet.runtime.instance import Instance
from isolet.runtime.lifecycle import State

_RETRY_AFTER_S = 5
# This part of all places, and of the memory, stays free for projects below their share; at least a call and a deploy.
_FREE_PART = 8
_FREE_MIN = 2
# With fewer places nothing can be kept free.
_PLACES_MIN = 4
# What a process counts that was not looked at yet, as it starts.
_UNSEEN_BYTES = 16 * 1024 * 1024


class Budget(Struct, frozen=True, kw_only=True):
    """What the instances of all functions together may use."""

    instances: int
    memory_bytes: int


class Share(Struct, frozen=True, kw_only=True):
    """A project's part of the instances, and so of the memory. One that is no limit may grow over it."""

    instances: int
    is_limit: bool = False


class Places:
    """`instances` gives every process that has not ended."""

    def __init__(
        self, budget: Budget, share_of: Callable[[ProjectId], Share], instances: Callable[[], Collection[Instance]]
    ) -> None:
        self._budget = budget
        self._share_of = share_of
        self._instances = instances

    @property
    def _holding(self) -> list[Instance]:
        """Those that hold a place: they start, take calls, or take none any more and still run some.

        One that is told to go while it runs none gives its place up at once: another one waits for it.
        """
        return [instance for instance in self._instances() if _holds_place(instance)]

    def fits(self, project_id: ProjectId) -> bool:
        """Whether the project may start another instance now."""
        holding = self._holding
        own = [instance for instance in holding if instance.spec.project_id == project_id]
        share = self._share_of(project_id)
        if share.is_limit and len(own) >= share.instances:
            return False
        places, memory_bytes = self._budget.instances, self._budget.memory_bytes
        if places >= _PLACES_MIN and (
            len(own) >= share.instances or _memory(own) * places >= memory_bytes * share.instances
        ):
            memory_bytes -= memory_bytes // _FREE_PART
            places -= max(places // _FREE_PART, _FREE_MIN)
        return len(holding) < places and _memory(holding) < memory_bytes

    def yielding(self, project_id: ProjectId) -> Instance:
        """The idle instance that stops, so that the project can start one: of who holds most, the one idle longest.

        Raises TooManyRequests when there is none.
        """
        holding = self._holding
        idle = [instance for instance in holding if instance.state is State.READY and not instance.active]
        share = self._share_of(project_id)
        held = Counter(instance.spec.project_id for instance in holding)
        if share.is_limit and held[project_id] >= share.instances:
            idle = [instance for instance in idle if instance.spec.project_id == project_id]
        if not idle:
            raise self.refusal(held[project_id] >= share.instances)
        return min(idle, key=lambda instance: (-held[instance.spec.project_id], instance.last_used))

    @staticmethod
    def refusal(holds_share: bool) -> TooManyRequests:
        if holds_share:
            text = "The project holds its share of instances, and there is no room beyond it; try again later"
        else:
            text = "The machine has no room for another instance; try again later"
        return TooManyRequests(text, retry_after_s=_RETRY_AFTER_S)


def _holds_place(instance: Instance) -> bool:
    return instance.state in (State.STARTING, State.READY) or (instance.state is State.DRAINING and instance.active > 0)


def _memory(instances: list[Instance]) -> int:
    return sum(instance.memory.held_bytes or _UNSEEN_BYTES for instance in instances)
