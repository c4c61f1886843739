"""What a project on disk says: its functions, schedules and databases, whichever file it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from msgspec import Struct, field


class RuleType(StrEnum):
    """What an import of a file gives."""

    TEXT = "Text"
    DATA = "Data"
    WASM = "CompiledWasm"
    SCRIPT = "ESModule"


class Build(Struct, frozen=True, kw_only=True):
    """How sources become one module. `rules` are the types by ending, such as `.md`.

    What is set here only esbuild on this machine knows, so that such a function is bundled before it is sent.
    """

    alias: Mapping[str, str] = field(default_factory=dict)
    define: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, RuleType] = field(default_factory=dict)
    jsx_factory: str | None = None
    jsx_fragment: str | None = None
    minify: bool = False
    tsconfig: str | None = None
    bundle: bool = False

    @property
    def is_plain(self) -> bool:
        return self == Build()


class Schedule(Struct, frozen=True, kw_only=True):
    """`options` are further members of a schedule's object, such as `timezone` and `retries`."""

    name: str
    cron: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "cron": self.cron, **self.options}


class FunctionConfig(Struct, frozen=True, kw_only=True):
    """`entry` is relative to the project's root. What is None is left as it is on the server.

    `schedules` are all that the function has to have; None leaves them alone.
    """

    name: str
    entry: str
    description: str | None = None
    access: str | None = None
    cors: str | None = None
    hosts: tuple[str, ...] | None = None
    compatibility_date: str | None = None
    compatibility_flags: tuple[str, ...] | None = None
    limits: Mapping[str, int] | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    bindings: Mapping[str, Mapping[str, str]] | None = None
    schedules: tuple[Schedule, ...] | None = None
    build: Build = field(default_factory=Build)

    @property
    def node(self) -> bool:
        """Whether Node's modules are there without `node:` before their names."""
        return any(flag.startswith("nodejs_compat") for flag in self.compatibility_flags or ())


class Migrations(Struct, frozen=True, kw_only=True):
    """SQL files of a database, in a folder relative to the project's root; `table` has those that were applied."""

    database: str
    folder: str
    table: str = "d1_migrations"


class Workspace(Struct, frozen=True, kw_only=True):
    """`file` is what it was read from, relative to `root`. `environment` is the `--env` that was asked for.

    `unmapped` are lines about what this platform does not have, `notes` about what means something else here.
    """

    root: Path
    file: str
    functions: tuple[FunctionConfig, ...]
    migrations: tuple[Migrations, ...] = ()
    project: str | None = None
    environment: str | None = None
    unmapped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def dialect(self) -> str:
        return "isolet" if self.file == "isolet.toml" else "wrangler"
