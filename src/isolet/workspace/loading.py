"""Finds a project's configuration and reads it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isolet.workspace import isolet_toml, wrangler
from isolet.workspace.errors import NoSuchPart, Unmapped, WorkspaceError
from isolet.workspace.model import Workspace

NAMES = (isolet_toml.NAME, *wrangler.NAMES)
# Code that configures; it is not run.
_CODE = ("cloudflare.config.ts", "cloudflare.config.js", "wrangler.config.ts", "wrangler.config.js")
_MAX_BYTES = 1024 * 1024


def find_root(start: Path) -> Path:
    """The nearest folder with a configuration, from `start` upwards. Raises WorkspaceError."""
    start = start.absolute()
    for folder in (start, *start.parents):
        if any((folder / name).is_file() for name in (*NAMES, *_CODE)):
            return folder
    raise NoSuchPart(
        f"there is no project in {start}: no isolet.toml and no wrangler file. Make one with `isolet init`"
    )


def load(root: Path, *, environment: str | None = None, config: str | None = None) -> Workspace:
    """Read the configuration of the folder, or the file `config` in it. Raises WorkspaceError."""
    if environment is not None and not (environment and environment.isprintable() and "/" not in environment):
        raise WorkspaceError(f"--env {environment!r} is not the name of an environment")
    if config is not None:
        path = (root / config).absolute()
        root, name = path.parent, path.name
        if not path.is_file():
            raise NoSuchPart(f"there is no {config}")
    else:
        name = _choose(root)
    try:
        root = root.resolve(strict=True)
    except (OSError, RuntimeError) as exc:
        raise WorkspaceError(f"cannot open {root}: {exc}") from exc
    values = parse(root, name)
    if name == isolet_toml.NAME:
        return isolet_toml.read_isolet_toml(root, values, environment)
    return wrangler.read_wrangler(root, name, values, environment)


def check_mapped(workspace: Workspace, *, allow: bool) -> None:
    """Raises Unmapped when something would be left out and nobody said that it may."""
    if workspace.unmapped and not allow:
        raise Unmapped.of_lines(workspace.file, workspace.unmapped)


def _choose(root: Path) -> str:
    found = [name for name in NAMES if (root / name).is_file()]
    if found:
        return found[0]
    code = next((name for name in _CODE if (root / name).is_file()), None)
    if code is not None:
        raise Unmapped(
            f"{code} is code, and is not run here. Write what it says into wrangler.jsonc, as with "
            "`npx wrangler init`, or into isolet.toml"
        )
    raise NoSuchPart(f"there is no isolet.toml and no wrangler file in {root}. Make one with `isolet init`")


def parse(root: Path, name: str) -> Mapping[str, Any]:
    """The file's members. Raises WorkspaceError with the place of what is wrong."""
    path = root / name
    try:
        data = path.read_bytes()
        if len(data) > _MAX_BYTES:
            raise WorkspaceError(f"{name} is larger than {_MAX_BYTES // 1024**2} MiB")
        text = data.decode()
    except OSError as exc:
        raise WorkspaceError(f"cannot read {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise WorkspaceError(f"{name} is not UTF-8") from exc
    values = _toml(name, text) if name.endswith(".toml") else _jsonc(name, text)
    if not isinstance(values, dict):
        raise WorkspaceError(f"{name} must be an object")
    return values


def _toml(name: str, text: str) -> Any:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise WorkspaceError(f"cannot read {name}: {exc or 'it is nested too deeply'}") from exc


def _jsonc(name: str, text: str) -> Any:
    import pyjson5  # noqa: PLC0415  # Most projects have no such file.

    try:
        return pyjson5.decode(text)
    except pyjson5.Json5Exception as exc:
        raise WorkspaceError(f"cannot read {name}: {exc.args[0] if exc.args else exc}") from exc
