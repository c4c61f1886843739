"""Threads that projects share: as one is free, the next to work is who uses the fewest, so that one with much to do
delays nobody else.

Whose work it is stands in the context of the task that asks for it, once its door has found out.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import Any, ParamSpec, TypeVar

from isolet.ids import ProjectId

P = ParamSpec("P")
T = TypeVar("T")
# What the server does for all, or for the operator.
_OWN = ""
_account: ContextVar[str] = ContextVar("account", default=_OWN)


def work_for(project_id: ProjectId | None) -> None:
    """What this task, and those that it starts, ask of threads from here on is this project's; None: the server's."""
    _account.set(project_id or _OWN)


def account() -> str:
    """Whose work this task does: a project's id, or empty for the server's own."""
    return _account.get()


class _Work:
    __slots__ = ("account", "call", "future")

    def __init__(self, account: str, call: Callable[[], Any]) -> None:
        self.account = account
        self.call = call
        self.future: Future[Any] = Future()


class FairThreads(ThreadPoolExecutor):
    """`of_one` is how many of the `count` threads one project has at most; None for all.

    A project keeps the order in which it asked. The server's own work waits for one piece of a project's at most.
    """

    def __init__(self, count: int, *, name: str, of_one: int | None = None) -> None:
        super().__init__(count, thread_name_prefix=name)
        self._of_one = count if of_one is None else max(of_one, 1)
        self._changing = threading.Lock()
        self._held: Counter[str] = Counter()
        # Accounts in the order in which they had a thread last.
        self._lines: dict[str, deque[_Work]] = {}
        self._own_was_last = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        work = _Work(account(), partial(fn, *args, **kwargs))
        with self._changing:
            self._lines.setdefault(work.account, deque()).append(work)
        try:
            # For each piece that waits: a thread that finds nothing it may do leaves that to those that work.
            super().submit(self._work)
        except RuntimeError:
            # It is closed.
            work.future.cancel()
            raise
        return work.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if cancel_futures:
            with self._changing:
                waiting = [work for line in self._lines.values() for work in line]
            for work in waiting:
                work.future.cancel()
        super().shutdown(wait=wait, cancel_futures=cancel_futures)

    def _work(self) -> None:
        work = self._next(None)
        while work is not None:
            _run(work)
            work = self._next(work.account)

    def _next(self, ended: str | None) -> _Work | None:
        """What this thread does now, after a piece of work of an account, if there was one."""
        with self._changing:
            if ended is not None:
                self._held[ended] -= 1
                if not self._held[ended]:
                    del self._held[ended]
            chosen = self._chosen()
            if chosen is None:
                return None
            line = self._lines.pop(chosen)
            work = line.popleft()
            if line:
                self._lines[chosen] = line
            self._held[chosen] += 1
            self._own_was_last = chosen == _OWN
            return work

    def _chosen(self) -> str | None:
        if _OWN in self._lines and not self._own_was_last:
            return _OWN
        able = [waiting for waiting in self._lines if waiting == _OWN or self._held[waiting] < self._of_one]
        return min(able, key=self._held.__getitem__, default=None)


def share_default_threads(loop: asyncio.AbstractEventLoop) -> None:
    """Let `asyncio.to_thread` share its threads out between projects."""
    count = min(32, (os.cpu_count() or 1) + 4)
    loop.set_default_executor(FairThreads(count, name="isolet", of_one=count - 1))


def _run(work: _Work) -> None:
    if not work.future.set_running_or_notify_cancel():
        return
    try:
        result = work.call()
    except BaseException as exc:
        work.future.set_exception(exc)
    else:
        work.future.set_result(result)
