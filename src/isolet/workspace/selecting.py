"""Which functions a command means, and which files of a project no function has."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from posixpath import dirname

from msgspec.structs import replace

from isolet.domain.sources import ENTRIES
from isolet.workspace.errors import NoSuchPart
from isolet.workspace.loading import NAMES, find_root, load
from isolet.workspace.model import FunctionConfig, Workspace
from isolet.workspace.paths import inside
from isolet.workspace.tables import Table

_SCRIPTS = (".js", ".mjs", ".ts", ".mts", ".jsx", ".tsx")
_SKIPPED_FOLDERS = {"node_modules", "__pycache__", "dist", "build", "coverage", "test", "tests", "__tests__"}
_SKIPPED_FILES = {*NAMES, "package.json", "package-lock.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock", "bun.lockb"}
_SKIPPED_FILES |= {"tsconfig.json", "LICENSE", "Makefile", "Dockerfile", "jsconfig.json", "pnpm-workspace.yaml"}
_SKIPPED_ENDINGS = (".d.ts", ".md", ".toml", ".map", ".log", ".lock")
# Tests, and what configures tools.
_TOOLS = re.compile(r"\.(?:test|spec|config)\.[cm]?[jt]sx?$")
_SEEN_MAX = 20_000


def open_workspace(
    start: Path, paths: Sequence[str], *, environment: str | None = None, config: str | None = None
) -> tuple[Workspace, tuple[FunctionConfig, ...]]:
    """The project at `start`, and of its functions those that paths or names mean; all without any.

    A folder with a configuration of its own is a project. Where there is no project, a script is a function of its
    name, and a folder with an `index.ts` or the like one of the folder's. Raises WorkspaceError.
    """
    folder = start / paths[0] if len(paths) == 1 else start
    if config is None and len(paths) == 1 and any((folder / name).is_file() for name in NAMES):
        workspace = load(folder, environment=environment)
        return workspace, workspace.functions
    if config is not None:
        workspace = load(start, environment=environment, config=config)
    else:
        try:
            root = find_root(start)
        except NoSuchPart:
            entries = [_entry(start, path) for path in paths]
            if not entries or None in entries:
                raise
            workspace = _of_scripts(start, dict(zip(paths, filter(None, entries), strict=True)), environment)
            return workspace, workspace.functions
        workspace = load(root, environment=environment)
    return workspace, _chosen(workspace, start, paths)


def _entry(start: Path, path: str) -> str | None:
    """Of a function that is a script, or a folder with one of the usual names in it."""
    place = start / path
    if place.is_dir():
        found = next((name for name in ENTRIES if (place / name).is_file()), None)
        return None if found is None else f"{path.rstrip('/')}/{found}"
    return path if place.is_file() and place.suffix.lower() in _SCRIPTS else None


def _of_scripts(start: Path, entries: Mapping[str, str], environment: str | None) -> Workspace:
    """`entries` are by the paths that were given, which functions are named by."""
    root = start.resolve()
    places = Table(dict(entries), "the command line")
    ending = f"-{environment}" if environment else ""
    functions = tuple(
        FunctionConfig(name=(start / path).resolve().stem + ending, entry=inside(root, entry, places, path))
        for path, entry in entries.items()
    )
    return Workspace(root=root, file="", functions=functions, environment=environment)


def _chosen(workspace: Workspace, start: Path, paths: Sequence[str]) -> tuple[FunctionConfig, ...]:
    if not paths:
        return workspace.functions
    found = []
    for path in paths:
        place = (start / path).resolve()
        ending = f"-{workspace.environment}" if workspace.environment else ""
        matching = [
            function
            for function in workspace.functions
            if function.name in (path, path + ending)
            or (workspace.root / function.entry).resolve().is_relative_to(place)
        ]
        if not matching:
            known = ", ".join(function.name for function in workspace.functions)
            raise NoSuchPart(f"{path} is none of the project's functions, nor a folder of one; there is {known}")
        found += matching
    return tuple({function.name: function for function in found}.values())


def with_access(functions: Sequence[FunctionConfig], access: str | None) -> tuple[FunctionConfig, ...]:
    return tuple(functions) if access is None else tuple(replace(one, access=access) for one in functions)


def files_of_none(workspace: Workspace, sent: Iterable[str]) -> list[str]:
    """Files in the folders of functions that nothing imports, and that are no configuration, tests or notes."""
    known = set(sent)
    skipped = {migrations.folder for migrations in workspace.migrations}
    found: set[str] = set()
    seen = 0
    for top in sorted({dirname(function.entry) for function in workspace.functions}):
        for folder, folders, files in os.walk(workspace.root / top):
            here = os.path.relpath(folder, workspace.root)
            folders[:] = [
                name for name in folders if _is_source(name, _SKIPPED_FOLDERS) and _joined(here, name) not in skipped
            ]
            paths = [_joined(here, name) for name in files if _is_source(name, _SKIPPED_FILES)]
            found.update(path for path in paths if path not in known and not path.endswith(_SKIPPED_ENDINGS))
            seen += len(files) + len(folders)
            if seen > _SEEN_MAX:
                return sorted(found)
    return sorted(found)


def _joined(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def _is_source(name: str, skipped: set[str]) -> bool:
    return not name.startswith(".") and name not in skipped and not _TOOLS.search(name)
