"""The one place that starts background tasks, so that every task has an owner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

from isolet.errors import FunctionCrashed, TooManyRequests, Unavailable
from isolet.telemetry import get_logger

log = get_logger("tasks")
T = TypeVar("T")


def start_in(loop: asyncio.AbstractEventLoop, owned: set[asyncio.Task[Any]], work: Coroutine[Any, Any, None]) -> None:
    """Run work that logs its own failures, in the set of an owner that waits for its tasks or cancels them."""
    task = loop.create_task(work)
    task.add_done_callback(owned.discard)
    owned.add(task)


class Tasks:
    """Owns tasks: names them, logs what goes wrong in them, and ends them all on `close`."""

    def __init__(self, *, on_fatal: Callable[[], None] | None = None) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_fatal = on_fatal

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Run a piece of work that ends by itself. Its failure is logged and concerns nobody else."""
        # One context for both, so that what the task binds to its log lines is on the last one too.
        context = copy_context()
        task = asyncio.get_running_loop().create_task(work, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._ended, context=context)
        return task

    def loop(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Run a background loop. When it dies, the owner of the process is told, so that it can stop."""
        task = self.spawn(work, name=name)
        task.add_done_callback(self._loop_ended)

    async def close(self) -> None:
        """Cancel whatever still runs and wait for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        # That there is no room, that the server stops, or what a function did is told to whoever waits for the task.
        if not isinstance(error, TooManyRequests | Unavailable | FunctionCrashed):
            log.error("background task failed", task=task.get_name(), exc_info=error)

    def _loop_ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None and self._on_fatal is not None:
            log.error("background loop ended; the server stops", task=task.get_name())
            self._on_fatal()
