"""Compiles a function's source: one file of JavaScript or TypeScript in, one ES module out.

JavaScript passes through as it was written, so that line numbers in stack traces are the author's; what TypeScript
became is told by its source map. A handler that is not exported gets an export line at the end (`design.md` section 6).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isolet.compile.diagnostics import read_diagnostic
from isolet.domain.source_lines import with_mappings
from isolet.domain.versions import Language
from isolet.errors import BuildFailed, PlatformError
from isolet.ids import ProjectId
from isolet.turns import Turns

_EXPORT_HANDLER = "\n;export { handler };\n"
_NOT_DECLARED = '"handler" is not declared in this file'
_NO_HANDLER = (
    "Function must export a handler function: define `async function handler(request, env)` "
    "or `export default` a function or an object with `fetch`"
)
_WITH_MAP = "--sourcemap=inline"
_MAP = "\n//# sourceMappingURL=data:application/json;base64,"
_NAMES_A_MAP = "sourceMappingURL="
# How the program says that a recursion of its own went too deep.
_STACK_IS_FULL = "goroutine stack exceeds"
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """`module` is the text of an ES module that exports `default`, `handler`, or both."""

    module: str
    language: Language


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    code: str
    exports: frozenset[str]
    imports: tuple[str, ...]


class Compiler:
    """Runs esbuild, at most `parallel` at a time, the turns shared out between projects."""

    def __init__(self, esbuild: Path, *, parallel: int = 2) -> None:
        self._esbuild = esbuild
        self._turns = Turns(parallel, of_one=max(1, parallel - 1))

    async def compile(self, code: str, project_id: ProjectId, *, filename: str | None = None) -> Bundle:
        """Raises BuildFailed with line and column for a syntax error, and for code without a handler.

        The language follows the file name's ending (`.ts`, `.mts`, else JavaScript); without a name, code that is
        no JavaScript but is TypeScript is TypeScript.
        """
        async with self._turns.take(project_id):
            return await self._compile(code, filename)

    async def _compile(self, code: str, filename: str | None) -> Bundle:
        if filename is not None:
            typescript = filename.lower().endswith((".ts", ".mts", ".cts"))
            language = Language.TYPESCRIPT if typescript else Language.JAVASCRIPT
            return await self._in_language(code, language)
        try:
            return await self._in_language(code, Language.JAVASCRIPT)
        except BuildFailed as as_javascript:
            if as_javascript.line is None:
                raise
            try:
                return await self._in_language(code, Language.TYPESCRIPT)
            except BuildFailed as as_typescript:
                if as_typescript.line is None:
                    # All of it was TypeScript, and what is wrong is none of its syntax.
                    raise as_typescript from None
                # The language that understood more of the text is the one it was written in.
                furthest = max(as_javascript, as_typescript, key=_position)
                raise furthest from None

    async def _in_language(self, code: str, language: Language) -> Bundle:
        output = await self._esbuild_run(code, code, language)
        module = code
        if not output.exports & {"default", "handler"}:
            module = code + _EXPORT_HANDLER
            output = await self._esbuild_run(module, code, language)
            # In TypeScript an export of what is not there may be a type, and is dropped without a word.
            if "handler" not in output.exports:
                raise BuildFailed(_NO_HANDLER)
        for path in output.imports:
            if path.startswith((".", "/", "file:", "isolet/")):
                raise BuildFailed(f"cannot import {path!r}: a function is one file, relative imports do not resolve")
        return Bundle(module=module if language is Language.JAVASCRIPT else output.code, language=language)

    async def _esbuild_run(self, text: str, code: str, language: Language) -> _Output:
        loader = "ts" if language is Language.TYPESCRIPT else "js"
        # Of a map that the text names itself esbuild would read the file.
        lines = language is Language.TYPESCRIPT and _NAMES_A_MAP not in text
        # Results go to memory, never to a disk; every import stays as written, so no host file is read.
        meta, out = os.memfd_create("meta"), os.memfd_create("out")
        try:
            failure = await self._spawn(text, loader, meta, out, *([_WITH_MAP] if lines else []))
            if failure:
                diagnostic = read_diagnostic(failure, code)
                if _NOT_DECLARED in diagnostic.message:
                    raise BuildFailed(_NO_HANDLER)
                raise diagnostic
            return _read_output(json.loads(_read_all(meta)), _read_all(out).decode())
        finally:
            os.close(meta)
            os.close(out)

    async def _spawn(self, text: str, loader: str, meta: int, out: int, *options: str) -> str:
        """Esbuild's complaint, empty when it had none."""
        process = await asyncio.create_subprocess_exec(
            self._esbuild,
            "--bundle",
            "--external:*",
            "--format=esm",
            "--target=esnext",
            # V8 has none yet.
            "--supported:decorators=false",
            "--tree-shaking=false",
            "--charset=utf8",
            f"--loader={loader}",
            f"--sourcefile=function.{loader}",
            "--tsconfig-raw={}",
            f"--metafile=/proc/self/fd/{meta}",
            f"--outfile=/proc/self/fd/{out}",
            "--allow-overwrite",
            "--log-level=error",
            "--log-limit=1",
            "--color=false",
            "--sources-content=false",
            *options,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(meta, out),
            cwd="/",
            env={},
        )
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                _, stderr = await process.communicate(text.encode())
        except TimeoutError:
            raise BuildFailed(f"the code took longer than {_TIMEOUT_S:.0f} s to compile") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == 0:
            return ""
        complaint = stderr.decode(errors="replace")
        if _STACK_IS_FULL in complaint:
            raise BuildFailed("the code is nested too deeply to compile")
        if "[ERROR]" not in complaint:
            raise PlatformError(f"cannot compile the code: esbuild ended with {process.returncode}")
        return complaint


def _position(error: BuildFailed) -> tuple[int, int]:
    return error.line or 0, error.column or 0


def _read_all(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def _read_output(meta: dict[str, Any], text: str) -> _Output:
    (output,) = meta["outputs"].values()
    (source,) = meta["inputs"].values()
    code, mark, encoded = text.rpartition(_MAP)
    if mark:
        code = with_mappings(code, json.loads(base64.b64decode(encoded))["mappings"])
    return _Output(
        code=code or text,
        # What has no syntax of modules but calls `eval` counts as CommonJS there, with a default export.
        exports=frozenset(output["exports"] if source.get("format") != "cjs" else ()),
        imports=tuple(entry["path"] for entry in source["imports"]),
    )
