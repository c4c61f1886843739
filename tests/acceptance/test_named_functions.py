"""The native API of functions by name: sources of several files, deploys that are waited for, secrets and variables."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.projects import Project, new_project
from tests.support.server import Server
from tests.support.waiting import wait_until

HELLO = "export default (req, env) => Response.json({ greeting: env.GREETING ?? null, limits: env.LIMITS ?? null, key: env.API_KEY ?? null, env: process.env.LIMITS ?? null });"  # noqa: E501
ADD_WASM = bytes.fromhex("0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b")
MODULES = {
    "src/index.ts": """
import { Hono } from "hono";
import add from "./add.wasm";
import data from "./data.bin";
import page from "./page.html";
import { createHash } from "node:crypto";
import words from "../words.json";
enum Kind { First = "first" }
const app = new Hono();
app.get("/add/:a/:b", (c) => c.text(String(new WebAssembly.Instance(add).exports.add(+c.param("a"), +c.param("b")))));
app.get("/page", (c) => c.html(page));
app.get("/bytes", (c) => c.text(String(data.byteLength)));
app.get("/hash", (c) => c.text(createHash("sha256").update(words.hello).digest("hex").slice(0, 8)));
app.get("/throw", () => { return fail(); });
function fail(): never { throw new Error(Kind.First satisfies string); }
export default app;
""",
    "src/page.html": "<h1>page</h1>",
    "words.json": json.dumps({"hello": "hi"}),
    "node_modules/hono/package.json": json.dumps({"name": "hono", "type": "module", "exports": "./index.js"}),
    # A router of the same shape, since nothing is fetched for a test.
    "node_modules/hono/index.js": """
export class Hono {
  routes = [];
  get(path, handler) { this.routes.push([path.split("/"), handler]); }
  fetch = (request) => {
    const parts = new URL(request.url).pathname.split("/");
    for (const [wanted, handler] of this.routes) {
      if (wanted.length === parts.length && wanted.every((part, at) => part.startsWith(":") || part === parts[at])) {
        const params = Object.fromEntries(wanted.map((part, at) => [part.slice(1), parts[at]]));
        return handler({ param: (name) => params[name], text: (text) => new Response(text),
          html: (text) => new Response(text, { headers: { "content-type": "text/html" } }) });
      }
    }
    return new Response("no route", { status: 404 });
  };
}
""",
}


@pytest.fixture(scope="module")
def home(server: Server, root: httpx.Client) -> Iterator[Project]:
    with new_project(server, root) as project:
        yield project


def _put(home: Project, name: str, body: Any, **query: Any) -> httpx.Response:
    return home.client.put(f"/isolet/v1/projects/{home.slug}/functions/{name}", json=body, params=query)


def _call(home: Project, name: str, path: str = "/") -> httpx.Response:
    return home.client.get(f"/f/{home.slug}/{name}{path}")


def _error(reply: httpx.Response) -> str:
    return str(reply.json()["error"]["message"])


def test_a_function_is_made_and_changed_by_name(home: Project) -> None:
    made = _put(home, "hello", {"code": HELLO, "variables": {"GREETING": "hi", "LIMITS": {"a": [1]}}}, wait=120)
    assert made.status_code == 201, made.text
    assert (made.json()["status"], made.json()["slug"], made.json()["version"]) == ("deployed", "hello", 1)
    assert _call(home, "hello").json() == {"greeting": "hi", "limits": {"a": [1]}, "key": None, "env": '{"a":[1]}'}

    changed = _put(home, "hello", {"variables": {"GREETING": None}, "limits": {"timeout_ms": 5000}}, wait=120)
    assert (changed.status_code, changed.json()["timeout_ms"], changed.json()["version"]) == (200, 5000, 2)
    assert _call(home, "hello").json()["greeting"] is None
    assert home.client.get(f"/isolet/v1/projects/{home.slug}/functions/hello").json()["id"] == made.json()["id"]


def test_without_waiting_it_is_accepted(home: Project) -> None:
    accepted = _put(home, "later", {"files": {"worker.js": HELLO}})
    assert (accepted.status_code, accepted.json()["status"]) == (202, "draft")
    url = f"/isolet/v1/projects/{home.slug}/functions/later"
    wait_until(lambda: home.client.get(url).json()["status"] == "deployed", timeout_s=120, what="the deploy")
    function_id = accepted.json()["id"]
    assert home.client.get(f"/isolet/v1/functions/{function_id}/files").json() == {
        "entry": "worker.js",
        "files": {"worker.js": HELLO},
    }
    again = home.client.post(f"/isolet/v1/functions/{function_id}/deploy", params={"wait": 120})
    assert (again.status_code, again.json()["version"]) == (200, 2)


def test_create_only_creates(home: Project) -> None:
    body = {"name": "Only Once", "code": HELLO}
    url = f"/isolet/v1/projects/{home.slug}/functions"
    made = home.client.post(url, json=body, params={"wait": 120})
    assert (made.status_code, made.json()["slug"]) == (201, "only-once")
    taken = home.client.post(url, json=body)
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "conflict")
    assert home.client.delete(f"{url}/Only%20Once").status_code == 204
    assert home.client.get(f"{url}/Only%20Once").status_code == 404
    assert home.client.delete(f"{url}/only-once").status_code == 404


def test_several_files_run(home: Project) -> None:
    files = {
        **MODULES,
        "src/add.wasm": {"base64": base64.b64encode(ADD_WASM).decode()},
        "src/data.bin": {"base64": "AAEC"},
    }
    body = {"files": files, "access": "public", "compatibility_flags": ["nodejs_compat"]}
    made = _put(home, "app", body, wait=120)
    assert made.status_code == 201, made.text
    assert _call(home, "app", "/add/40/2").text == "42"
    assert _call(home, "app", "/page").text == "<h1>page</h1>"
    assert _call(home, "app", "/bytes").text == "3"
    assert _call(home, "app", "/hash").text == "8f434346"
    assert _call(home, "app", "/gone").status_code == 404
    function_id = made.json()["id"]
    assert home.client.get(f"/isolet/v1/functions/{function_id}/files", params={"version": 1}).json() == {
        "entry": "src/index.ts",
        "files": files,
    }
    failed = _call(home, "app", "/throw").headers["x-invocation-id"]

    def record() -> dict | None:
        reply = home.client.get(f"/isolet/v1/invocations/{failed}")
        return reply.json() if reply.status_code == 200 else None

    shown = wait_until(record, timeout_s=60, what="the record")
    assert "src/index.ts:15:" in json.dumps(shown)


@pytest.mark.parametrize("date", [None, "2026-11-01", "2025-06-01", "2024-09-23", "2022-01-01"])
def test_a_function_runs_as_of_its_date(home: Project, date: str | None) -> None:
    for flags in ([], ["nodejs_compat"] if date else ["nodejs_als", "nodejs_compat_v2"]):
        body = {"code": HELLO, "compatibility_date": date, "compatibility_flags": flags, "variables": {"LIMITS": 5}}
        made = _put(home, "dated", body, wait=120)
        assert made.status_code in (200, 201), made.text
        assert made.json()["compatibility_date"] == date
        assert _call(home, "dated").json()["limits"] == 5


def test_what_does_not_compile_leaves_what_is_live(home: Project) -> None:
    assert _put(home, "kept", {"files": {"index.ts": HELLO}}, wait=120).status_code == 201
    files = {
        "index.ts": "import './lib/a';\nexport default () => new Response('new');",
        "lib/a.ts": "let x = 1;\nlet y = = 2;",
    }
    failed = _put(home, "kept", {"files": files}, wait=120)
    assert (failed.status_code, failed.json()["error"]["code"]) == (422, "deploy_failed")
    details = failed.json()["error"]["details"]
    assert (details["file"], details["line"], details["text"]) == ("lib/a.ts", 2, "let y = = 2;")
    assert _call(home, "kept").status_code == 200
    shown = home.client.get(f"/isolet/v1/projects/{home.slug}/functions/kept").json()
    assert (shown["status"], shown["version"], shown["deploy_error"]["file"]) == ("error", 1, "lib/a.ts")
    diff = home.client.get(f"/isolet/v1/functions/{shown['id']}/diff")
    assert diff.headers["content-type"].startswith("text/plain")
    assert "+++ b/lib/a.ts\n@@ -0,0 +1,2 @@\n+let x = 1;\n" in diff.text


def test_a_module_that_throws_while_it_loads_is_named(home: Project) -> None:
    files = {
        "index.ts": "import './lib/a';\nexport default () => new Response('new');",
        "lib/a.ts": "type A = 1;\nthrow new Error('no');",
    }
    failed = _put(home, "throwing", {"files": files}, wait=120)
    assert failed.status_code == 422
    assert (failed.json()["error"]["details"]["file"], failed.json()["error"]["details"]["line"]) == ("lib/a.ts", 2)


def test_versions_differ_and_roll_back(home: Project) -> None:
    for text in ("one", "two"):
        assert (
            _put(home, "turns", {"code": f"export default () => new Response('{text}');"}, wait=120).status_code < 300
        )
    function_id = home.client.get(f"/isolet/v1/projects/{home.slug}/functions/turns").json()["id"]
    text = home.client.get(f"/isolet/v1/functions/{function_id}/diff", params={"from": 1, "to": 2}).text
    assert "-export default () => new Response('one');" in text
    assert home.client.get(f"/isolet/v1/functions/{function_id}/diff").text == ""
    rolled = home.client.post(f"/isolet/v1/functions/{function_id}/rollback", json={"version": 1})
    assert (rolled.status_code, _call(home, "turns").text) == (200, "one")


def test_secrets_are_set_in_place(home: Project) -> None:
    function_id = _put(home, "secretive", {"code": HELLO}, wait=120).json()["id"]
    url = f"/isolet/v1/functions/{function_id}/secrets"
    for value in ("first", "second"):
        put = home.client.put(f"{url}/API_KEY", json={"value": value})
        assert (put.status_code, put.json()["type"]) == (200, "text")
        assert _call(home, "secretive").json()["key"] == value
    assert home.client.put(f"{url}/API_KEY", json={"value": {"a": 1}}).json()["type"] == "json"
    shown = home.client.get(url)
    assert [one["name"] for one in shown.json()["data"]] == ["API_KEY"]
    assert "second" not in shown.text
    assert home.client.put(f"{url}/bad-name", json={"value": "x"}).status_code == 422
    assert home.client.delete(f"{url}/API_KEY").status_code == 204
    assert home.client.delete(f"{url}/API_KEY").status_code == 404
    assert _call(home, "secretive").json()["key"] is None


def test_variables_are_merged(home: Project) -> None:
    function_id = _put(home, "variable", {"code": HELLO}, wait=120).json()["id"]
    url = f"/isolet/v1/functions/{function_id}/variables"
    assert home.client.patch(url, json={"GREETING": "a", "LIMITS": [1, None]}).json() == {
        "GREETING": "a",
        "LIMITS": [1, None],
    }
    assert home.client.patch(url, json={"GREETING": None}).json() == {"LIMITS": [1, None]}
    assert home.client.get(url).json() == {"LIMITS": [1, None]}
    assert _call(home, "variable").json()["limits"] == [1, None]
    odd = {"A": "\x00\n\u202e"}
    assert home.client.patch(url, json=odd).json()["A"] == odd["A"]
    assert home.client.patch(url, json={"A": None}).status_code == 200
    for bad in ({"1A": "x"}, {"KV": "x"}, {"A": "x" * 300_000}, {"BUTTERBASE": "x", "a b": 1}):
        refused = home.client.patch(url, json=bad)
        assert refused.status_code == 422
        assert _error(refused).startswith("variables")
    assert home.client.get(url).json() == {"LIMITS": [1, None]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "files or code is required"),
        ({"code": HELLO, "files": {"index.js": HELLO}}, "not both"),
        ({"code": 5}, "code must be text"),
        ({"code": HELLO, "color": "red"}, "color is not known"),
        ({"files": {"../a.js": HELLO}}, "relative to the root"),
        ({"files": {"index.js": HELLO, "index.ts": HELLO}}, "entry is required"),
        ({"files": {f"f{n}.js": "" for n in range(2_001)}}, "2000 is the most"),
        ({"files": {"a.js": {"base64": "!"}}}, "is not base64"),
        ({"entry": "a.js"}, "entry needs files"),
        ({"code": HELLO, "entry": 5}, "entry must be text"),
        ({"code": HELLO, "entry": [[]]}, "entry must be text"),
        ({"code": HELLO, "access": "all"}, "access must be one of"),
        ({"code": HELLO, "limits": {"timeout_ms": -1}}, "timeout_ms must be"),
        ({"code": HELLO, "limits": {"colour": 1}}, "colour"),
        ({"code": HELLO, "limits": []}, "limits must be an object"),
        ({"code": HELLO, "variables": []}, "variables must be an object"),
        ({"code": HELLO, "compatibility_flags": ["unsafe_eval"]}, "compatibility_flags"),
        ({"code": HELLO, "compatibility_date": "soon"}, "compatibility_date"),
        ([], "the body must be an object"),
    ],
)  # fmt: skip
def test_bad_bodies_are_refused_and_make_nothing(home: Project, body: Any, words: str) -> None:
    refused = _put(home, "never", body, wait=10)
    assert refused.status_code == 422, refused.text
    assert words in _error(refused)
    assert home.client.get(f"/isolet/v1/projects/{home.slug}/functions/never").status_code == 404


@pytest.mark.parametrize("name", ["a%00b", "a%0Ab", "x" * 256])
def test_bad_names_are_refused(home: Project, name: str) -> None:
    assert _put(home, name, {"code": HELLO}).status_code in (404, 422)


def test_a_body_that_is_too_large_or_no_json_is_refused(home: Project) -> None:
    url = f"/isolet/v1/projects/{home.slug}/functions/never"
    assert home.client.put(url, content=b"{").status_code == 400
    assert home.client.put(url, json={"files": {"a.js": "x" * (11 * 1024 * 1024)}}).status_code == 422
    assert home.client.put(url, content=b'{"code": "' + b"x" * (21 * 1024 * 1024) + b'"}').status_code == 413


def test_other_dialects_see_and_change_it(home: Project) -> None:
    files = {
        "index.ts": "import { t } from './t';\nexport default () => new Response(t);",
        "t.ts": "export const t = 'files';",
    }
    function_id = _put(home, "shared", {"files": files}, wait=120).json()["id"]
    kapso = home.client.get(f"/platform/v1/functions/{function_id}").json()["data"]
    assert (kapso["status"], kapso["code"]) == ("deployed", files["index.ts"])
    code = {"function": {"code": "export default () => new Response('kapso');"}}
    assert home.client.patch(f"/platform/v1/functions/{function_id}", json=code).status_code == 200
    assert home.client.post(f"/isolet/v1/functions/{function_id}/deploy?wait=120").status_code == 200
    assert _call(home, "shared").text == "kapso"
    shown = home.client.get(f"/isolet/v1/functions/{function_id}/files").json()
    assert shown["files"] == {"index.js": code["function"]["code"]}
