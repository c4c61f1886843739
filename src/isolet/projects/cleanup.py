"""What the server drops once a project is deleted, here or by another server."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from isolet.ids import ProjectId
from isolet.telemetry import get_logger

log = get_logger("projects")
Step = Callable[[ProjectId], Awaitable[None] | None]


class Cleanup:
    """Each part that holds something of projects adds a step as it is opened."""

    def __init__(self) -> None:
        self._steps: list[Step] = []

    def add(self, step: Step) -> None:
        """It is called before those that were added earlier, on which it may depend."""
        self._steps.append(step)

    async def run(self, project_id: ProjectId) -> None:
        """Call every step, also after one that fails. Raises the first failure."""
        failures: list[Exception] = []
        for step in reversed(self._steps):
            try:
                done = step(project_id)
                if inspect.isawaitable(done):
                    await done
            except Exception as exc:
                log.error("cannot drop what is held of a deleted project", project=project_id, error=str(exc))
                failures.append(exc)
        if failures:
            raise failures[0]
