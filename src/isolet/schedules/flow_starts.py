"""How a schedule begins a run of a workflow: what has workflows says it, and this package does not know them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from isolet.database.connection import Connection
from isolet.domain.jobs import Job
from isolet.domain.schedules import Schedule
from isolet.errors import Unavailable
from isolet.ids import JobId


class FlowStart(Struct, frozen=True, kw_only=True):
    """A run that is ready to begin. `write` writes it in a transaction of the caller's, which adds `jobs` there.

    `write` raises LimitReached, and so does `check`, which writes nothing.
    """

    execution_id: str
    jobs: Sequence[Job]
    write: Callable[[Connection], None]
    check: Callable[[Connection], None]


class Drafter(Protocol):
    async def __call__(self, schedule: Schedule, due_ms: int, firing_id: JobId) -> FlowStart:
        """The run gets the id of the firing.

        Raises NotFound, and InvalidInput when the workflow is not active or the payload cannot be its variables.
        """


class FlowStarts:
    """Holds the drafter, which is there once the server has opened workflows."""

    def __init__(self) -> None:
        self._drafter: Drafter | None = None

    def set(self, drafter: Drafter) -> None:
        self._drafter = drafter

    async def draft(self, schedule: Schedule, due_ms: int, firing_id: JobId) -> FlowStart:
        """Raises as the drafter does; Unavailable before there is one."""
        if self._drafter is None:
            raise Unavailable("workflows are not there yet")
        return await self._drafter(schedule, due_ms, firing_id)
