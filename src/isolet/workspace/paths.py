"""Paths that a configuration file names: they stay below the project's root."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

from isolet.workspace.tables import Table


def inside(root: Path, path: str, table: Table, name: str) -> str:
    """A path relative to the root, with slashes. Raises WorkspaceError for one that leads out of the project."""
    if "\x00" in path or len(path) > 4096:
        raise table.error(name, "is not a path")
    plain = posixpath.normpath(path.replace("\\", "/"))
    if plain.startswith("/") or plain == ".." or plain.startswith("../"):
        raise table.error(name, f"leads out of the project: {path!r}")
    if not is_below(boundary(root), root / plain):
        raise table.error(name, f"leads out of the project over a link: {path!r}")
    return plain


def is_below(folder: Path, path: Path) -> bool:
    """Whether it is in the folder once links are followed; a loop of links is nowhere."""
    try:
        return path.resolve(strict=False).is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        return False


def boundary(root: Path) -> Path:
    """The folder out of which no source is read: the repository around the project, else the project.

    Packages of a workspace import each other's files.
    """
    for folder in (root, *root.parents):
        if folder == Path.home() or folder == Path("/"):
            break
        if any((folder / name).exists() for name in (".git", "pnpm-workspace.yaml", "lerna.json")):
            return folder
    return root


def relative(root: Path, path: Path) -> str:
    """With slashes; with `..` for what is not below the root."""
    return os.path.relpath(path, root).replace(os.sep, "/")
