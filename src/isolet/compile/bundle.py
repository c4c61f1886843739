"""Compiles a function's source: JavaScript or TypeScript in, one ES module out.

JavaScript passes through as it was written, so that line numbers in stack traces are the author's; what TypeScript
became is told by its source map. A handler that is not exported gets an export line at the end.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct

from isolet.compile.diagnostics import read_diagnostic
from isolet.compile.esbuild import EXPORT_HANDLER, NO_HANDLER, NOT_DECLARED, Bundle, Wrap, run_esbuild
from isolet.compile.files import bundle_files
from isolet.domain.source_lines import with_mappings
from isolet.domain.sources import DEFAULT_ENTRY, Sources, is_script
from isolet.domain.versions import Language, line_at, place_at
from isolet.errors import BuildFailed
from isolet.ids import ProjectId
from isolet.turns import Turns

_WITH_MAP = "--sourcemap=inline"
_MAP = "\n//# sourceMappingURL=data:application/json;base64,"
_NAMES_A_MAP = "sourceMappingURL="
_TEXT_MAX_CHARS = 200
# So many places where a name stands are looked at, and so much before each.
_PLACES_MAX = 100
_BEFORE_CHARS = 200
_IMPORTING = re.compile(r"\b(?:from|import|require)\s*+\(?\s*+\Z")
# What the runtime brings; every other name with a colon is an address.
_BUILT_IN = ("node:", "cloudflare:", "workerd:")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class _Output(Struct, frozen=True, kw_only=True):
    code: str
    exports: frozenset[str]
    imports: tuple[str, ...]


class Compiler:
    """Runs esbuild, at most `parallel` at a time, the turns shared out between projects.

    `wrap` makes the command of a program and its arguments, as a sandbox has it.
    """

    def __init__(
        self, esbuild: Path, *, parallel: int = 2, wrap: Wrap = lambda program, rest, **_: [str(program), *rest]
    ) -> None:
        self._esbuild = esbuild
        self._wrap = wrap
        self._turns = Turns(parallel, of_one=max(1, parallel - 1))

    async def compile(self, code: str, project_id: ProjectId, *, filename: str | None = None) -> Bundle:
        """Raises BuildFailed with line and column for a syntax error, and for code without a handler.

        The language follows the file name's ending (`.ts`, `.mts`, else JavaScript); without a name, code that is
        no JavaScript but is TypeScript is TypeScript.
        """
        async with self._turns.take(project_id):
            return await self._compile(code, filename)

    async def compile_sources(self, sources: Sources, project_id: ProjectId, *, node: bool = False) -> Bundle:
        """The same for files. `node`: names of Node's modules need no `node:` before them."""
        if sources.single is not None and is_script(sources.entry):
            filename = None if sources.entry == DEFAULT_ENTRY else sources.entry
            return await self.compile(sources.code, project_id, filename=filename)
        async with self._turns.take(project_id):
            return await bundle_files(sources, esbuild=self._esbuild, wrap=self._wrap, node=node)

    async def _compile(self, code: str, filename: str | None) -> Bundle:
        if filename is not None:
            typescript = filename.lower().endswith((".ts", ".mts", ".cts"))
            language = Language.TYPESCRIPT if typescript else Language.JAVASCRIPT
            return await self._in_language(code, language)
        try:
            return await self._in_language(code, Language.JAVASCRIPT)
        except BuildFailed as as_javascript:
            if not _is_syntax(as_javascript):
                raise
            try:
                return await self._in_language(code, Language.TYPESCRIPT)
            except BuildFailed as as_typescript:
                if not _is_syntax(as_typescript):
                    # All of it was TypeScript, and what is wrong is none of its syntax.
                    raise as_typescript from None
                # The language that understood more of the text is the one it was written in.
                furthest = max(as_javascript, as_typescript, key=_position)
                raise furthest from None

    async def _in_language(self, code: str, language: Language) -> Bundle:
        output = await self._esbuild_run(code, code, language)
        module = code
        if not output.exports & {"default", "handler"}:
            module = code + EXPORT_HANDLER
            output = await self._esbuild_run(module, code, language)
            # In TypeScript an export of what is not there may be a type, and is dropped without a word.
            if "handler" not in output.exports:
                raise BuildFailed(NO_HANDLER)
        await asyncio.to_thread(_check_imports, output.imports, code)
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
                diagnostic = await asyncio.to_thread(read_diagnostic, failure, code)
                if NOT_DECLARED in diagnostic.message:
                    raise BuildFailed(NO_HANDLER)
                raise diagnostic
            return await asyncio.to_thread(_read_output, meta, out)
        finally:
            os.close(meta)
            os.close(out)

    async def _spawn(self, text: str, loader: str, meta: int, out: int, *options: str) -> str:
        """Esbuild's complaint, empty when it had none."""
        arguments = [
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
        ]
        command = self._wrap(self._esbuild, arguments)
        return await run_esbuild(command, text.encode(), pass_fds=(meta, out))


class _NotToImport(BuildFailed):
    """The text was understood; what it imports is not here."""


def _is_syntax(error: BuildFailed) -> bool:
    return error.line is not None and not isinstance(error, _NotToImport)


def _check_imports(paths: Sequence[str], code: str) -> None:
    for path in paths:
        _check_import(path, code)


def _check_import(path: str, code: str) -> None:
    """Raises BuildFailed for what is not here to be imported, with its place."""
    if path.startswith((".", "/", "file:", "isolet/")):
        reason = "a function is one file, relative imports do not resolve"
    elif _ADDRESS.match(path) and not path.startswith(_BUILT_IN):
        reason = "a function is one file, and nothing is fetched for it; paste the module's code into the file"
    else:
        return
    line, column, text = _place_of(path, code)
    raise _NotToImport(f"cannot import {path[:_TEXT_MAX_CHARS]!r}: {reason}", line=line, column=column, text=text)


def _place_of(path: str, code: str) -> tuple[int | None, int | None, str | None]:
    """Where code names what it imports, as far as it is written there."""
    found = [at for quote in "\"'`" for at in islice(_found(quote + path + quote, code), _PLACES_MAX)]
    if not found:
        return None, None, None
    imported = (at for at in sorted(found) if _IMPORTING.search(code, max(at - _BEFORE_CHARS, 0), at))
    line, column = place_at(code, next(imported, min(found)))
    return line, column, line_at(code, line)[1][:_TEXT_MAX_CHARS]


def _found(text: str, code: str) -> Iterator[int]:
    """Not by a pattern: what is imported may be long, and code may be made of its beginnings."""
    at = code.find(text)
    while at >= 0:
        yield at
        at = code.find(text, at + 1)


def _position(error: BuildFailed) -> tuple[int, int]:
    return error.line or 0, error.column or 0


def _read_all(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def _read_output(meta_fd: int, out_fd: int) -> _Output:
    meta: dict[str, Any] = json.loads(_read_all(meta_fd))
    text = _read_all(out_fd).decode()
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
