"""`isolet init` makes projects that deploy as they are, and `isolet types` what TypeScript believes of them."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.isolet_command import Isolet
from tests.support.on_disk import ROOT, write_files
from tests.support.projects import Project

TEMPLATES = ("hello", "handler", "storage", "schedule", "node")


def checked(*folders: Path) -> str:
    """What TypeScript complains of."""
    compiler = ROOT / "node_modules/typescript/lib/tsc.js"
    complaints = ""
    for folder in folders:
        done = subprocess.run(
            ["node", compiler, "-p", folder], capture_output=True, text=True, timeout=120, check=False
        )
        complaints += done.stdout + done.stderr
    return complaints


@pytest.mark.parametrize("language", ["ts", "js"])
def test_each_template_deploys_as_it_is(
    isolet: Isolet, own_project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    for template in TEMPLATES:
        done = isolet("init", template, "--template", template, "--language", language, "--json").json
        assert "isolet.toml" in done["files"]
        monkeypatch.chdir(folder / template)
        made = isolet("deploy", "--no-probe", "--force").text
        assert made.startswith(f"{template}: {'made' if language == 'ts' else 'changed'}")
        monkeypatch.chdir(folder)
    call = own_project.client
    base = f"/f/{own_project.slug}"
    assert call.get(f"{base}/hello?name=Ada", headers={"x-api-key": ""}).text == "Hello, Ada!\n"
    assert call.post(f"{base}/handler", json={"a": 1}).json() == {"ok": True, "received": {"a": 1}}
    found = call.post(f"{base}/storage", json={"email": f"{language}@b.c"}).json()["recentCustomers"]
    assert found[0]["email"] == f"{language}@b.c"
    vip = {"available_edges": ["plain", "vip"], "execution_context": {"vars": {"customer_tier": "VIP"}}}
    assert call.post(f"{base}/node", json=vip).json() == {"next_edge": "vip"}
    assert call.get(f"{base}/schedule").status_code == 404
    if language == "ts":
        # One is enough for the compiler, which takes a second: the types are the same.
        for template in TEMPLATES:
            write_files(folder, {f"all/{template}.ts": (folder / template / f"functions/{template}.ts").read_text()})
        write_files(folder, {"all/isolet.d.ts": (folder / "hello/isolet.d.ts").read_text()})
        write_files(folder, {"all/tsconfig.json": (folder / "hello/tsconfig.json").read_text()})
        assert checked(folder / "all") == ""


def test_what_is_there_stays(isolet: Isolet, folder: Path) -> None:
    write_files(folder, {"isolet.toml": "mine", ".gitignore": "mine"})
    refused = isolet.run("init")
    assert refused.code == 1
    assert "isolet.toml" in refused.err
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore", "isolet.toml"]
    assert isolet.run("init", "x", "--template", "other").code == 1
    for name in ("../x", "a/b", "..", "a\nb", "x" * 200, "--", ""):
        assert isolet.run("init", "--", name).code == 1, name
    (folder / "isolet.toml").unlink()
    isolet("init", "--language", "js")
    assert (folder / ".gitignore").read_text() == "mine"


def test_types_are_those_of_the_bindings(isolet: Isolet, own_project: Project, folder: Path) -> None:
    toml = """
[functions.one]
entry = "one.ts"
variables = { LEVEL = "info", SIZES = [1, "b"], FLAGS = { "a-b" = true, deep = {} } }
bindings = { CACHE = { type = "kv" }, ORDERS = { type = "d1", database = "orders" } }
[functions."two-2".build]
rules = [{ type = "Text", globs = ["**/*.md"] }]
[functions."two-2"]
entry = "one.ts"
"""
    code = """
        import notes from "./notes.md";
        import query from "./q.sql";
        import type {} from "node:fs";
        const worker: IsoletWorker = {
          async fetch(request, env) {
            const level: string = env.LEVEL ?? "";
            const flag: boolean | undefined = env.FLAGS?.["a-b"];
            const cached: { a: number } | null = (await env.CACHE?.get<{ a: number }>("k", "json")) ?? null;
            const row = await env.DB.prepare(query).first<{ n: number }>();
            const secret: string = env.TOKEN ?? env.FROM_ENV ?? "";
            await env.kv.incr("n");
            await env.invoke("two-2", { level, flag, secret, size: env.SIZES?.[0] });
            return Response.json({ cached, n: row?.n, notes, user: env.user?.id });
          },
          async scheduled(controller, env, ctx) {
            ctx.waitUntil(env.KV.put("last", String(controller.scheduledTime)));
          },
        };
        export default worker;
        export const own = (env: OneEnv): Promise<string | null> => env.CACHE.get(env.LEVEL);
    """.replace('        import type {} from "node:fs";\n', "")
    write_files(folder, {"isolet.toml": toml, "one.ts": code, ".dev.vars": "FROM_ENV=1", "notes.md": "", "q.sql": ""})
    isolet("init", "with", "--template", "hello")
    write_files(folder, {"tsconfig.json": (folder / "with/tsconfig.json").read_text().replace("**/*.ts", "*.ts")})
    base = f"/isolet/v1/projects/{own_project.slug}/functions"
    made = own_project.client.put(f"{base}/one?wait=60", json={"code": "export default { fetch() {} }"}).json()
    own_project.client.put(f"/isolet/v1/functions/{made['id']}/secrets/TOKEN", json={"value": "hidden"})
    assert isolet("types").text == "isolet.d.ts: written\n"
    assert checked(folder) == ""
    assert isolet("types").text == "isolet.d.ts: unchanged\n"
    # Without the server and the file of variables, as in CI, it is still the same.
    (folder / ".dev.vars").unlink()
    assert isolet("types", "--check", "--local").text == "isolet.d.ts: up to date\n"
    write_files(folder, {"isolet.toml": toml.replace("LEVEL", "LEVELS")})
    assert isolet.run("types", "--check", "--local").code == 1
    isolet("types", "--local")
    assert "LEVELS" in checked(folder) or "'LEVEL'" in checked(folder)
    assert "hidden" not in (folder / "isolet.d.ts").read_text()


def test_a_wrangler_project_gets_the_file_that_wrangler_writes(isolet: Isolet, folder: Path) -> None:
    config = {"name": "app", "main": "a.ts", "vars": {"A": 1}, "kv_namespaces": [{"binding": "C", "id": "x"}]}
    write_files(folder, {"wrangler.json": json.dumps(config)})
    isolet("types", "--local")
    text = (folder / "worker-configuration.d.ts").read_text()
    assert "interface Env {\n  A: number;\n  C: KVNamespace;\n  DB: D1Database;\n  KV: KVNamespace;\n}" in text
    (folder / "node_modules/@cloudflare/workers-types").mkdir(parents=True)
    isolet("types", "--local")
    text = (folder / "worker-configuration.d.ts").read_text()
    assert '/// <reference types="@cloudflare/workers-types" />' in text
    assert "interface KVNamespace " not in text
