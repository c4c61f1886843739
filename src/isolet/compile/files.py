"""Bundles a function of several files: TypeScript, JSON, text, npm packages that were sent along, WebAssembly.

esbuild reads and writes a folder of its own. What it read elsewhere, as it could without a sandbox, ends the build.
"""

from __future__ import annotations

import asyncio
import json
import re
import stat
import tempfile
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from isolet.compile.esbuild import EXPORT_HANDLER, NO_HANDLER, NOT_DECLARED, Bundle, Wrap, run_esbuild
from isolet.domain.source_lines import with_mappings
from isolet.domain.sources import BUNDLE_MAX_BYTES, Sources
from isolet.domain.versions import Language, Module, ModuleKind, line_at, place_at
from isolet.errors import BuildFailed, PlatformError

_OUT, _SRC, _META = "out", "src", "meta.json"
_ERROR = re.compile(r"\[ERROR\] (?P<message>.*)")
_PLACE = re.compile(r"^ {4}(?P<file>\S.*?):(?P<line>\d+):(?P<column>\d+):$", re.MULTILINE)
_TEXT_MAX_CHARS = 200
# In an ES module `require` is not there, and esbuild's stand-in uses one that is. At early compatibility dates the
# runtime's own gives namespaces, and not what the module is.
REQUIRE = (
    '--banner:js=import { createRequire as __isolet_create_require } from "node:module"; '
    'const __isolet_required = __isolet_create_require("/"); '
    "const require = (name) => __isolet_required(name).default ?? __isolet_required(name);"
)
_KINDS = {".wasm": ModuleKind.WASM, ".bin": ModuleKind.DATA}
_WASM_MAGIC = b"\x00asm"
# Modules of Node's, by their names without `node:`.
BUILT_IN = (
    *("assert", "async_hooks", "buffer", "child_process", "cluster", "console", "constants", "crypto", "dgram"),
    *("diagnostics_channel", "dns", "domain", "events", "fs", "http", "http2", "https", "inspector", "module", "net"),
    *("os", "path", "perf_hooks", "process", "punycode", "querystring", "readline", "repl", "stream"),
    *("string_decoder", "sys", "timers", "tls", "trace_events", "tty", "url", "util", "v8", "vm", "wasi"),
    *("worker_threads", "zlib"),
)


async def bundle_files(sources: Sources, *, esbuild: Path, wrap: Wrap, node: bool) -> Bundle:
    """`node`: names of Node's modules without `node:` are the runtime's, unless a package was sent for them.

    Raises BuildFailed with file, line and column.
    """
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="isolet-build-")
    try:
        root = Path(folder.name)
        await asyncio.to_thread(_write, root, sources)
        failed = await _run(root, sources, esbuild, wrap, node=node)
        if failed is None and not _exports(root) & {"default", "handler"}:
            text = sources.code + EXPORT_HANDLER
            await asyncio.to_thread((root / _SRC / sources.entry).write_text, text)
            failed = await _run(root, sources, esbuild, wrap, node=node)
            if failed is None and "handler" not in _exports(root):
                raise BuildFailed(NO_HANDLER)
        if failed is not None:
            raise await asyncio.to_thread(_diagnostic, failed, root, sources)
        return await asyncio.to_thread(_read, root, sources)
    finally:
        await asyncio.to_thread(folder.cleanup)


def _write(root: Path, sources: Sources) -> None:
    for name in (_OUT, _SRC):
        (root / name).mkdir()
    for path, file in sources.files.items():
        place = root / _SRC / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file if isinstance(file, bytes) else file.encode())


async def _run(root: Path, sources: Sources, esbuild: Path, wrap: Wrap, *, node: bool) -> str | None:
    """What esbuild complained of; None when it was content."""
    arguments = _arguments(root, sources, node=node)
    places = {"reads": [root / _SRC], "writable": [root / _OUT]}
    failed = await _build(root, wrap(esbuild, arguments, **places))
    if failed is None and await asyncio.to_thread(lambda: requires_built_ins(_meta(root))):
        failed = await _build(root, wrap(esbuild, [*arguments, REQUIRE], **places))
    return failed


async def _build(root: Path, command: Sequence[str]) -> str | None:
    failed = await run_esbuild(command, b"") or None
    if failed is None:
        await asyncio.to_thread(_check_plain, root / _OUT)
    return failed


def _check_plain(out: Path) -> None:
    """A compiler that the code has taken over could leave links there, which lead to files of the server's own.

    Raises PlatformError.
    """
    for file in out.iterdir():
        if not stat.S_ISREG(file.lstat().st_mode):
            raise PlatformError(f"the compiler left {file.name!r}, which is no plain file")


def _arguments(root: Path, sources: Sources, *, node: bool) -> Sequence[str]:
    packages = {path.split("/")[1] for path in sources.files if path.startswith("node_modules/")}
    return [
        str(root / _SRC / sources.entry),
        *bundling_arguments(node=node, packages=packages),
        "--tsconfig-raw={}",
        *(f"--loader:{ending}=copy" for ending in _KINDS),
        *(f"--loader:{ending}=text" for ending in (".txt", ".html", ".sql")),
        "--entry-names=function",
        "--asset-names=[name]-[hash]",
        f"--outdir={root / _OUT}",
        f"--metafile={root / _OUT / _META}",
        "--sourcemap=external",
        "--sources-content=false",
        "--log-level=error",
        "--log-limit=1",
        "--color=false",
    ]


def requires_built_ins(meta: Mapping[str, Any]) -> bool:
    """Whether code that is no ES module asks for what the runtime brings, by esbuild's file about a build."""
    imports = (entry for source in meta["inputs"].values() for entry in source["imports"])
    return any(entry["kind"] == "require-call" and entry.get("external") for entry in imports)


def bundling_arguments(*, node: bool, packages: Container[str] = ()) -> list[str]:
    """How imports are found and what the bundle may use, for whoever bundles functions.

    `packages` are those whose names are Node's, and that are meant all the same.
    """
    own = [name for name in BUILT_IN if name not in packages] if node else []
    return [
        "--bundle",
        "--format=esm",
        "--target=esnext",
        "--platform=neutral",
        "--main-fields=browser,module,main",
        "--conditions=workerd,worker,browser",
        "--resolve-extensions=.tsx,.ts,.jsx,.mts,.mjs,.js,.cjs,.json",
        '--define:process.env.NODE_ENV="production"',
        # V8 has none yet.
        "--supported:decorators=false",
        "--charset=utf8",
        *("--external:node:*", "--external:cloudflare:*", "--external:workerd:*"),
        *(f"--alias:{name}=node:{name}" for name in own),
    ]


def _meta(root: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((root / _OUT / _META).read_text())
    return meta


def _exports(root: Path) -> set[str]:
    outputs = _meta(root)["outputs"].items()
    return {name for path, output in outputs if path.endswith("/function.js") for name in output["exports"]}


def _read(root: Path, sources: Sources) -> Bundle:
    """Raises BuildFailed for a bundle that is too large, or read what is not of the function."""
    inside = f"{root / _SRC}/".lstrip("/")
    for path in _meta(root)["inputs"]:
        if not path.lstrip("/").startswith(inside) and not path.startswith(("<", "(disabled)")):
            raise BuildFailed("the code imports a file that is not among those that were sent")
    _check_externals(root, sources)
    out = root / _OUT
    text = _without_suffixes(root, (out / "function.js").read_text())
    modules = {}
    for file in sorted(out.iterdir()):
        if (kind := _KINDS.get(file.suffix)) is not None:
            modules[file.name] = Module(kind=kind, body=file.read_bytes())
    _check_size(len(text.encode()) + sum(len(module.body) for module in modules.values()))
    for name, module in modules.items():
        if module.kind is ModuleKind.WASM and not module.body.startswith(_WASM_MAGIC):
            raise BuildFailed(f"{_authored(name, sources)} is not a WebAssembly module")
    source_map = json.loads((out / "function.js.map").read_text())
    files = [_inside(root, path) for path in source_map["sources"]]
    typescript = sources.entry.lower().endswith((".ts", ".mts", ".cts", ".tsx"))
    return Bundle(
        module=with_mappings(text, source_map["mappings"], files),
        language=Language.TYPESCRIPT if typescript else Language.JAVASCRIPT,
        modules=modules,
    )


def _without_suffixes(root: Path, text: str) -> str:
    """The bundle, where `./x.wasm?module`, as bundlers of the web have it, names the module that was copied.

    Columns stay as they are.
    """
    for name in _imports(root):
        plain, mark, suffix = name.partition("?")
        if mark and plain.endswith(tuple(_KINDS)):
            text = text.replace(f'{name}"', f'{plain}"' + " " * len(mark + suffix))
    return text


def _imports(root: Path) -> set[str]:
    """The file names that the bundle imports."""
    outputs = _meta(root)["outputs"].items()
    imports = (entry for path, output in outputs if path.endswith("/function.js") for entry in output["imports"])
    return {entry["path"].rpartition("/")[2] for entry in imports}


def _check_externals(root: Path, sources: Sources) -> None:
    """Raises BuildFailed for what esbuild leaves to the runtime, and the runtime does not have."""
    for path, read in _meta(root)["inputs"].items():
        for entry in read["imports"]:
            name = str(entry["path"])
            if entry.get("external") and name.startswith(("http:", "https:", "//", "data:")):
                file = path.lstrip("/").removeprefix(f"{root / _SRC}/".lstrip("/"))
                raise _unresolved(name, file, sources)


def _unresolved(name: str, path: str, sources: Sources) -> BuildFailed:
    message = f'Could not resolve "{name[:_TEXT_MAX_CHARS]}"{_hint(name)}'
    text = str(sources.files.get(path, ""))
    if (at := text.find(name)) < 0:
        return BuildFailed(message)
    line, column = place_at(text, at)
    shown = line_at(text, line)[1][:_TEXT_MAX_CHARS]
    return BuildFailed(message, line=line, column=max(column - 1, 1), text=shown, file=path)


def _check_size(size: int) -> None:
    if size > BUNDLE_MAX_BYTES:
        raise BuildFailed(f"the bundle has {size / 1024**2:.1f} MiB, and {BUNDLE_MAX_BYTES // 1024**2} MiB is the most")


def _authored(name: str, sources: Sources) -> str:
    """The path of a file that was copied under a name with a hash."""
    stem, _, rest = name.rpartition("-")
    ending = rest[rest.find(".") :]
    return next((path for path in sources.files if path.rpartition("/")[2] == stem + ending), stem + ending)


def _inside(root: Path, path: str) -> str:
    """A path of a source map, from the root of the function."""
    return path.removeprefix("../src/").removeprefix(f"{root / _SRC}/")


def _diagnostic(stderr_tail: str, root: Path, sources: Sources) -> BuildFailed:
    found = _ERROR.search(stderr_tail)
    message = found["message"].strip() if found else "the code does not compile"
    if NOT_DECLARED in message:
        return BuildFailed(NO_HANDLER)
    message = message.replace(f"{root / _SRC}/", "").replace(f"{root / _SRC}"[1:] + "/", "")
    place = _PLACE.search(stderr_tail)
    if message.startswith("Could not resolve "):
        message += _hint(message.split('"')[1])
    elif message.startswith("No loader is configured "):
        message += ': import it with { type: "text" } or { type: "bytes" }'
    else:
        message = f"SyntaxError: {message}"
    if place is None:
        return BuildFailed(message)
    path = place["file"].lstrip("/").removeprefix(f"{root / _SRC}/".lstrip("/"))
    file = sources.files.get(path)
    if not isinstance(file, str):
        return BuildFailed(message)
    line, text = line_at(file, int(place["line"]))
    column = len(text.encode()[: int(place["column"])].decode(errors="ignore")) + 1
    return BuildFailed(message, line=line, column=column, text=text[:_TEXT_MAX_CHARS], file=path)


def _hint(name: str) -> str:
    if name.startswith("."):
        return ": there is no such file among those that were sent"
    if name.startswith(("http:", "https:", "//", "npm:", "jsr:", "data:")):
        return ": nothing is fetched for a function; install the package, and send it along"
    if name.split("/", maxsplit=1)[0] in BUILT_IN:
        return f": write node:{name}, or set the compatibility flag nodejs_compat"
    return ": send the package along below node_modules/, as the server installs none"
