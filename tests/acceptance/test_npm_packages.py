"""Packages of npm, as published, at public addresses: routers, an image library; and the pages of a built site."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.isolet_command import Isolet
from tests.support.npm import packed
from tests.support.on_disk import link_packages, write_files
from tests.support.projects import Project, new_project
from tests.support.server import Server

HONO = """
import { Hono } from "hono";
import { basicAuth } from "hono/basic-auth";
import { getCookie, setCookie } from "hono/cookie";
import { cors } from "hono/cors";
import { etag } from "hono/etag";
import { HTTPException } from "hono/http-exception";
import { streamSSE, streamText } from "hono/streaming";
import { validator } from "hono/validator";

const app = new Hono<{ Bindings: { GREETING: string }; Variables: { began: number } }>();
app.use("*", async (c, next) => { c.set("began", 1); await next(); c.header("x-began", String(c.get("began"))); });
app.use("/api/*", cors({ origin: "https://app.example" }));
app.use("/etag", etag());
app.use("/private/*", basicAuth({ username: "ada", password: "lovelace" }));
app.get("/", (c) => c.text(c.env.GREETING));
app.get("/api/items/:id{[0-9]+}", (c) => c.json({ id: Number(c.req.param("id")), tags: c.req.queries("tag") ?? [] }));
app.post("/api/items", validator("json", (value, c) => value.name ? value : c.json({ error: "name" }, 422)),
  (c) => c.json({ made: c.req.valid("json").name }, 201));
app.post("/upload", async (c) => {
  const { file, note } = await c.req.parseBody();
  return c.json({ name: (file as File).name, size: (file as File).size, note });
});
app.get("/count", (c) => {
  const seen = Number(getCookie(c, "seen") ?? 0) + 1;
  setCookie(c, "seen", String(seen), { path: "/", httpOnly: true });
  return c.text(String(seen));
});
app.get("/etag", (c) => c.text("the same each time"));
app.get("/private/room", (c) => c.text("in"));
app.get("/lines", (c) => streamText(c, async (out) => { for (const line of ["a", "b"]) await out.writeln(line); }));
app.get("/events", (c) => streamSSE(c, async (out) => {
  for (let id = 0; id < 3; id++) await out.writeSSE({ id: String(id), event: "tick", data: `n=${id}` });
}));
app.get("/old/*", (c) => c.redirect(c.req.path.replace("/old", "/api"), 308));
app.get("/fail", () => { throw new HTTPException(418, { message: "teapot" }); });
app.notFound((c) => c.text(`nothing at ${c.req.path}`, 404));
export default app;
"""
ITTY = """
import { AutoRouter, cors, error, withParams, text } from "itty-router";

const { preflight, corsify } = cors({ origin: "https://app.example", allowMethods: ["GET", "DELETE"] });
const router = AutoRouter({ before: [preflight], finally: [corsify] });
const todos = new Map([["1", "read"]]);
router
  .get("/", () => text("itty"))
  .get("/todos", ({ query }) => [...todos].map(([id, title]) => ({ id, title, page: query.page })))
  .get("/todos/:id", ({ id }) => todos.has(id) ? { id, title: todos.get(id) } : error(404, "no such todo"))
  .post("/todos", async (request) => {
    const { id, title } = await request.json();
    todos.set(id, title);
    return { id };
  })
  .delete("/todos/:id", ({ id }) => ({ gone: todos.delete(id) }))
  .get("/files/:path+", ({ path }) => ({ path }))
  .get("/env", (request, env) => ({ greeting: env.GREETING }))
  .get("/fail", () => { throw new Error("broken"); });
export default router;
"""
PHOTON = """
import { PhotonImage, SamplingFilter, resize } from "@cf-wasm/photon";

export default {
  async fetch(request) {
    const { searchParams } = new URL(request.url);
    const image = PhotonImage.new_from_byteslice(await request.bytes());
    const smaller = resize(image, +searchParams.get("w"), +searchParams.get("h"), SamplingFilter.Nearest);
    try {
      return new Response(smaller.get_bytes(), { headers: { "content-type": "image/png",
        "x-was": `${image.get_width()}x${image.get_height()}` } });
    } finally {
      image.free();
      smaller.free();
    }
  },
};
"""
# What a site generator writes, and the few lines that serve it.
SITE = {
    "index.ts": """
import home from "./dist/index.html";
import about from "./dist/about/index.html";
import missing from "./dist/404.html";
import css from "./dist/_astro/style.C0ffee.css" with { type: "text" };
import script from "./dist/_astro/hoisted.Bada55.js" with { type: "text" };
import icon from "./dist/favicon.svg" with { type: "text" };
import robots from "./dist/robots.txt";
import data from "./dist/data.json" with { type: "text" };
import image from "./dist/pixel.png" with { type: "bytes" };

const FOREVER = "public, max-age=31536000, immutable";
const files: Record<string, [type: string, body: BodyInit, cache?: string]> = {
  "/": ["text/html", home],
  "/about/": ["text/html", about],
  "/_astro/style.C0ffee.css": ["text/css", css, FOREVER],
  "/_astro/hoisted.Bada55.js": ["text/javascript", script, FOREVER],
  "/favicon.svg": ["image/svg+xml", icon],
  "/robots.txt": ["text/plain", robots],
  "/data.json": ["application/json", data],
  "/pixel.png": ["image/png", image],
};

export default {
  fetch(request: Request): Response {
    const { pathname, search } = new URL(request.url);
    const found = files[pathname];
    if (found) return new Response(found[1], { headers: { "content-type": `${found[0]}; charset=utf-8`,
      "cache-control": found[2] ?? "no-cache" } });
    if (`${pathname}/` in files) {
      return new Response(null, { status: 308, headers: { location: `${pathname}/${search}` } });
    }
    return new Response(missing, { status: 404, headers: { "content-type": "text/html; charset=utf-8" } });
  },
};
""",
    "dist/index.html": '<!doctype html><link rel="stylesheet" href="/_astro/style.C0ffee.css"><h1>Snow ☃</h1>',
    "dist/about/index.html": "<!doctype html><h1>About</h1>",
    "dist/404.html": "<!doctype html><h1>Nothing here</h1>",
    "dist/_astro/style.C0ffee.css": '@import "https://fonts.example/x.css";\nh1{background:url(./none.png)}',
    "dist/_astro/hoisted.Bada55.js": 'import "./not-there.js";\nexport default `</script>${1}\\n`;',
    "dist/favicon.svg": '<svg xmlns="http://www.w3.org/2000/svg"/>',
    "dist/robots.txt": "User-agent: *\nAllow: /\n",
    "dist/data.json": '{ "kept" :  "as it is" }\n',
}


@pytest.fixture(scope="module")
def home(server: Server, root: httpx.Client) -> Iterator[Project]:
    with new_project(server, root) as project:
        yield project


def _deploy(home: Project, name: str, files: dict[str, Any]) -> httpx.Client:
    """The function on a host of its own, and a client of it that has no key."""
    made = home.client.put(
        f"/isolet/v1/projects/{home.slug}/functions/{name}",
        json={"files": files, "access": "public", "cors": "function", "variables": {"GREETING": "hello"}},
        params={"wait": 120},
    )
    assert made.status_code == 201, made.text
    client = home.server.client("")
    client.headers["Host"] = f"{name}--{home.slug}.localhost"
    return client


def _png(width: int, height: int) -> bytes:
    """Red on the left half, blue on the right."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + b"\xff\0\0" * (width // 2) + b"\0\0\xff" * (width - width // 2)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * height)) + chunk(b"IEND", b"")
    )


def test_a_hono_app_of_ten_routes(home: Project) -> None:
    with _deploy(home, "hono", {"index.ts": HONO, **packed("hono")}) as app:
        first = app.get("/")
        assert (first.text, first.headers["x-began"]) == ("hello", "1")
        item = app.get("/api/items/7?tag=a&tag=%C3%BC", headers={"Origin": "https://app.example"})
        assert item.json() == {"id": 7, "tags": ["a", "ü"]}
        assert item.headers["access-control-allow-origin"] == "https://app.example"
        made = app.post("/api/items", json={"name": "lamp"})
        assert (made.status_code, made.json()) == (201, {"made": "lamp"})
        assert app.post("/api/items", json={}).status_code == 422
        sent = app.post("/upload", files={"file": ("a.bin", b"\0\xff" * 50_000)}, data={"note": "☃"})
        assert sent.json() == {"name": "a.bin", "size": 100_000, "note": "☃"}
        tagged = app.get("/etag")
        assert app.get("/etag", headers={"If-None-Match": tagged.headers["etag"]}).status_code == 304
        assert app.get("/private/room").status_code == 401
        assert app.get("/private/room", auth=("ada", "lovelace")).text == "in"
        assert app.get("/lines").text == "a\nb\n"
        events = app.get("/events")
        assert events.headers["content-type"].startswith("text/event-stream")
        assert [line for line in events.text.splitlines() if line.startswith("data")] == [
            f"data: n={n}" for n in range(3)
        ]
        moved = app.get("/old/items/1")
        assert (moved.status_code, moved.headers["location"]) == (308, "/api/items/1")
        assert (app.get("/fail").status_code, app.get("/fail").text) == (418, "teapot")
        assert (app.get("/none/x").status_code, app.get("/none/x").text) == (404, "nothing at /none/x")
        assert [app.get("/count").text for _ in range(2)] == ["1", "2"]


def test_an_app_of_itty_router(home: Project) -> None:
    with _deploy(home, "itty", {"index.js": ITTY, **packed("itty-router")}) as app:
        assert app.get("/").text == "itty"
        assert app.get("/todos?page=2").json() == [{"id": "1", "title": "read", "page": "2"}]
        assert app.get("/todos/9").json() == {"status": 404, "error": "no such todo"}
        assert app.post("/todos", json={"id": "2", "title": "write"}).json() == {"id": "2"}
        assert app.delete("/todos/1").json() == {"gone": True}
        assert app.get("/files/a/b/c.txt").json() == {"path": "a/b/c.txt"}
        assert app.get("/env").json() == {"greeting": "hello"}
        assert (app.get("/fail").status_code, app.get("/nowhere").status_code) == (500, 404)
        asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "DELETE"}
        assert app.options("/todos/1", headers=asked).headers["access-control-allow-methods"] == "GET,DELETE"


def test_an_image_library_of_webassembly(home: Project) -> None:
    files = {"index.js": PHOTON, **packed("@cf-wasm/photon", "@cf-wasm/internals")}
    with _deploy(home, "photon", files) as app:
        reply = app.post("/?w=40&h=10", content=_png(400, 100))
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png")
    assert reply.headers["x-was"] == "400x100"
    assert reply.content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", reply.content[16:24]) == (40, 10)


def test_a_package_that_imports_its_webassembly_as_other_bundlers_do(home: Project) -> None:
    """By `./photon_rs_bg.wasm?module`."""
    code = PHOTON.replace("@cf-wasm/photon", "@cf-wasm/photon/edge-light")
    with _deploy(home, "edge", {"index.js": code, **packed("@cf-wasm/photon", "@cf-wasm/internals")}) as app:
        reply = app.post("/?w=5&h=6", content=_png(10, 12))
    assert struct.unpack(">II", reply.content[16:24]) == (5, 6)


def test_what_the_command_bundles_runs_as_well(home: Project, tmp_path: Path) -> None:
    """The same packages where a package manager put them."""
    write_files(
        tmp_path,
        {"isolet.toml": '[functions.photon-here]\nentry = "worker.js"\naccess = "public"\n', "worker.js": PHOTON},
    )
    link_packages(tmp_path, "@cf-wasm/photon", "@cf-wasm/internals")
    isolet = Isolet(tmp_path, ISOLET_URL=home.server.url, ISOLET_API_KEY=home.key(), ISOLET_PROJECT=home.slug)
    isolet("deploy", "--config", str(tmp_path / "isolet.toml"))
    with home.server.client("") as anonymous:
        reply = anonymous.post(f"/f/{home.slug}/photon-here/?w=3&h=4", content=_png(30, 40))
    assert struct.unpack(">II", reply.content[16:24]) == (3, 4)


def test_a_built_site_is_served_from_its_modules(home: Project) -> None:
    pixel = _png(1, 1)
    sent = {**SITE, "dist/pixel.png": {"base64": base64.b64encode(pixel).decode()}}
    with _deploy(home, "site", sent) as site:
        for path, file in {"/": "index.html", "/about/": "about/index.html", "/nowhere": "404.html"}.items():
            page = site.get(path)
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert page.text == SITE[f"dist/{file}"]
            assert "content-security-policy" not in page.headers
        for path in ("_astro/style.C0ffee.css", "_astro/hoisted.Bada55.js", "favicon.svg", "robots.txt", "data.json"):
            assert site.get(f"/{path}").text == SITE[f"dist/{path}"]
        assert site.get("/pixel.png").content == pixel
        assert "immutable" in site.get("/_astro/style.C0ffee.css").headers["cache-control"]
        moved = site.get("/about?x=1")
        assert (moved.status_code, moved.headers["location"]) == (308, "/about/?x=1")
