"""Runs esbuild over the sources of a function where they lie: what it reads, and the bundle that it makes."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from isolet.compile.files import BUILT_IN, REQUIRE, bundling_arguments, requires_built_ins
from isolet.workspace.errors import Problem, SourcesFailed, WorkspaceError
from isolet.workspace.model import Build, FunctionConfig, RuleType
from isolet.workspace.rules import DEFAULTS

# Where a bundle is among the files that are sent; it imports what is beside it.
BUNDLE_FOLDER = "isolet.bundle"
BUNDLE = f"{BUNDLE_FOLDER}/index.js"
_OUTPUT, _MAP, _META = "index.js", "index.js.map", "meta.json"
_TIMEOUT_S = 120.0
_PLACE = re.compile(r"^ {4}(?P<file>\S.*?):(?P<line>\d+):(?P<column>\d+):$", re.MULTILINE)
_LOADERS = {RuleType.TEXT: "text", RuleType.DATA: "copy", RuleType.WASM: "copy", RuleType.SCRIPT: "js"}
# The endings by which the server knows what a copied file is.
_COPIED = {RuleType.DATA: ".bin", RuleType.WASM: ".wasm"}


class Import(Struct, frozen=True, kw_only=True):
    """`target` is relative to the root; None for what the runtime brings."""

    specifier: str
    target: str | None


class Bundled(Struct, frozen=True, kw_only=True):
    """`inputs` are all files that were read, by their paths from the root, links followed; with what they import.

    `files` are the bundle and what it imports, by name.
    """

    inputs: Mapping[str, Sequence[Import]]
    files: Mapping[str, bytes]


async def bundle(esbuild: Path, root: Path, function: FunctionConfig, *, own_settings: bool) -> Bundled:
    """`own_settings`: whether the project's tsconfig.json and `build` count; without them as the server bundles.

    Raises SourcesFailed with the places of all that is wrong.
    """
    if not (root / function.entry).is_file():
        raise WorkspaceError(f"{function.name}: there is no file {function.entry}")
    with tempfile.TemporaryDirectory(prefix="isolet-bundle-") as folder:
        out = Path(folder)
        arguments = _arguments(root, function, out, own_settings=own_settings)
        await _checked_run(esbuild, root, arguments)
        if await asyncio.to_thread(lambda: requires_built_ins(_meta(out))):
            await _checked_run(esbuild, root, [*arguments, REQUIRE])
        return await asyncio.to_thread(_read, root, out, function.build)


async def _checked_run(esbuild: Path, root: Path, arguments: Sequence[str]) -> None:
    status, stderr = await _run(esbuild, root, arguments)
    if status != 0:
        raise SourcesFailed(problems_in(stderr))


def _meta(out: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((out / _META).read_text())
    return meta


def _arguments(root: Path, function: FunctionConfig, out: Path, *, own_settings: bool) -> list[str]:
    build = function.build
    rules = {**DEFAULTS, **build.rules}
    arguments = [
        # A path that begins like an option is none.
        f"./{function.entry}",
        *bundling_arguments(node=function.node),
        *(f"--loader:{ending}={_LOADERS[kind]}" for ending, kind in rules.items()),
        f"--entry-names={_OUTPUT.removesuffix('.js')}",
        "--asset-names=[name]-[hash]",
        f"--outdir={out}",
        f"--metafile={out / _META}",
        "--sourcemap=external",
        "--sources-content=false",
        "--log-level=error",
        "--log-limit=20",
        "--color=false",
    ]
    if not own_settings:
        return [*arguments, "--tsconfig-raw={}"]
    arguments += [f"--alias:{name}={target}" for name, target in build.alias.items()]
    arguments += [f"--define:{name}={value}" for name, value in build.define.items()]
    for option, value in (("jsx-factory", build.jsx_factory), ("jsx-fragment", build.jsx_fragment)):
        arguments += [f"--{option}={value}"] if value else []
    arguments += [f"--tsconfig={root / build.tsconfig}"] if build.tsconfig else []
    return [*arguments, *(["--minify"] if build.minify else [])]


async def _run(esbuild: Path, root: Path, arguments: Sequence[str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        str(esbuild),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=root,
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, stderr = await process.communicate()
    except TimeoutError:
        raise WorkspaceError(f"esbuild took longer than {_TIMEOUT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, stderr.decode(errors="replace")


def _read(root: Path, out: Path, build: Build) -> Bundled:
    meta = _meta(out)
    names = {path: _name(root, path) for path in meta["inputs"] if not path.startswith(("<", "(disabled)"))}
    inputs = {names[path]: _imports(meta["inputs"][path]["imports"], names) for path in names}
    files = {file.name: file.read_bytes() for file in out.iterdir() if file.name not in (_META, _OUTPUT, _MAP)}
    script = (out / _OUTPUT).read_bytes() + _map(root, out)
    return Bundled(inputs=inputs, files=_named(script, files, build))


def _name(root: Path, path: str) -> str:
    """A path of esbuild's, which may have a query behind it."""
    return path if (root / path).exists() else path.partition("?")[0]


def _map(root: Path, out: Path) -> bytes:
    """The source map as a comment, with paths from the bundle."""
    found = json.loads((out / _MAP).read_text())
    found["sources"] = [os.path.relpath(out / source, root / BUNDLE_FOLDER) for source in found["sources"]]
    encoded = base64.b64encode(json.dumps(found).encode()).decode()
    return f"\n//# sourceMappingURL=data:application/json;base64,{encoded}\n".encode()


def _imports(entries: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[Import]:
    found = []
    for entry in entries:
        target = None if entry.get("external") else names.get(entry["path"])
        found.append(Import(specifier=str(entry.get("original", entry["path"])), target=target))
    return found


def _named(script: bytes, files: Mapping[str, bytes], build: Build) -> dict[str, bytes]:
    """The files by the paths that are sent.

    What a rule of the project says to be data or WebAssembly gets the ending that means that to the server.
    """
    found = {}
    for name, body in files.items():
        kind = build.rules.get("." + name.rpartition(".")[2])
        ending = "" if kind is None else _COPIED.get(kind, "")
        found[f"{BUNDLE_FOLDER}/{name}{ending}"] = body
        script = script.replace(f'"./{name}"'.encode(), f'"./{name}{ending}"'.encode()) if ending else script
    return {BUNDLE: script, **found}


def _hint(message: str) -> str:
    if message.startswith("No loader is configured"):
        return "; a rule of the type Text, Data or CompiledWasm says what they are"
    if not message.startswith('Could not resolve "'):
        return ""
    name = message.split('"')[1]
    if name.split("/", maxsplit=1)[0] in BUILT_IN:
        return f": write node:{name}, or set the compatibility flag nodejs_compat"
    if name.startswith((".", "/")):
        return ""
    return ": install the package here; the server installs none"


def problems_in(stderr: str) -> list[Problem]:
    """Every error of esbuild's, with its place."""
    parts = re.split(r"^(?:✘|X) \[ERROR\] ", stderr, flags=re.MULTILINE)[1:]
    problems = []
    for part in parts:
        message = part.partition("\n")[0].strip()
        message += _hint(message)
        place = _PLACE.search(part)
        if place is None:
            problems.append(Problem(message=message))
            continue
        text = next((line for line in part.splitlines() if " │ " in line), "").partition(" │ ")[2]
        column = len(text.encode()[: int(place["column"])].decode(errors="ignore")) + 1
        problems.append(
            Problem(message=message, file=place["file"], line=int(place["line"]), column=column, text=text[:200])
        )
    return problems or [Problem(message=stderr.strip()[:500] or "esbuild failed")]
