"""What goes wrong with a project on disk.

IsoletError
└── WorkspaceError        the project cannot be used as it stands
    ├── NoSuchPart        there is no project, or nothing of that name in it
    ├── Unmapped          it asks for what this platform does not have; `lines` say what, one each
    ├── LocalChanges      files here would be lost; `paths` are theirs
    └── SourcesFailed     the sources cannot be bundled; `problems` have their places
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from msgspec import Struct

from isolet.errors import IsoletError


class WorkspaceError(IsoletError):
    code = "workspace"


class NoSuchPart(WorkspaceError):
    code = "not_found"


class Unmapped(WorkspaceError):
    code = "unmapped"

    @classmethod
    def of_lines(cls, file: str, lines: Sequence[str]) -> Self:
        listed = "\n".join(f"  {line}" for line in lines)
        return cls(
            f"{file} asks for what cannot be mapped:\n{listed}\nRemove it, or deploy without it with --allow-unmapped.",
            details={"unmapped": list(lines)},
        )


class LocalChanges(WorkspaceError):
    code = "local_changes"

    def __init__(self, paths: Sequence[str]) -> None:
        shown = "\n".join(f"  {path}" for path in paths)
        super().__init__(f"these files have changes that would be lost:\n{shown}\nSee them with --diff.")
        self.paths = tuple(paths)


class Problem(Struct, frozen=True, kw_only=True):
    """`line` and `column` count from 1; `text` is the line."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    text: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{place}: {self.message}" if place else self.message


class SourcesFailed(WorkspaceError):
    code = "sources_failed"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
