"""Projects of Workers are deployed from their wrangler files, and answer."""

import hashlib
import json
from pathlib import Path

import httpx

from tests.support.isolet_command import Isolet
from tests.support.on_disk import link_packages, write_files
from tests.support.projects import Project

# A module of WebAssembly that exports `add`.
ADD = bytes.fromhex("0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b")


def call(project: Project, name: str, path: str = "", method: str = "GET", body: str | None = None) -> httpx.Response:
    return project.client.request(method, f"/f/{project.slug}/{name}{path}", content=body)


def test_a_router_of_npm(isolet: Isolet, own_project: Project, folder: Path) -> None:
    write_files(
        folder,
        {
            "wrangler.toml": 'name = "router"\nmain = "src/index.ts"\ncompatibility_date = "2026-01-01"\n'
            'compatibility_flags = ["nodejs_compat"]\n[vars]\nLEVELS = { low = 1 }\n',
            "src/index.ts": """
                import { Hono } from "hono";
                import { createHash } from "crypto";
                import { title } from "./lib/title.js";
                import about from "./about.html";
                const app = new Hono<{ Bindings: { LEVELS: { low: number } } }>();
                app.get("/", (c) => c.html(about));
                app.get("/users/:id", (c) => c.json({ id: c.req.param("id"), title: title(), low: c.env.LEVELS.low }));
                app.get("/hash/:text", (c) => c.text(createHash("sha256").update(c.req.param("text")).digest("hex")));
                export default app;
            """,
            "src/lib/title.ts": "export const title = (): string => 'Users';",
            "src/about.html": "<p>About</p>",
            "src/data.csv": "a,b",
            "src/index.test.ts": "throw 1",
            "README.md": "Notes",
        },
    )
    link_packages(folder, "hono")
    done = isolet("deploy")
    assert done.text == "router: made, version 1; version 1 answered 200\n"
    assert done.err == "Not sent, as no function imports them: src/data.csv\n"
    assert call(own_project, "router", "/users/7").json() == {"id": "7", "title": "Users", "low": 1}
    assert call(own_project, "router", "/").text == "<p>About</p>"
    assert call(own_project, "router", "/hash/a").text == hashlib.sha256(b"a").hexdigest()
    # What is unchanged is not deployed again, and a change of an import is one.
    assert isolet("deploy").text == "router: unchanged, version 1; version 1 answered 200\n"
    (folder / "src/lib/title.ts").write_text("export const title = (): string => 'People';")
    shown = isolet("deploy", "--dry-run").text
    assert shown.startswith("router: changed\n--- a/src/lib/title.ts\n+++ b/src/lib/title.ts\n")
    assert call(own_project, "router", "/users/7").json()["title"] == "Users"
    assert isolet("deploy").text == "router: changed, version 2; version 2 answered 200\n"
    assert call(own_project, "router", "/users/7").json()["title"] == "People"


def test_rows_with_drizzle_and_migrations(isolet: Isolet, own_project: Project, folder: Path) -> None:
    write_files(
        folder,
        {
            "wrangler.jsonc": """{
                // of a shop
                "name": "shop", "main": "src/index.ts", "compatibility_date": "2026-01-01",
                "d1_databases": [{ "binding": "ORDERS", "database_name": "orders", "migrations_dir": "drizzle" }],
            }""",
            "drizzle/0000_init.sql": "CREATE TABLE `orders` (`id` integer PRIMARY KEY, `item` text NOT NULL);\n"
            "--> statement-breakpoint\nINSERT INTO orders (item) VALUES ('a;b');",
            "src/schema.ts": """
                import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
                const columns = { id: integer("id").primaryKey(), item: text("item").notNull() };
                export const orders = sqliteTable("orders", columns);
            """,
            "src/index.ts": """
                import { drizzle } from "drizzle-orm/d1";
                import { eq } from "drizzle-orm";
                import { orders } from "./schema";
                export default {
                  async fetch(request: Request, env: { ORDERS: any }): Promise<Response> {
                    const db = drizzle(env.ORDERS);
                    const id = Number(new URL(request.url).pathname.slice(1));
                    if (request.method === "POST") {
                      await db.insert(orders).values({ item: await request.text() });
                    } else if (request.method === "PUT") {
                      await db.update(orders).set({ item: await request.text() }).where(eq(orders.id, id));
                    } else if (request.method === "DELETE") {
                      await db.delete(orders).where(eq(orders.id, id));
                    }
                    return Response.json(await db.select().from(orders).all());
                  },
                };
            """,
        },
    )
    link_packages(folder, "drizzle-orm")
    assert "orders: 0000_init.sql is not applied" in isolet("deploy", "--dry-run").text
    first = isolet("deploy")
    assert first.err == "orders: applied 0000_init.sql\n"
    assert first.text == "shop: made, version 1; version 1 answered 200\n"
    call(own_project, "shop", method="POST", body="pears")
    call(own_project, "shop", "/1", method="PUT", body="plums")
    assert call(own_project, "shop").json() == [{"id": 1, "item": "plums"}, {"id": 2, "item": "pears"}]
    assert call(own_project, "shop", "/2", method="DELETE").json() == [{"id": 1, "item": "plums"}]
    # Each is applied once; one that fails changes nothing, and stops the deploy.
    write_files(folder, {"drizzle/0001_more.sql": "ALTER TABLE orders ADD COLUMN size text;\nSELECT * FROM nowhere;"})
    failed = isolet.run("deploy")
    assert failed.code == 1
    assert "drizzle/0001_more.sql on orders: no such table: nowhere" in failed.err
    write_files(folder, {"drizzle/0001_more.sql": "ALTER TABLE orders ADD COLUMN size text; -- the last"})
    assert isolet("deploy").err == "orders: applied 0001_more.sql\n"
    assert isolet("deploy").err == ""
    query = {"sql": "SELECT name FROM d1_migrations ORDER BY id"}
    path = f"/isolet/v1/projects/{own_project.slug}/database/query?database=orders"
    rows = own_project.client.post(path, json=query).json()["rows"]
    assert rows == [{"name": "0000_init.sql"}, {"name": "0001_more.sql"}]


def test_a_job_by_the_clock_with_kv(isolet: Isolet, own_project: Project, folder: Path) -> None:
    config = {
        "name": "ticker",
        "main": "worker.js",
        "triggers": {"crons": ["*/5 * * * *", "0 0 L * *"]},
        "kv_namespaces": [{"binding": "TICKS", "id": "5f2ac74b498b48028cb68387c421e279"}],
        "env": {"staging": {"kv_namespaces": [], "triggers": {"crons": []}}},
    }
    write_files(
        folder,
        {
            "wrangler.json": json.dumps(config),
            "worker.js": """
                export default {
                  async fetch(request, env) { return new Response(await env.TICKS.get("last")); },
                  async scheduled(controller, env) { await env.TICKS.put("last", controller.cron); },
                };
            """,
        },
    )
    isolet("deploy")
    function = own_project.client.get(f"/isolet/v1/projects/{own_project.slug}/functions/ticker").json()
    schedules = f"/isolet/v1/functions/{function['id']}/schedules"
    found = own_project.client.get(schedules).json()["data"]
    assert sorted((one["cron"], one["dialect"]) for one in found) == [
        ("*/5 * * * *", "cloudflare"),
        ("0 0 L * *", "cloudflare"),
    ]
    path = f"/isolet/v1/projects/{own_project.slug}/kv/last?namespace=5f2ac74b498b48028cb68387c421e279"
    assert own_project.client.put(path, content=b"by hand").status_code == 204
    assert call(own_project, "ticker").text == "by hand"
    # An environment is a function of its own.
    assert isolet("deploy", "--env", "staging", "--no-probe").text == "ticker-staging: made, version 1\n"
    # What the file does not name any more goes.
    write_files(folder, {"wrangler.json": json.dumps({**config, "triggers": {"crons": ["0 0 L * *"]}})})
    assert "schedule */5 * * * *: removed" in isolet("deploy", "--dry-run").text
    assert isolet("deploy", "--no-probe").text == "ticker: changed, version 1\n"
    assert [one["cron"] for one in own_project.client.get(schedules).json()["data"]] == ["0 0 L * *"]


def test_webassembly_aliases_definitions_and_rules(isolet: Isolet, own_project: Project, folder: Path) -> None:
    write_files(
        folder,
        {
            "wrangler.toml": 'name = "built"\nmain = "src/index.js"\n'
            'alias = { "calc" = "./src/calc.js" }\ndefine = { VERSION = "\\"1.2\\"" }\n'
            '[[rules]]\ntype = "Text"\nglobs = ["**/*.md"]\n[[rules]]\ntype = "Data"\nglobs = ["**/*.dat"]\n',
            "src/index.js": """
                import { add } from "calc";
                import notes from "./notes.md";
                import bytes from "./bytes.dat";
                export default {
                  async fetch(request) {
                    if (request.url.endsWith("/throw")) {
                      throw new Error("broken");
                    }
                    const size = new Uint8Array(bytes).length;
                    return Response.json({ sum: await add(2, 3), notes, version: VERSION, size });
                  },
                };
            """,
            "src/calc.js": """
                import module from "./add.wasm";
                export const add = async (a, b) => (await WebAssembly.instantiate(module)).exports.add(a, b);
            """,
            "src/add.wasm": ADD,
            "src/notes.md": "# Notes",
            "src/bytes.dat": b"\x00\xff\x01",
        },
    )
    first = isolet("deploy")
    assert first.text == "built: made, version 1, bundled here because of build settings; version 1 answered 200\n"
    assert call(own_project, "built").json() == {"sum": 5, "notes": "# Notes", "version": "1.2", "size": 3}
    # The server has the sources beside the bundle, and traces name them.
    failed = call(own_project, "built", "/throw")
    record = own_project.client.get(f"/isolet/v1/invocations/{failed.headers['x-invocation-id']}").json()
    assert "src/index.js:8" in json.dumps(record)
    assert isolet("deploy").text.startswith("built: unchanged")


def test_what_is_not_there_stops_the_deploy_by_its_name(isolet: Isolet, own_project: Project, folder: Path) -> None:
    config = 'name = "room"\nmain = "room.js"\n[[durable_objects.bindings]]\nname = "ROOM"\nclass_name = "Room"\n'
    code = "export class Room {}\nexport default { fetch: () => new Response('lobby') };"
    write_files(folder, {"wrangler.toml": config, "room.js": code})
    refused = isolet.run("deploy")
    assert refused.code == 3
    assert "durable_objects: ROOM (class Room)" in refused.err
    assert call(own_project, "room").status_code == 404
    assert "left out: durable_objects: ROOM (class Room)" in isolet("deploy", "--allow-unmapped").err
    assert call(own_project, "room").text == "lobby"


def test_packages_that_require_modules_of_node(isolet: Isolet, own_project: Project, folder: Path) -> None:
    config = {
        "name": "old",
        "main": "w.js",
        "compatibility_date": "2025-01-01",
        "compatibility_flags": ["nodejs_compat"],
    }
    package = """
        var Stream = require("stream"), util = require("util");
        function Data() { Stream.call(this); }
        util.inherits(Data, Stream);
        exports.kinds = [typeof new Data().pipe, require("node:crypto").createHash("md5").update("a").digest("hex")];
    """
    code = "import { kinds } from 'old';\nexport default { fetch: () => Response.json(kinds) };"
    write_files(
        folder,
        {
            "wrangler.json": json.dumps(config),
            "w.js": code,
            "node_modules/old/package.json": '{"main": "lib.js"}',
            "node_modules/old/lib.js": package,
        },
    )
    kinds = ["function", hashlib.md5(b"a", usedforsecurity=False).hexdigest()]
    isolet("deploy")
    assert call(own_project, "old").json() == kinds
    write_files(folder, {"wrangler.json": json.dumps({**config, "define": {"X": "1"}})})
    assert "bundled here" in isolet("deploy").text
    assert call(own_project, "old").json() == kinds
    # What is missing is named, with what to do.
    missing = "import 'fs';\nimport 'no';\nimport x from './x.csv';\nexport default { fetch: () => new Response(x) };"
    write_files(folder, {"wrangler.json": json.dumps({"name": "old", "main": "w.js"}), "w.js": missing})
    write_files(folder, {"x.csv": "a,b"})
    failed = isolet.run("deploy")
    assert 'w.js:3:15: No loader is configured for ".csv" files: x.csv; a rule of the type Text' in failed.err
    assert 'w.js:1:8: Could not resolve "fs": write node:fs, or set the compatibility flag nodejs_compat' in failed.err
    assert 'w.js:2:8: Could not resolve "no": install the package here; the server installs none' in failed.err
