"""Console lines of functions that are of no call: the latest of each, in memory alone.

A project has so many bytes, and all projects have: the lines go that were printed least lately, of the project that
holds most when all are full.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

from isolet.domain.invocations import ConsoleLine
from isolet.ids import FunctionId, ProjectId

LINES_MAX = 100
PROJECT_BYTES = 2 * 1024 * 1024
_BYTES = 32 * 1024 * 1024
_LINE_BYTES = 200


class _Lines:
    __slots__ = ("lines", "size")

    def __init__(self) -> None:
        self.lines: deque[ConsoleLine] = deque()
        self.size = 0


class _OfProject:
    __slots__ = ("functions", "size")

    def __init__(self) -> None:
        self.functions: OrderedDict[FunctionId, _Lines] = OrderedDict()
        self.size = 0


class OwnLines:
    def __init__(self, *, project_bytes: int = PROJECT_BYTES, total_bytes: int = _BYTES) -> None:
        self._project_bytes = project_bytes
        self._total_bytes = total_bytes
        self._projects: dict[ProjectId, _OfProject] = {}
        self._size = 0

    def add(self, project_id: ProjectId, function_id: FunctionId, line: ConsoleLine) -> None:
        own = self._projects.setdefault(project_id, _OfProject())
        kept = own.functions.setdefault(function_id, _Lines())
        own.functions.move_to_end(function_id)
        kept.lines.append(line)
        self._grow(own, kept, _size_of(line))
        if len(kept.lines) > LINES_MAX:
            self._grow(own, kept, -_size_of(kept.lines.popleft()))
        while own.size > self._project_bytes:
            self._drop_oldest(own)
        while self._size > self._total_bytes:
            self._drop_oldest(max(self._projects.values(), key=lambda one: one.size))

    def of(self, function_id: FunctionId) -> Sequence[ConsoleLine]:
        """Oldest first."""
        for own in self._projects.values():
            if function_id in own.functions:
                return list(own.functions[function_id].lines)
        return []

    def forget(self, project_id: ProjectId) -> None:
        """The project is gone."""
        if (own := self._projects.pop(project_id, None)) is not None:
            self._size -= own.size

    def _grow(self, own: _OfProject, kept: _Lines, size: int) -> None:
        kept.size += size
        own.size += size
        self._size += size

    def _drop_oldest(self, own: _OfProject) -> None:
        """The lines of the function that printed least lately; of the last one its oldest line."""
        function_id, kept = next(iter(own.functions.items()))
        if len(own.functions) == 1 and len(kept.lines) > 1:
            self._grow(own, kept, -_size_of(kept.lines.popleft()))
            return
        self._grow(own, kept, -kept.size)
        del own.functions[function_id]


def _size_of(line: ConsoleLine) -> int:
    return _LINE_BYTES + len(line.message) + len(line.stack or "")
