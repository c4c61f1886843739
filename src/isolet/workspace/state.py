"""What this machine knows of the last deploy or pull, so that a pull loses no change and a removed variable goes.

It is in `.isolet/workspace.json` of the project: for each server, project and function the hashes of its own files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from isolet.workspace.bundling import BUNDLE_FOLDER
from isolet.workspace.collecting import Collected

_FILE = ".isolet/workspace.json"


class State:
    """Of one server and project."""

    def __init__(self, root: Path, url: str, project: str) -> None:
        self._path = root / _FILE
        self._key = f"{url.rstrip('/')} {project}"
        self._all = _read(self._path)
        found = self._all.get(self._key)
        self._known: dict[str, dict[str, Any]] = found if isinstance(found, dict) else {}

    def forgotten_variables(self, name: str, variables: Mapping[str, Any]) -> list[str]:
        sent = self._of(name).get("variables", [])
        return [one for one in sent if isinstance(one, str) and one not in variables] if isinstance(sent, list) else []

    def files_of(self, name: str) -> Mapping[str, str]:
        """Hashes by path, as of the last deploy or pull."""
        found = self._of(name).get("files")
        return found if isinstance(found, dict) else {}

    def version_of(self, name: str) -> int | None:
        found = self._of(name).get("version")
        return found if isinstance(found, int) else None

    def deployed(self, name: str, version: int | None, collected: Collected, variables: Mapping[str, Any]) -> None:
        self.pulled(name, version, own_of(collected.files))
        self._known[name]["variables"] = sorted(variables)

    def pulled(self, name: str, version: int | None, files: Mapping[str, str | bytes]) -> None:
        hashes = {path: hash_of(file) for path, file in files.items()}
        self._known[name] = {**self._of(name), "version": version, "files": hashes}

    def save(self) -> None:
        """A folder that cannot be written is no reason to fail: then the next pull asks more."""
        self._all[self._key] = self._known
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            temporary = self._path.with_name(self._path.name + ".new")
            temporary.write_text(json.dumps(self._all, indent=1))
            temporary.replace(self._path)

    def _of(self, name: str) -> Mapping[str, Any]:
        found = self._known.get(name)
        return found if isinstance(found, dict) else {}


def is_own(path: str) -> bool:
    """Whether a file of a function is a source of the project, not a package or a bundle."""
    return path.partition("/")[0] not in ("node_modules", BUNDLE_FOLDER)


def own_of(files: Mapping[str, str | bytes]) -> dict[str, str | bytes]:
    return {path: file for path, file in files.items() if is_own(path)}


def hash_of(file: str | bytes) -> str:
    return hashlib.sha256(file if isinstance(file, bytes) else file.encode()).hexdigest()


def hashes_of(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Of the files that are there."""
    found = {}
    for path in paths:
        with suppress(OSError):
            found[path] = hash_of((root / path).read_bytes())
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
