"""Brings the sources of a function from a server to disk, and loses no change that is only here."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from isolet.domain.sources import Sources, diff, is_script
from isolet.workspace.bundling import BUNDLE_FOLDER
from isolet.workspace.errors import LocalChanges, WorkspaceError
from isolet.workspace.model import FunctionConfig, Workspace
from isolet.workspace.paths import is_below
from isolet.workspace.state import State, hash_of, own_of


class Pull(Struct, frozen=True, kw_only=True):
    """`files` are to be written, `gone` to be deleted; `conflicts` have changes that are only here.

    `skipped` are files of the server that a project's sources never are.
    """

    name: str
    version: int
    files: Mapping[str, str | bytes]
    gone: tuple[str, ...]
    conflicts: tuple[str, ...]
    skipped: tuple[str, ...]
    known: Mapping[str, str | bytes]
    before: Mapping[str, str | bytes]

    @property
    def changes(self) -> bool:
        return bool(self.files or self.gone)

    def text(self) -> str:
        """A diff from what is here to what would be."""
        after = {path: file for path, file in {**self.before, **self.files}.items() if path not in self.gone}
        return diff(Sources(entry="", files=self.before), Sources(entry="", files=after))


def plan_pull(workspace: Workspace, function: FunctionConfig, version: int, sources: Sources, state: State) -> Pull:
    """What a pull would do. Raises WorkspaceError."""
    root = workspace.root
    files = _placed(function, sources)
    skipped = tuple(path for path in files if any(part.startswith(".") for part in path.split("/")))
    known = {path: file for path, file in files.items() if path not in skipped}
    before_hashes = state.files_of(function.name)
    before: dict[str, str | bytes] = {}
    write: dict[str, str | bytes] = {}
    conflicts, gone = [], []
    for path, file in known.items():
        _check_place(root, path)
        here = _read(root / path)
        if here is None:
            write[path] = file
            if path in before_hashes:
                conflicts.append(f"{path} (deleted here)")
            continue
        before[path] = here
        if hash_of(here) != hash_of(file):
            write[path] = file
            if hash_of(here) != before_hashes.get(path):
                conflicts.append(path)
    for path in before_hashes.keys() - known.keys():
        if not is_below(root, root / path) or (here := _read(root / path)) is None:
            continue
        before[path] = here
        gone.append(path)
        if hash_of(here) != before_hashes[path]:
            conflicts.append(f"{path} (deleted there)")
    return Pull(
        name=function.name,
        version=version,
        files=write,
        gone=tuple(sorted(gone)),
        conflicts=tuple(conflicts),
        skipped=skipped,
        known=known,
        before=before,
    )


def check(pulls: list[Pull]) -> None:
    """Raises LocalChanges for what would be lost."""
    conflicts = [path for pull in pulls for path in pull.conflicts]
    if conflicts:
        raise LocalChanges(conflicts)


def write(workspace: Workspace, pull: Pull, state: State) -> None:
    """Raises WorkspaceError."""
    try:
        for path, file in pull.files.items():
            place = workspace.root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file if isinstance(file, bytes) else file.encode())
        for path in pull.gone:
            (workspace.root / path).unlink(missing_ok=True)
    except OSError as exc:
        raise WorkspaceError(f"cannot write {exc.filename}: {exc.strerror}") from exc
    state.pulled(pull.name, pull.version, pull.known)


def new_function(name: str, sources: Sources) -> FunctionConfig:
    """Where a function is to be that the project does not have. Raises WorkspaceError for one without sources."""
    if not sources.entry.startswith(f"{BUNDLE_FOLDER}/"):
        return FunctionConfig(name=name, entry=f"functions/{_folder_name(name)}/{sources.entry}")
    # Which of the sources was the entry only the project knew that sent the bundle.
    scripts = sorted(filter(is_script, own_of(sources.files)), key=lambda path: (path.count("/"), "index" not in path))
    if not scripts:
        raise WorkspaceError(f"{name} was sent as a bundle without its sources")
    return FunctionConfig(name=name, entry=scripts[0])


def add_function(workspace: Workspace, function: FunctionConfig) -> None:
    """To the project's `isolet.toml`, which is made when it is missing. Raises WorkspaceError."""
    file = workspace.root / workspace.file
    text = f"[functions.{_quoted(function.name)}]\nentry = {_quoted(function.entry)}\n"
    try:
        there = file.read_text() if file.exists() else ""
        file.write_text(f"{there.rstrip()}\n\n{text}".lstrip())
    except OSError as exc:
        raise WorkspaceError(f"cannot write {file}: {exc.strerror}") from exc


def _quoted(text: str) -> str:
    """JSON's text is TOML's, but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _folder_name(name: str) -> str:
    plain = "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "-" for char in name).strip("-")
    return plain[:60] or "function"


def _placed(function: FunctionConfig, sources: Sources) -> dict[str, str | bytes]:
    """The function's own files by their places in the project, with its entry where the project has it."""
    own = own_of(sources.files)
    if sources.entry == function.entry or sources.entry.startswith(f"{BUNDLE_FOLDER}/") or function.entry in own:
        return own
    folder = posixpath.dirname(function.entry)
    return {
        function.entry if path == sources.entry else posixpath.join(folder, path): file for path, file in own.items()
    }


def _check_place(root: Path, path: str) -> None:
    """Raises WorkspaceError for what a link leads out of the project."""
    if not is_below(root, root / path):
        raise WorkspaceError(f"{path} leads out of the project over a link")


def _read(path: Path) -> str | bytes | None:
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise WorkspaceError(f"cannot read {path}: {exc.strerror}") from exc
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body
    return body if "\x00" in text else text
