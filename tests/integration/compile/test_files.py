from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from isolet.compile import Compiler
from isolet.domain.source_lines import authored_stack
from isolet.domain.sources import Sources, check_sources
from isolet.domain.versions import Language, ModuleKind
from isolet.errors import BuildFailed, PlatformError
from isolet.ids import ProjectId
from isolet.runtime.sandbox import Sandbox
from isolet.toolchain import Toolchain
from tests.support.programs import script

PROJECT = ProjectId("shop")
ADD_WASM = bytes.fromhex(
    "0061736d0100000001070160027f7f017f03020100070701036164640000 0a09010700200020016a0b".replace(" ", "")
)
HANDLER = "export default { fetch: () => new Response('ok') };\n"


@pytest.fixture
async def compiler(toolchain: Toolchain, sandbox: Sandbox) -> Compiler:
    return Compiler(toolchain.esbuild, wrap=sandbox.tool)


def _sources(entry: str | None = None, **files: str | bytes) -> Sources:
    sent = {
        path: file if isinstance(file, str) else {"base64": base64.b64encode(file).decode()}
        for path, file in files.items()
    }
    return check_sources(sent, entry)


async def _failure(compiler: Compiler, sources: Sources, *, node: bool = False) -> BuildFailed:
    with pytest.raises(BuildFailed) as failed:
        await compiler.compile_sources(sources, PROJECT, node=node)
    return failed.value


async def test_files_become_one_module(compiler: Compiler) -> None:
    files = {
        "src/index.ts": "import { greet } from './greet';\nimport words from '../words.json';\nimport page from './page.html';\n"  # noqa: E501
        "enum Kind { A = 'a' }\nexport default { fetch: (): Response => new Response(greet(words.hello) + page + Kind.A) };\n",  # noqa: E501
        "src/greet.ts": "export const greet = (word: string) => `${word}!` satisfies string;\n",
        "words.json": json.dumps({"hello": "hi"}),
        "src/page.html": "<h1>page</h1>",
    }
    bundle = await compiler.compile_sources(_sources(**files), PROJECT)
    assert bundle.language is Language.TYPESCRIPT
    assert "<h1>page</h1>" in bundle.module
    assert bundle.modules == {}


@pytest.mark.parametrize("name", ["function.js", "function.js.map", "meta.json", "key.bin"])
async def test_what_a_compiler_links_to_is_not_read(tmp_path: Path, name: str) -> None:
    """Code may take over a compiler that it has in a sandbox; what that leaves is read outside."""
    secret = tmp_path / "master-key"
    secret.write_text("{}")
    plant = script(
        tmp_path / "esbuild",
        f"""import os, sys
out = next(one for one in sys.argv if one.startswith("--outdir="))[9:]
built = {{"inputs": {{}}, "outputs": {{"x/function.js": {{"exports": ["default"], "imports": []}}}}}}
texts = {{"meta.json": built, "function.js": "", "function.js.map": {{"sources": [], "mappings": ""}}}}
for name, text in texts.items():
    if name != {name!r}:
        open(os.path.join(out, name), "w").write(str(text).replace("'", '"'))
os.symlink({str(secret)!r}, os.path.join(out, {name!r}))
""",
    )
    with pytest.raises(PlatformError, match=f"'{name}', which is no plain file"):
        await Compiler(plant).compile_sources(_sources(**{"index.js": HANDLER, "b.js": ""}), PROJECT)


async def test_one_script_runs_as_it_was_written(compiler: Compiler) -> None:
    bundle = await compiler.compile_sources(_sources(**{"worker.js": HANDLER}), PROJECT)
    assert bundle.module == HANDLER


async def test_a_handler_that_is_not_exported_is_found(compiler: Compiler) -> None:
    files = {
        "index.js": "import { a } from './a.js';\nasync function handler() { return new Response(a); }\n",
        "a.js": "export const a = 'a';",
    }
    bundle = await compiler.compile_sources(_sources(**files), PROJECT)
    assert "handler" in bundle.module.rpartition("export {")[2]


async def test_packages_that_were_sent_along_are_bundled(compiler: Compiler) -> None:
    files = {
        "index.js": "import { it } from 'pack';\nimport sub from '@scope/sub/deep';\nexport default { fetch: () => new Response(it + sub) };",  # noqa: E501
        "node_modules/pack/package.json": json.dumps(
            {"name": "pack", "exports": {"workerd": "./w.js", "default": "./d.js"}}
        ),
        "node_modules/pack/w.js": "export const it = 'for workerd';",
        "node_modules/pack/d.js": "export const it = 'for others';",
        "node_modules/@scope/sub/package.json": json.dumps({"name": "@scope/sub", "main": "x.js"}),
        "node_modules/@scope/sub/deep.js": "module.exports = 'common';",
    }
    bundle = await compiler.compile_sources(_sources(**files), PROJECT)
    assert "for workerd" in bundle.module
    assert "for others" not in bundle.module
    assert "common" in bundle.module


async def test_wasm_and_data_are_modules_beside_the_bundle(compiler: Compiler) -> None:
    files = {
        "index.js": "import add from './lib/add.wasm';\nimport again from './lib/add.wasm?module';\nimport data from './d.bin';\n"  # noqa: E501
        "export default { fetch: () => new Response(String(add) + String(again) + data.byteLength) };",
        "lib/add.wasm": ADD_WASM,
        "d.bin": b"\x00\x01\xff",
    }
    bundle = await compiler.compile_sources(_sources(**files), PROJECT)
    kinds = {name.partition("-")[0]: module for name, module in bundle.modules.items()}
    assert (kinds["add"].kind, kinds["add"].body) == (ModuleKind.WASM, ADD_WASM)
    assert (kinds["d"].kind, kinds["d"].body) == (ModuleKind.DATA, b"\x00\x01\xff")
    # Each by the name under which the runtime has it.
    assert [bundle.module.count(f'"./{name}"') for name in sorted(bundle.modules)] == [2, 1]


@pytest.mark.parametrize("node", [True, False])
async def test_names_of_node_are_the_runtimes_with_the_flag(compiler: Compiler, node: bool) -> None:
    files = {
        "index.js": "import fs from 'buffer';\nimport { a } from './a.js';\nexport default { fetch: () => new Response(a + fs) };",  # noqa: E501
        "a.js": "export const a = 1;",
    }
    if node:
        bundle = await compiler.compile_sources(_sources(**files), PROJECT, node=True)
        assert '"node:buffer"' in bundle.module
        return
    failure = await _failure(compiler, _sources(**files))
    assert "write node:buffer, or set the compatibility flag nodejs_compat" in failure.message
    assert (failure.file, failure.line, failure.column) == ("index.js", 1, 16)


@pytest.mark.parametrize(
    ("files", "place", "words"),
    [
        ({"index.ts": "import './a';\nexport default {}", "a.ts": "const x = 1;\n  const y = = 2;\n"}, ("a.ts", 2, 13), "SyntaxError"),  # noqa: E501
        ({"index.ts": "export default {};\nimport './gone';", "b.ts": ""}, ("index.ts", 2, 8), "there is no such file"),
        ({"index.js": "import x from 'hono';\nexport default x", "b.js": ""}, ("index.js", 1, 15), "send the package along"),  # noqa: E501
        ({"index.js": "import x from 'https://x.example/y.js';\nexport default x", "b.js": ""}, ("index.js", 1, 15), "nothing is fetched"),  # noqa: E501
        ({"index.js": "/* ü */ import './ü.js'; export default {}", "ü.js": "let a = 1;\nlet a = 2;"}, ("ü.js", 2, 5), "already been declared"),  # noqa: E501
        ({"index.js": "import x from './x.svg';\nexport default x", "x.svg": ""}, ("index.js", 1, 15), 'import it with { type: "text" }'),  # noqa: E501
        ({"index.js": "import x from './x.json';\nexport default x", "x.json": "{\n  bad}"}, ("x.json", 2, 3), "SyntaxError"),  # noqa: E501
    ],
)  # fmt: skip
async def test_what_does_not_compile_is_named_with_its_place(
    compiler: Compiler, files: dict, place: tuple, words: str
) -> None:
    failure = await _failure(compiler, _sources(**files))
    assert (failure.file, failure.line, failure.column) == place
    assert words in failure.message
    assert "isolet-build" not in failure.message


@pytest.mark.parametrize("path", ["/etc/hostname.txt", "../../../../../../etc/passwd.txt", "/proc/self/environ.txt"])
async def test_files_of_the_host_are_out_of_reach(compiler: Compiler, toolchain: Toolchain, path: str) -> None:
    files = {"index.js": f"import text from {path!r};\nexport default () => new Response(text)", "b.js": ""}
    for one in (compiler, Compiler(toolchain.esbuild)):
        assert "text" not in (await _failure(one, _sources(**files))).message.partition("\n")[2]


async def test_without_a_sandbox_a_file_of_the_host_ends_the_build(toolchain: Toolchain, tmp_path) -> None:
    (tmp_path / "secret.txt").write_text("s3cret")
    files = {
        "index.js": f"import text from '{tmp_path}/secret.txt';\nexport default () => new Response(text)",
        "b.js": "",
    }
    failure = await _failure(Compiler(toolchain.esbuild), _sources(**files))
    assert failure.message == "the code imports a file that is not among those that were sent"


async def test_a_wasm_module_that_is_none_is_refused(compiler: Compiler) -> None:
    files = {
        "index.js": "import m from './m.wasm';\nexport default () => new Response(String(m))",
        "m.wasm": b"not wasm",
    }
    assert (await _failure(compiler, _sources(**files))).message == "m.wasm is not a WebAssembly module"


async def test_a_bundle_that_is_too_large_is_refused(compiler: Compiler) -> None:
    files = {
        "index.js": "import text from './t.txt';\nexport default () => new Response(text)",
        "t.txt": "x" * 6_000_000,
    }
    assert "5 MiB is the most" in (await _failure(compiler, _sources(**files))).message


async def test_code_without_a_handler_says_so(compiler: Compiler) -> None:
    failure = await _failure(compiler, _sources(**{"index.js": "import './a.js';", "a.js": ""}))
    assert "must export a handler" in failure.message


async def test_a_stack_leads_to_the_authors_files(compiler: Compiler) -> None:
    files = {
        "index.ts": "import { boom } from './lib/boom';\ninterface A { b: string }\nexport default { fetch() { return boom(); } };\n",  # noqa: E501
        "lib/boom.ts": "type T = string;\nexport function boom(): Response {\n  throw new Error('boom');\n}\n",
    }
    bundle = await compiler.compile_sources(_sources(**files), PROJECT)
    lines = bundle.module.splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "throw new Error" in text)
    column = lines[line - 1].index("new Error") + 1
    assert authored_stack(bundle.module, f"at boom (function.js:{line}:{column})") == "at boom (lib/boom.ts:3:9)"
