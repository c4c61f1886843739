import asyncio
import contextlib
import subprocess
from pathlib import Path

import psutil
import pytest

from isolet.compile import Compiler
from isolet.domain.source_lines import authored_place
from isolet.domain.versions import Language
from isolet.errors import BuildFailed, PlatformError
from isolet.ids import ProjectId
from isolet.runtime.sandbox import Sandbox
from isolet.toolchain import Toolchain
from tests.support.programs import script

PROJECT = ProjectId("shop")
NO_HANDLER = (
    "Function must export a handler function: define `async function handler(request, env)` "
    "or `export default` a function or an object with `fetch`"
)


@pytest.fixture
async def compiler(toolchain: Toolchain, sandbox: Sandbox) -> Compiler:
    return Compiler(toolchain.esbuild, wrap=sandbox.tool)


async def _failure(compiler: Compiler, code: str, filename: str | None = None) -> BuildFailed:
    with pytest.raises(BuildFailed) as told:
        await compiler.compile(code, PROJECT, filename=filename)
    return told.value


@pytest.mark.parametrize(
    "code",
    [
        "export default async function handler(request, context) { return new Response('a'); }\n",
        "export default async function (request) {}",
        "export default async (request) => new Response();",
        "export async function handler(request, context) {}",
        "export default { fetch(request, env, ctx) {}, scheduled(event, env, ctx) {} }",
        "async function main() {}\nexport { main as handler, main as other };",
        "import { Buffer } from 'node:buffer';\nexport default { fetch: () => new Response(Buffer.from('a')) };",
    ],
)
async def test_an_exported_handler_passes_as_it_was_written(compiler: Compiler, code: str) -> None:
    bundle = await compiler.compile(code, PROJECT)
    assert (bundle.module, bundle.language) == (code, Language.JAVASCRIPT)


@pytest.mark.parametrize(
    "code",
    [
        "async function handler(request, env) { return new Response('a'); }",
        "const handler = async () => new Response();",
        "var handler = 1; // a comment at the end",
        "export const other = 1;\nfunction handler() {}",
        "async function handler() { return new Response(eval('1')); }",
    ],
)
async def test_a_handler_that_is_not_exported_is_exported_after_the_authors_text(compiler: Compiler, code: str) -> None:
    bundle = await compiler.compile(code, PROJECT)
    assert bundle.module == code + "\n;export { handler };\n"


@pytest.mark.parametrize(
    "code",
    [
        "const a = 1;",
        "function notTheHandler() {}",
        "export const other = 1;",
        "{ function handler() {} }\n'use strict'; export {};",
        "// only a comment",
        "const a: number = 1;",
        "module.exports = { fetch() {} };",
        "exports.handler = async () => {};",
        "export type handler = string;",
        "const a: number = 1; function main(): number { return a; }",
    ],
)
async def test_code_without_a_handler_is_refused(compiler: Compiler, code: str) -> None:
    failure = await _failure(compiler, code)
    assert (failure.message, failure.line) == (NO_HANDLER, None)


TYPED = "interface Env { KEY: string }\nasync function handler(request: Request, env: Env): Promise<Response> {}\n"


async def test_typescript_is_recognized_by_its_text(compiler: Compiler) -> None:
    bundle = await compiler.compile(TYPED, PROJECT)
    assert bundle.language is Language.TYPESCRIPT
    assert "interface" not in bundle.module
    assert "Promise<" not in bundle.module
    assert (await compiler.compile(bundle.module, PROJECT, filename="index.js")).language is Language.JAVASCRIPT


async def test_lines_of_compiled_typescript_lead_back_to_the_authors(compiler: Compiler) -> None:
    code = "type A = {\n  x: string;\n};\n\nlet a: A;\nfunction handler() {\n  throw new Error(a!.x);\n}\n"
    bundle = await compiler.compile(code, PROJECT)
    line = bundle.module[: bundle.module.index("throw")].count("\n") + 1
    assert authored_place(bundle.module, line, 3) == (7, 3)


async def test_a_source_map_that_typescript_names_is_not_read(compiler: Compiler, tmp_path: Path) -> None:
    other = tmp_path / "other.map"
    other.write_text('{"version": 3, "sources": ["c4n4ry"], "names": [], "mappings": "AAAA"}')
    code = f"const a: number = 1;\nfunction handler() {{}}\n//# sourceMappingURL={other}"
    bundle = await compiler.compile(code, PROJECT)
    assert "//#" not in bundle.module


@pytest.mark.parametrize("filename", ["index.ts", "a.b.TS", "handler.mts", "handler.cts"])
async def test_typescript_is_recognized_by_its_file_name(compiler: Compiler, filename: str) -> None:
    code = "export default async function handler() {}"
    assert (await compiler.compile(code, PROJECT, filename=filename)).language is Language.TYPESCRIPT


@pytest.mark.parametrize("filename", ["index.js", "handler.mjs", "index", "ts"])
async def test_another_file_name_means_javascript(compiler: Compiler, filename: str) -> None:
    failure = await _failure(compiler, TYPED, filename)
    assert failure.message.startswith("SyntaxError: ")
    assert failure.line == 1


@pytest.mark.parametrize(
    ("code", "line", "column", "text"),
    [
        ("async function handler( { }", 1, 28, "async function handler( { }"),
        ("const a = 1;\nconst é = '日本😀'; let let;\n", 2, 22, "const é = '日本😀'; let let;"),
        ("function handler() {\n  return {\n", 2, 11, "  return {"),
        ("function handler() {}\r\nreturn }\r\n", 2, 8, "return }"),
        ("let a = '\x0c\x85';\nlet }\n", 2, 5, "let }"),
        ("\n\n\tlet let;", 3, 6, "\tlet let;"),
    ],
)
async def test_a_syntax_error_is_told_with_its_place(
    compiler: Compiler, code: str, line: int, column: int, text: str
) -> None:
    failure = await _failure(compiler, code)
    assert failure.message.startswith("SyntaxError: ")
    assert failure.details == {"line": line, "column": column, "text": text}


async def test_the_error_of_the_language_that_got_further_is_told(compiler: Compiler) -> None:
    failure = await _failure(compiler, "const a: number = 1;\nfunction handler() {\n  let let;\n}\n")
    assert failure.details == {"line": 3, "column": 7, "text": "  let let;"}


async def test_an_error_after_the_export_that_was_added_is_told_in_the_authors_text(compiler: Compiler) -> None:
    failure = await _failure(compiler, "function handler() {} /* never closed")
    assert (failure.line, failure.text) == (1, "function handler() {} /* never closed")


@pytest.mark.parametrize("path", ["./other.js", "../other.ts", "/etc/passwd", "file:///etc/passwd", "."])
@pytest.mark.parametrize(
    "form",
    [
        "import x from {!r};",
        "export * from {!r};",
        "import({!r});",
        "require({!r});",
        "import type T from 'a'; import x from {!r}; x();",
    ],
)
async def test_a_function_is_one_file(compiler: Compiler, form: str, path: str) -> None:
    failure = await _failure(compiler, form.format(path) + "\nexport default () => {};")
    assert failure.message == f"cannot import {path!r}: a function is one file, relative imports do not resolve"


@pytest.mark.parametrize(
    ("code", "line", "column"),
    [
        ("import { nanoid } from 'https://esm.sh/nanoid';\nexport default () => nanoid();", 1, 24),
        ('const a = 1;\n  import "https://esm.sh/nanoid"\nexport default () => a;', 2, 10),
        ("export * from 'https://esm.sh/nanoid';\nexport default () => {};", 1, 15),
        ("export default async () => import('https://esm.sh/nanoid');", 1, 35),
        ("type T = string;\nimport x from 'https://esm.sh/nanoid';\nexport default (): T => x;", 2, 15),
    ],
)
async def test_an_address_that_is_imported_is_told_as_it_was_written_with_its_place(
    compiler: Compiler, code: str, line: int, column: int
) -> None:
    failure = await _failure(compiler, code)
    assert "cannot import 'https://esm.sh/nanoid'" in failure.message
    assert (failure.line, failure.column) == (line, column)
    assert failure.text == code.splitlines()[line - 1]


@pytest.mark.parametrize(
    "path", ["http://a.test/x.js", "npm:lodash", "jsr:@std/x", "data:text/javascript,1", "HTTPS://a"]
)
async def test_nothing_is_fetched_for_a_function(compiler: Compiler, path: str) -> None:
    failure = await _failure(compiler, f"import x from {path!r};\nexport default () => x;")
    assert f"cannot import {path!r}" in failure.message


async def test_code_that_is_hard_to_compile_is_refused_in_bounded_memory(compiler: Compiler) -> None:
    me = psutil.Process()
    most = [(0, "")]

    async def watch() -> None:
        while True:
            for child in me.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    # What was not started yet still counts as this process.
                    most.append((child.memory_info().rss if child.name() == "esbuild" else 0, child.name()))
            await asyncio.sleep(0.01)

    watching = asyncio.ensure_future(watch())
    try:
        for text in ("[", "(", "{", "`${", "a=>", "!", "<"):
            failure = await _failure(compiler, text * (500_000 // len(text)))
            assert failure.message
    finally:
        watching.cancel()
    assert max(most)[0] < 400 * 1024**2, max(most)
    # Some are refused before anybody looks.
    assert "esbuild" in {name for _, name in most}


async def test_code_that_takes_too_much_memory_to_compile_is_told_so(tmp_path: Path) -> None:
    taking = """
import sys
sys.stdin.read()
try:
    taken = [bytes(1 << 20) for _ in range(1 << 12)]
except MemoryError:
    sys.exit("fatal error: out of memory")
"""
    failure = await _failure(Compiler(script(tmp_path / "esbuild", taking)), "let a;")
    assert failure.message.startswith("the code takes more than")
    assert failure.message.endswith("MB of memory to compile")


def test_the_compiler_sees_no_file_and_no_network(sandbox: Sandbox) -> None:
    command = sandbox.tool(Path("/bin/sh"), ["-c", "echo /*; cat /proc/net/dev"], reads=[Path("/bin/cat")])
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    folders, _, devices = found.stdout.partition("\n")
    assert set(folders.split()) <= {"/bin", "/dev", "/lib", "/lib64", "/proc", "/usr"}
    assert [line.split(":")[0].strip() for line in devices.splitlines() if ":" in line] == ["lo"]


async def test_no_file_of_the_host_is_read(compiler: Compiler, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"canary": "c4n4ry"}')
    code = "\n".join(
        [
            f"import secret from {str(secret)!r} with {{ type: 'json' }};",
            f"import type T from {str(secret)!r};",
            "export default () => secret;",
            f"//# sourceMappingURL={secret}",
        ]
    )
    failure = await _failure(compiler, code)
    assert "c4n4ry" not in str(failure)
    assert failure.message.startswith(f"cannot import {str(secret)!r}")


async def test_a_module_of_the_runtime_or_of_npm_is_left_for_the_runtime_to_find(compiler: Compiler) -> None:
    code = "import a from 'lodash'; import b from 'node:crypto'; export default () => [a, b];"
    assert (await compiler.compile(code, PROJECT)).module == code


async def test_a_function_of_the_largest_size_compiles(compiler: Compiler) -> None:
    tail = "\nexport default () => new Response(text.length);"
    code = "const text = '" + "é" * 520_000 + "';" + tail
    assert (await compiler.compile(code, PROJECT)).module == code


async def test_compiling_in_parallel_mixes_nothing_up(compiler: Compiler) -> None:
    codes = [f"const mine: number = {number};\nfunction handler() {{ return mine; }}" for number in range(8)]
    bundles = await asyncio.gather(*(compiler.compile(code, PROJECT) for code in codes))
    for number, bundle in enumerate(bundles):
        assert f"mine = {number};" in bundle.module


async def test_code_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    # The real program takes two seconds, and says this.
    full = "import sys\nsys.stdin.read()\nsys.exit('runtime: goroutine stack exceeds 1000000000-byte limit')\n"
    compiler = Compiler(script(tmp_path / "esbuild", full))
    failure = await _failure(compiler, "let a;")
    assert failure.message == "the code is nested too deeply to compile"


async def test_a_compiler_that_fails_is_the_platforms_fault(tmp_path: Path) -> None:
    broken = Compiler(script(tmp_path / "esbuild", "import sys\nsys.stdin.read()\nsys.exit(3)\n"))
    with pytest.raises(PlatformError, match=r"^cannot compile the code: esbuild ended with 3$"):
        await broken.compile("let a;", PROJECT)


async def test_a_compile_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    endless = Compiler(
        script(
            tmp_path / "esbuild", f"import os, time\nopen({str(told)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
        )
    )
    compiling = asyncio.ensure_future(endless.compile("let a;", PROJECT))
    async with asyncio.timeout(60):
        while not (told.exists() and told.read_text()):
            await asyncio.sleep(0.01)

    compiling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await compiling
    assert not psutil.pid_exists(int(told.read_text()))
