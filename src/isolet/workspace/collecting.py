"""The files of a function that are sent: its sources with its packages, or a bundle of them, the sources beside it."""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from isolet.domain.sources import FILES_MAX, SOURCES_MAX_BYTES
from isolet.workspace.bundling import BUNDLE, Bundled, Import, bundle
from isolet.workspace.errors import WorkspaceError
from isolet.workspace.model import FunctionConfig
from isolet.workspace.packages import package_root, place_packages
from isolet.workspace.paths import boundary, is_below

_TEXT = (".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".json", ".txt", ".html", ".sql", ".css", ".md")
# What changes how TypeScript becomes JavaScript; the server knows no tsconfig.json.
_TSCONFIG = re.compile(
    r'"(?:paths|baseUrl|jsx\w*|experimentalDecorators|useDefineForClassFields|extends|verbatim\w*)"\s*:'
)
_ENDINGS = ("", ".tsx", ".ts", ".jsx", ".mts", ".mjs", ".js", ".cjs", ".json")
_EMITTED = {".js": (".ts", ".tsx"), ".mjs": (".mts",), ".jsx": (".tsx",), ".cjs": (".cts",)}


class Collected(Struct, frozen=True, kw_only=True):
    """`files` as they are sent. `watched` are all files that matter, absolute, links followed.

    `own` are the paths of the project's own sources. `bundled` says why a bundle is sent, None when it is not.
    """

    entry: str
    files: Mapping[str, str | bytes]
    own: frozenset[str]
    watched: frozenset[Path]
    bundled: str | None = None

    @property
    def size_bytes(self) -> int:
        return sum(len(file if isinstance(file, bytes) else file.encode()) for file in self.files.values())


async def collect(esbuild: Path, root: Path, function: FunctionConfig) -> Collected:
    """Raises SourcesFailed, WorkspaceError."""
    reason = _reason_of_settings(root, function)
    found = await bundle(esbuild, root, function, own_settings=reason is not None)
    try:
        return await asyncio.to_thread(_collect, root, function, found, reason)
    except OSError as exc:
        # It went away after esbuild had read it.
        raise WorkspaceError(f"cannot read {exc.filename}: {exc.strerror}") from exc


def with_new_texts(collected: Collected, root: Path, changed: Set[Path]) -> Collected | None:
    """The same files, of which the changed ones (absolute, links followed) are read again.

    None when one of them is no source that is sent as it is.
    """
    if collected.bundled is not None:
        return None
    files = dict(collected.files)
    for path in changed & collected.watched:
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else ""
        if name not in collected.own or not path.is_file():
            return None
        files[name] = _as_sent(name, path.read_bytes())
    return replace(collected, files=files)


def _reason_of_settings(root: Path, function: FunctionConfig) -> str | None:
    if not function.build.is_plain:
        return "build settings"
    for folder in (root / function.entry).parents:
        tsconfig = folder / "tsconfig.json"
        if tsconfig.is_file():
            return "tsconfig.json" if _TSCONFIG.search(tsconfig.read_text(errors="replace")) else None
        if folder == root:
            return None
    return None


def _collect(root: Path, function: FunctionConfig, found: Bundled, reason: str | None) -> Collected:
    outside = _check_places(root, found)
    own = [path for path in found.inputs if package_root(path) is None and path not in outside]
    watched = frozenset((root / path).resolve() for path in found.inputs)
    if reason is None:
        reason = _reason_of_imports(found, own, outside)
    if reason is None:
        files = _tree(root, found, own)
        if files is None:
            reason = "how its packages lie"
        elif len(files) > FILES_MAX:
            reason = f"{len(files)} files"
        elif sum(map(len, files.values())) > SOURCES_MAX_BYTES:
            reason = "size"
        elif (entry := _real_entry(root, function.entry)) in files:
            return Collected(
                entry=entry,
                files={path: _as_sent(path, body) for path, body in files.items()},
                own=frozenset(own),
                watched=watched,
            )
        else:
            reason = "links"
    return _as_bundle(root, found, own, watched, reason)


def _as_bundle(root: Path, found: Bundled, own: Sequence[str], watched: frozenset[Path], reason: str) -> Collected:
    files = dict(found.files)
    size = sum(map(len, files.values()))
    # The sources are sent for those who read them later; where they are too many the bundle alone counts.
    sources = {path: (root / path).read_bytes() for path in own[: FILES_MAX - len(files)]}
    if size + sum(map(len, sources.values())) <= SOURCES_MAX_BYTES and len(own) <= FILES_MAX - len(files):
        files |= sources
    return Collected(
        entry=BUNDLE,
        files={path: _as_sent(path, body) for path, body in files.items()},
        own=frozenset(own),
        watched=watched,
        bundled=reason,
    )


def _check_places(root: Path, found: Bundled) -> set[str]:
    """The inputs outside of the project. Raises WorkspaceError for one out of reach."""
    around = boundary(root)
    outside = {path for path in found.inputs if path.startswith("../")}
    for path in outside:
        if package_root(path) is None and not is_below(around, root.resolve() / path):
            importer = next((one for one, made in found.inputs.items() if any(i.target == path for i in made)), None)
            by = f", which {importer} imports," if importer else ""
            raise WorkspaceError(f"{path}{by} is outside of the project")
    return outside


def _reason_of_imports(found: Bundled, own: Sequence[str], outside: set[str]) -> str | None:
    if any(package_root(path) is None for path in outside):
        return "imports from outside of its folder"
    for path in own:
        for one in found.inputs[path]:
            if one.target is not None and package_root(one.target) is None and not _leads_to(path, one):
                return f"the import of {one.specifier}"
    return None


def _leads_to(importer: str, one: Import) -> bool:
    """Whether an import means the same file where nothing but the files are there."""
    if not one.specifier.startswith("."):
        return False
    path = posixpath.normpath(posixpath.join(posixpath.dirname(importer), one.specifier))
    candidates = {path + ending for ending in _ENDINGS} | {f"{path}/index{ending}" for ending in _ENDINGS[1:]}
    stem, ending = posixpath.splitext(path)
    candidates |= {stem + other for other in _EMITTED.get(ending, ())}
    return one.target in candidates


def _tree(root: Path, found: Bundled, own: Sequence[str]) -> dict[str, bytes] | None:
    """Own sources where they are, packages below `node_modules/` with their package.json."""
    places = place_packages(found.inputs)
    if places is None:
        return None
    files = {path: (root / path).read_bytes() for path in own}
    for path in found.inputs:
        package = package_root(path)
        if package is None:
            continue
        for at in places.get(package, ()):
            for source in (path, *_manifests(root, package, path)):
                files[at + source.removeprefix(package)] = (root / source).read_bytes()
    return files


def _manifests(root: Path, package: str, path: str) -> list[str]:
    """Every package.json from the file up to its package."""
    found, folder = [], posixpath.dirname(path)
    while len(folder) >= len(package):
        if (root / folder / "package.json").is_file():
            found.append(f"{folder}/package.json")
        folder = posixpath.dirname(folder)
    return found


def _real_entry(root: Path, entry: str) -> str:
    real = (root / entry).resolve()
    return real.relative_to(root.resolve()).as_posix() if real.is_relative_to(root.resolve()) else entry


def _as_sent(path: str, body: bytes) -> str | bytes:
    if not path.lower().endswith(_TEXT):
        return body
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body
    return body if "\x00" in text else text
