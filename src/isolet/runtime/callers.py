"""How many callers may wait at once, for a place or for a start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from isolet.errors import TooManyRequests
from isolet.ids import ProjectId
from isolet.runtime.group import Group

# Of one release, and of all releases of a project.
WAITING_MAX = 2_500
PROJECT_WAITING_MAX = 5_000
_RETRY_AFTER_S = 1


class Callers:
    """Counts those of each project that wait."""

    def __init__(self) -> None:
        self._waiting: Counter[ProjectId] = Counter()

    def admit(self, group: Group | None, project_id: ProjectId) -> None:
        """Raises TooManyRequests when as many callers wait, of the release or of the project, as may."""
        if group is None or not group.waiting:
            return
        if len(group.waiting) >= WAITING_MAX or self._waiting[project_id] >= PROJECT_WAITING_MAX:
            raise TooManyRequests("Too many calls wait for the function; try again later", retry_after_s=_RETRY_AFTER_S)

    @contextmanager
    def one(self, project_id: ProjectId) -> Iterator[None]:
        """A caller that may have to wait meanwhile."""
        self._waiting[project_id] += 1
        try:
            yield
        finally:
            self._waiting[project_id] -= 1
            if not self._waiting[project_id]:
                del self._waiting[project_id]
