"""What runs as a Kapso function. The numbers are the items of part 7 of the wire facts."""

from __future__ import annotations

import pytest

from tests.support.kapso import SharedKapso
from tests.support.waiting import wait_until

SHAPES = {
    # Items 82 and 90.
    "plain": "async function handler(r, env) { return Response.json((await r.json()).n + 1); }",
    "plain, not async": "function handler(r) { return r.json().then((body) => Response.json(body.n + 1)); }",
    "constant": "const handler = async (r) => Response.json((await r.json()).n + 1);",
    # Item 83, and the design's section 6.
    "default": "export default async function handler(r, env) { return Response.json((await r.json()).n + 1); }",
    "default without a name": "export default async function(r) { return Response.json((await r.json()).n + 1); }",
    "default arrow": "export default async (r) => Response.json((await r.json()).n + 1);",
    "named": "export async function handler(r, context) { return Response.json((await r.json()).n + 1); }",
    "named later": "async function other(r) { return Response.json((await r.json()).n + 1); }\n"
    "export { other as handler };",
    "worker": "export default { n: 1, async fetch(r, env, ctx) "
    "{ return Response.json((await r.json()).n + this.n); } };",
    "worker by name": "const worker = { async fetch(r) { return Response.json((await r.json()).n + 1); } };\n"
    "export default worker;",
}
TYPED = {
    "plain": "interface Body { n: number }\n"
    "async function handler(request: Request, env: Record<string, string>): Promise<Response> {\n"
    "  const body = (await request.json()) as Body;\n  return Response.json(body.n + 1);\n}",
    "default": "enum Step { One = 1 }\nexport default async function (request: Request): Promise<Response> {\n"
    "  return Response.json((await request.json() as { n: number }).n + Step.One);\n}",
    "named": "export async function handler(request: Request, context: any): Promise<Response> {\n"
    "  const { n }: { n: number } = await request.json();\n  return Response.json(n + 1);\n}",
    "decorated": "function once(method: any, context: any) { return function () { return method.call(this) + 1; }; }\n"
    "class Sum { constructor(readonly n: number) {} @once total(): number { return this.n; } }\n"
    "export default async (request: Request) => Response.json(new Sum((await request.json() as any).n).total());",
    "worker": "export default { async fetch(request: Request, env: unknown): Promise<Response> {\n"
    "  const body = await request.json() as any;\n  return Response.json(body!.n + 1);\n} } satisfies object;",
}


@pytest.mark.parametrize("code", SHAPES.values(), ids=SHAPES)
def test_every_shape_of_handler_runs(common_platform: SharedKapso, code: str) -> None:
    """Items 82, 83, 90."""
    reply = common_platform.invoke(common_platform.deployed(code), {"n": 41})

    assert (reply.status_code, reply.json()) == (200, 42)


@pytest.mark.parametrize("code", TYPED.values(), ids=TYPED)
def test_every_shape_of_handler_runs_in_typescript(common_platform: SharedKapso, code: str) -> None:
    """The design's section 6."""
    reply = common_platform.invoke(common_platform.deployed(code), {"n": 41})

    assert (reply.status_code, reply.json()) == (200, 42)


def test_helpers_and_constants_stand_at_top_level(common: SharedKapso) -> None:
    """Item 90."""
    code = """
    const RATES = new Map([["de", 0.19], ["fr", 0.2]]);
    let calls = 0;
    const round = (value) => Math.round(value * 100) / 100;
    function gross(net, country) { return round(net * (1 + RATES.get(country))); }
    class Receipt { constructor(total) { this.total = total; } }
    async function handler(request, env) {
      const { net, country } = await request.json();
      calls += 1;
      return Response.json({ ...new Receipt(gross(net, country)), calls });
    }
    """
    function_id = common.deployed(code, f"Counts on {common.base}")

    assert common.invoke(function_id, {"net": 100, "country": "de"}).json() == {"total": 119, "calls": 1}
    assert common.invoke(function_id, {"net": 100, "country": "fr"}).json() == {"total": 120, "calls": 2}


def test_the_promised_globals_are_there_and_work(common: SharedKapso) -> None:
    """Item 85."""
    code = """
    async function handler(request, env) {
      const url = new URL("https://example.com/a?b=1&b=2");
      const params = new URLSearchParams({ q: "ä b" });
      return Response.json({
        fetch: typeof fetch,
        request: new Request("https://example.com", { method: "POST", body: "x" }).method,
        response: await new Response("text").text(),
        url: url.searchParams.getAll("b"),
        params: params.toString(),
        uuid: crypto.randomUUID(),
        encoded: [...new TextEncoder().encode("ä")],
        decoded: new TextDecoder().decode(new Uint8Array([226, 130, 172])),
      });
    }
    """
    seen = common.invoke(common.deployed(code), {}).json()

    assert len(seen.pop("uuid")) == 36
    assert seen == {
        "fetch": "function",
        "request": "POST",
        "response": "text",
        "url": ["1", "2"],
        "params": "q=%C3%A4+b",
        "encoded": [195, 164],
        "decoded": "€",
    }


def test_the_third_argument_is_the_workers_context(common_platform: SharedKapso) -> None:
    """The design's section 6."""
    code = """export default { async fetch(request, env, ctx) {
      ctx.passThroughOnException();
      ctx.waitUntil(scheduler.wait(50).then(() => console.log("after the reply")));
      return Response.json(typeof ctx.waitUntil);
    } };"""
    function_id = common_platform.deployed(code)

    assert common_platform.invoke(function_id, {}).json() == "function"
    line = wait_until(lambda: common_platform.invocations(function_id)[0]["console_logs"], what="the line of waitUntil")
    assert [entry["message"] for entry in line] == ["after the reply"]


def test_a_class_of_the_runtime_serves(common_platform: SharedKapso) -> None:
    """As on Cloudflare: an object for each call, with `env` and `ctx`."""
    code = """
    import { WorkerEntrypoint } from "cloudflare:workers";
    export default class Main extends WorkerEntrypoint {
      calls = 0;
      async fetch(request) {
        this.ctx.waitUntil(scheduler.wait(20).then(() => console.log("after the reply")));
        this.calls += 1;
        return Response.json([this.calls, typeof this.env.KV.get, await request.json()]);
      }
    }
    """
    function_id = common_platform.deployed(code)

    assert [common_platform.invoke(function_id, {}).json() for _ in range(2)] == [[1, "function", {}]] * 2
    line = wait_until(lambda: common_platform.invocations(function_id)[0]["console_logs"], what="the line of waitUntil")
    assert [entry["message"] for entry in line] == ["after the reply"]


def test_what_nobody_catches_is_a_line_of_its_call(common_platform: SharedKapso) -> None:
    """Cloudflare logs it as well."""
    code = """
    import { waitUntil } from "cloudflare:workers";
    async function handler(request) {
      const { name } = await request.json();
      setImmediate(() => { throw new Error(`immediate of ${name}`); });
      waitUntil(Promise.reject(new Error(`left by ${name}`)));
      setTimeout((text) => { throw new Error(text); }, 5, `timer of ${name}`);
      const id = setInterval(() => { clearInterval(id); throw `interval of ${name}`; }, 10);
      queueMicrotask(() => { throw new Error(`microtask of ${name}`); });
      (async () => { await scheduler.wait(20); throw new TypeError(`promise of ${name}`); })();
      await scheduler.wait(60);
      return new Response(name);
    }
    """
    function_id = common_platform.deployed(code)
    for name in ("a", "b"):
        assert common_platform.invoke(function_id, {"name": name}).text == name

    def lines() -> list[list[str]] | None:
        found = [call["console_logs"] for call in common_platform.invocations(function_id)]
        return [[line["message"] for line in call] for call in found] if len(found) == 2 else None

    assert wait_until(lines, what="the records") == [
        [
            f"waitUntil: Error: left by {name}",
            f"Uncaught: Error: microtask of {name}",
            f"Uncaught: Error: immediate of {name}",
            f"Uncaught: Error: timer of {name}",
            f"Uncaught: interval of {name}",
            f"Unhandled rejection: TypeError: promise of {name}",
        ]
        for name in ("b", "a")
    ]


def test_an_error_printed_by_typescript_names_the_authors_line(common_platform: SharedKapso) -> None:
    code = "interface A {\n  a: number;\n}\n\nasync function handler(request: Request): Promise<Response> {\n"
    function_id = common_platform.deployed(code + "  console.error(new Error('told'));\n  return new Response();\n}")
    common_platform.invoke(function_id, {})

    call = wait_until(lambda: common_platform.invocations(function_id), what="the record")[0]
    assert call["console_logs"][0]["stack"] == "Error: told\n    at handler (function.js:6:17)"


def test_the_env_that_a_module_imports_has_the_bindings_and_nothing_of_the_wrappers(
    common_platform: SharedKapso,
) -> None:
    """As on Cloudflare."""
    code = """
    import { env } from "cloudflare:workers";
    const atLoad = Object.getOwnPropertyNames(env);
    export default { async fetch(request, own) {
      await env.KV.put("a", "1");
      return Response.json([atLoad, Object.getOwnPropertyNames(env), await own.KV.get("a")]);
    } };
    """
    assert common_platform.invoke(common_platform.deployed(code), {}).json() == [["KV", "DB"], ["KV", "DB"], "1"]


def test_the_module_of_workers_has_all_that_the_runtimes_own_has(common_platform: SharedKapso) -> None:
    code = """
    import process from "node:process";
    import * as ours from "cloudflare:workers";
    const theirs = process.getBuiltinModule("cloudflare:workers");
    export default { fetch: () => Response.json(Object.keys(theirs).filter((name) => ours[name] !== theirs[name])) };
    """
    assert common_platform.invoke(common_platform.deployed(code), {}).json() == ["waitUntil"]


def test_a_function_does_not_see_the_host(common_platform: SharedKapso) -> None:
    """The design's sections 2 and 7."""
    code = """
    import * as process from "node:process";
    import * as fs from "node:fs";
    async function handler() {
      let files;
      try { files = fs.readdirSync("/"); } catch (error) { files = String(error); }
      return Response.json({ variables: Object.keys(process.env), files });
    }
    """
    seen = common_platform.invoke(common_platform.deployed(code), {}).json()

    assert seen["variables"] == []
    assert not {"work", "home", "etc", "root"} & set(seen["files"] if isinstance(seen["files"], list) else [])
