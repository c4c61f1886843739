"""Where npm packages go below `node_modules/`, so that the server finds the same ones that esbuild found here.

Package managers place packages in many ways, by links and above the project too. What is sent is a plain tree: the
first package of a name at the top, another version of it within the package that imports it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from isolet.workspace.bundling import Import

_FOLDER = "node_modules"


def package_root(path: str) -> str | None:
    """The folder of the package that a file is of, such as `node_modules/hono`; None for what is not of a package."""
    before, found, after = f"/{path}".rpartition(f"/{_FOLDER}/")
    if not found:
        return None
    parts = after.split("/")
    name = "/".join(parts[:2]) if parts[0].startswith("@") else parts[0]
    return f"{before}/{_FOLDER}/{name}".lstrip("/")


def package_name(root: str) -> str:
    return root.rpartition(f"{_FOLDER}/")[2]


def place_packages(inputs: Mapping[str, Sequence[Import]]) -> dict[str, tuple[str, ...]] | None:
    """The new places of each package's folder, by the folder; None when no such tree means the same."""
    edges = _edges(inputs)
    if edges is None:
        return None
    # The packages that can be seen from a place, by place and name. The project's own code is at the root.
    there: dict[tuple[str, str], str] = {}
    places: dict[str, list[str]] = {}
    waiting: list[tuple[str, str | None]] = [("", None)]
    while waiting:
        place, importer = waiting.pop(0)
        for package in sorted(edges.get(importer, ())):
            name = package_name(package)
            seen = _visible(there, place, name)
            if seen == package:
                continue
            # At the top, unless another one is there.
            at = "" if ("", name) not in there else place
            if (at, name) in there:
                return None
            there[at, name] = package
            new = posixpath.join(at, _FOLDER, name)
            places.setdefault(package, []).append(new)
            waiting.append((new, package))
            if len(places[package]) > _COPIES_MAX:
                return None
    return {package: tuple(at) for package, at in places.items()}


_COPIES_MAX = 20


def _edges(inputs: Mapping[str, Sequence[Import]]) -> dict[str | None, set[str]] | None:
    """The packages that each package imports; None is the project's own code."""
    edges: dict[str | None, set[str]] = {}
    for path, imports in inputs.items():
        importer = package_root(path)
        for one in imports:
            if one.target is None:
                continue
            target = package_root(one.target)
            if target is None and importer is not None:
                # A package that imports what is not in a package: one of a workspace, or a link.
                return None
            if target is None or target == importer:
                continue
            if not (one.specifier + "/").startswith(package_name(target) + "/"):
                # Under another name, as with aliases of package managers and `imports` of package.json.
                return None
            edges.setdefault(importer, set()).add(target)
    return edges


def _visible(there: Mapping[tuple[str, str], str], place: str, name: str) -> str | None:
    while True:
        if (found := there.get((place, name))) is not None:
            return found
        if not place:
            return None
        # The folder around the package's own `node_modules`.
        place = place.rpartition(f"{_FOLDER}/")[0].rstrip("/")
