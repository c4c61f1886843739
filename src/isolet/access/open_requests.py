"""How many requests of a project are open at once, live connections among them: each has a connection of the server."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from isolet.errors import TooManyRequests
from isolet.ids import ProjectId

_RETRY_AFTER_S = 5


class OpenRequests:
    """A project has three quarters of `connections` at most; without such a number as many as it likes."""

    def __init__(self, connections: int | None) -> None:
        self._most = None if connections is None else max(connections * 3 // 4, 1)
        self._open: dict[ProjectId, int] = {}

    def begin(self, project_id: ProjectId) -> Callable[[], None]:
        """What is to be called once the request has ended. Raises TooManyRequests."""
        count = self._open.get(project_id, 0)
        if self._most is not None and count >= self._most:
            raise TooManyRequests(
                f"The project has {count} requests open, its share of the server's connections",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._open[project_id] = count + 1
        return partial(self._end, project_id)

    def _end(self, project_id: ProjectId) -> None:
        count = self._open[project_id] - 1
        if count:
            self._open[project_id] = count
        else:
            del self._open[project_id]
