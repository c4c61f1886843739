"""What the bodies of running jobs may hold of the server's memory, of all projects and of each."""

from __future__ import annotations

from collections import Counter
from typing import Self

# Bodies up to this size cost nothing: the places of the queue bound them.
SMALL_BYTES = 65_536


class BodyBudget:
    """`total_bytes` for all, of which a project may take half. A body of any size is taken when nothing else is."""

    def __init__(self, total_bytes: int) -> None:
        self._total = total_bytes
        self._used = 0
        self._projects: Counter[str] = Counter()

    @property
    def used_bytes(self) -> int:
        return self._used

    def fits(self, project: str, size: int) -> bool:
        if size <= SMALL_BYTES:
            return True
        own = self._projects[project]
        return (not own or own + size <= self._total // 2) and (not self._used or self._used + size <= self._total)

    def take(self, project: str, size: int) -> bool:
        """Count a body when it fits; whether it does."""
        fits = self.fits(project, size)
        if fits:
            self.add(project, size)
        return fits

    def add(self, project: str, size: int) -> None:
        """Count a body."""
        if size > SMALL_BYTES:
            self._used += size
            self._projects[project] += size

    def give_back(self, project: str, size: int) -> None:
        if size > SMALL_BYTES:
            self._used -= size
            self._projects[project] -= size
            if not self._projects[project]:
                del self._projects[project]

    def copy(self) -> Self:
        """As it is now, for somebody else to count on."""
        other = type(self)(self._total)
        other._used, other._projects = self._used, self._projects.copy()
        return other
