"""Calls by name through the Butterbase API."""

import json
import threading
from typing import Any

import httpx
import pytest

from tests.support.butterbase import Butterbase, SharedButterbase
from tests.support.server import Server

ECHO = """
export default async function handler(req, ctx) {
  const body = await req.text();
  const { user, caller, request } = ctx;
  return Response.json({ method: req.method, url: req.url, headers: Object.fromEntries(req.headers), body, user, caller,
    request });
}
"""
OK = "export default (req) => new Response('ok')"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_165_166_every_method_reaches_the_function_with_its_public_url(shared: SharedButterbase, method: str) -> None:
    shared.deploy("echo", ECHO)

    seen = shared.call("echo?a=1&a=2", method, headers={"X-Mine": "yes"}).json()

    assert (seen["method"], seen["headers"]["x-mine"]) == (method, "yes")
    assert seen["url"] == str(shared.public.base_url.join(f"/v1/{shared.app}/fn/echo?a=1&a=2"))


def test_165_head_has_no_body(shared: SharedButterbase) -> None:
    shared.deploy("ok", OK)

    reply = shared.call("ok", "HEAD")

    assert (reply.status_code, reply.content) == (200, b"")


def test_extra_path_segments_are_not_the_function(shared: SharedButterbase) -> None:
    shared.deploy("ok", OK)

    assert shared.call("ok/more").status_code == 404
    assert shared.call("ok/").status_code == 404


def test_167_a_function_that_needs_a_user_does_not_run_without(shared: SharedButterbase) -> None:
    shared.deploy("closed", OK, auth="required")

    reply = shared.call("closed")

    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "AUTH_REQUIRED")
    assert shared.logs("closed") == []


@pytest.mark.parametrize("auth", ["none", "optional"])
def test_168_without_credentials_the_caller_is_anonymous(shared: SharedButterbase, auth: str) -> None:
    shared.deploy(f"echo-{auth}", ECHO, auth=auth)

    seen = shared.call(f"echo-{auth}").json()

    assert seen["user"] is None
    assert seen["caller"] == {"type": "anonymous", "keyId": None, "scope": None, "userId": None}
    assert (seen["headers"]["x-butterbase-caller-type"], seen["headers"]["x-user-id"]) == ("anonymous", "")
    assert seen["request"]["functionName"] == f"echo-{auth}"
    assert seen["request"]["ip"] == "127.0.0.1"


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
def test_172_a_key_calls_as_a_service_and_stays_unseen(shared: SharedButterbase, header: str) -> None:
    shared.deploy("echo-required", ECHO, auth="required")
    value = shared.key if header == "X-API-Key" else f"Bearer {shared.key}"

    reply = shared.call("echo-required", headers={header: value})

    seen = reply.json()
    assert (seen["user"], seen["caller"]["type"]) == (None, "service_key")
    assert seen["caller"]["scope"] == f"app:{shared.app}"
    assert len(seen["caller"]["keyId"]) == 36
    assert shared.key not in reply.text


def test_a_key_of_another_project_is_nobody(shared: SharedButterbase, root: httpx.Client) -> None:
    shared.deploy("echo-optional", ECHO, auth="optional")
    key = root.post("/isolet/v1/projects/default/keys", json={"name": "k", "role": "admin"}).json()

    reply = shared.call("echo-optional", headers={"Authorization": f"Bearer {key['key']}"})

    assert reply.json()["caller"]["type"] == "anonymous"
    assert key["key"] not in reply.text
    root.delete(f"/isolet/v1/projects/default/keys/{key['id']}")


def test_173_a_key_of_the_app_may_speak_for_a_user(shared: SharedButterbase) -> None:
    shared.deploy("echo-required", ECHO, auth="required")

    seen = shared.call("echo-required", headers={"X-API-Key": shared.key, "X-Butterbase-As-User": "u-1"}).json()

    assert (seen["user"], seen["caller"]["userId"], seen["headers"]["x-user-id"]) == ({"id": "u-1"}, "u-1", "u-1")
    assert "x-butterbase-as-user" not in seen["headers"]


def test_174_nobody_else_may(shared: SharedButterbase, server: Server) -> None:
    shared.deploy("echo", ECHO)

    for headers in ({}, {"X-API-Key": server.root_key}):
        reply = shared.call("echo", headers={**headers, "X-Butterbase-As-User": "u-1"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "AUTH_IMPERSONATION_FORBIDDEN")


def test_175_a_function_may_refuse_it(butterbase: Butterbase) -> None:
    butterbase.deploy("echo", ECHO)
    changed = butterbase.client.patch(
        f"{butterbase.base}/echo/settings", json={"allow_service_key_impersonation": False}
    )
    assert changed.json()["function"]["allow_service_key_impersonation"] is False

    reply = butterbase.call("echo", headers={"X-API-Key": butterbase.key, "X-Butterbase-As-User": "u-1"})

    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "AUTH_IMPERSONATION_DISABLED")


def test_176_platform_headers_cannot_be_forged(shared: SharedButterbase) -> None:
    shared.deploy("echo", ECHO)
    forged = {
        "X-User-Id": "admin",
        "X-App-Id": "other",
        "X-Butterbase-Caller-Type": "service_key",
        "X-Butterbase-Caller-Key-Id": "k",
        "X-Butterbase-Caller-Anything": "k",
        "X-Butterbase-Loop-Depth": "3",
        "X-Isolet-Call": '{"context":{"user":{"id":"admin"}}}',
    }

    seen = shared.call("echo", headers=forged).json()

    ours = {
        name: value for name, value in seen["headers"].items() if name.startswith(("x-butterbase", "x-app", "x-us"))
    }
    assert ours == {"x-app-id": shared.app, "x-user-id": "", "x-butterbase-caller-type": "anonymous"}
    assert seen["user"] is None
    assert "x-isolet-call" not in seen["headers"]


def test_177_bodies_and_headers_come_back_intact(shared: SharedButterbase) -> None:
    shared.deploy(
        "mirror",
        "export default async (req) => { const h = new Headers({ 'x-a': 'b', 'content-type': 'image/png' });"
        "h.append('set-cookie', 'a=1'); h.append('set-cookie', 'b=2');"
        "return new Response(await req.arrayBuffer(), { status: 201, headers: h }); }",
    )
    data = bytes(range(256))

    reply = shared.call("mirror", "POST", content=data)

    assert (reply.status_code, reply.content, reply.headers["x-a"]) == (201, data, "b")
    assert reply.headers.get_list("set-cookie") == ["a=1", "b=2"]


def test_a_body_is_streamed_to_the_function(shared: SharedButterbase) -> None:
    shared.deploy(
        "count",
        "export default async (req) => { let n = 0; for await (const part of req.body) n += part.length;"
        "return Response.json(n); }",
    )
    parts = (b"x" * 65_536 for _ in range(64))

    assert shared.call("count", "POST", content=parts).json() == 64 * 65_536


@pytest.mark.parametrize("status", [204, 304, 302])
def test_177_replies_without_a_body_and_redirects_pass(shared: SharedButterbase, status: int) -> None:
    code = "(req) => new Response(null, { status: +req.url.slice(-3), headers: { location: '/x' } })"
    shared.deploy("bare", f"export default {code}")

    reply = shared.call(f"bare?{status}")

    assert (reply.status_code, reply.content, reply.headers["location"]) == (status, b"", "/x")


def test_178_events_are_streamed_as_they_are_written(shared: SharedButterbase) -> None:
    shared.deploy(
        "events",
        "let release; export default (req) => { if (req.method === 'POST') { release(); return new Response(); }"
        "const { readable, writable } = new TransformStream(); const w = writable.getWriter();"
        "const e = new TextEncoder();"
        "const gate = new Promise((r) => { release = r; });"
        "(async () => { await w.write(e.encode('data: 1\\n\\n')); await gate; await w.write(e.encode('data: 2\\n\\n'));"
        "await w.close(); })();"
        "return new Response(readable, { headers: { 'content-type': 'text/event-stream' } }); }",
    )

    with shared.public.stream("GET", f"/v1/{shared.app}/fn/events") as reply:
        lines = reply.iter_lines()
        assert next(lines) == "data: 1"
        assert reply.headers["cache-control"] == "no-cache, no-transform"


def test_179_a_throw_is_500_and_the_stack_is_for_holders_of_keys(shared: SharedButterbase) -> None:
    shared.deploy("boom", "export default function handler() {\n  throw new Error('no luck');\n}")

    anonymous, keyed = shared.call("boom"), shared.call("boom", headers={"X-API-Key": shared.key})

    assert (anonymous.status_code, anonymous.json()) == (500, {"error": "no luck", "stack": None})
    assert keyed.json()["error"] == "no luck"
    assert "function.js:2" in keyed.json()["stack"]
    assert "isolet" not in keyed.text


def test_179_the_stack_of_typescript_names_the_authors_lines(shared: SharedButterbase) -> None:
    code = "interface A {\n  a: number;\n}\nexport default async (request: Request): Promise<Response> => {\n"
    shared.deploy("typed", code + "  throw new Error('no luck');\n};\n")
    keyed = shared.call("typed", headers={"X-API-Key": shared.key})
    assert "function.js:5:9" in keyed.json()["stack"]


def test_180_over_its_time_is_504(shared: SharedButterbase) -> None:
    shared.deploy("slow", "export default () => new Promise((r) => setTimeout(r, 20000))", timeoutMs=300)

    reply = shared.call("slow")

    assert reply.status_code == 504
    assert reply.json() == {
        "error": "function_timeout",
        "message": "Function execution timeout (300ms)",
        "duration_ms": 300,
    }


def test_182_an_unknown_name_is_404(shared: SharedButterbase) -> None:
    for path in (f"/v1/{shared.app}/fn/nobody", "/v1/no-such-app/fn/nobody"):
        reply = shared.public.get(path)
        assert (reply.status_code, reply.json()) == (404, {"error": "Function not found"})


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({}, "{}"),
        ({"json": {"a": 1}}, '{"a":1}'),
        ({"content": "hi", "headers": {"Content-Type": "text/plain"}}, '"hi"'),
    ],
)
def test_184_the_owners_test_call_posts_json_whatever_the_triggers_say(
    shared: SharedButterbase, options: dict[str, Any], body: str
) -> None:
    cron = {"type": "cron", "config": {"schedule": "0 0 * * *"}}
    shared.deploy("tick", ECHO, auth=None, triggers=[cron])

    reply = shared.client.post(f"{shared.base}/tick/invoke", **options)

    seen = reply.json()
    assert (seen["method"], seen["body"]) == ("POST", body)
    assert (seen["headers"]["content-type"], seen["user"]) == ("application/json", None)
    assert seen["caller"]["type"] == "service_key"
    assert reply.headers["x-invocation-id"] == shared.logs("tick")[0]["id"]


def test_184_the_test_call_needs_a_key_and_json(shared: SharedButterbase) -> None:
    shared.deploy("echo", ECHO)

    assert shared.public.post(f"{shared.base}/echo/invoke").status_code == 401
    assert shared.client.post(f"{shared.base}/echo/invoke", content="{").status_code == 400


def test_a_browser_may_ask_from_any_origin_by_default(shared: SharedButterbase) -> None:
    shared.deploy("echo-required", ECHO, auth="required")
    question = {
        "Origin": "https://page.example",
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization, x-own",
    }

    reply = shared.call("echo-required", "OPTIONS", headers=question)

    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (204, "*")
    assert "PUT" in reply.headers["access-control-allow-methods"]
    assert reply.headers["access-control-allow-headers"] == "authorization, x-own"
    assert (
        shared.call("echo-required", headers={"Origin": "https://page.example"}).headers["access-control-allow-origin"]
        == "*"
    )


def test_only_listed_origins_may_read_and_the_function_may_say_otherwise(
    butterbase: Butterbase, root: httpx.Client
) -> None:
    butterbase.deploy("plain", OK)
    butterbase.deploy(
        "own", "export default () => new Response('', { headers: { 'access-control-allow-origin': 'https://x.y' } })"
    )
    root.patch(f"/isolet/v1/projects/{butterbase.app}", json={"allowed_origins": ["https://good.example"]})

    good = butterbase.call("plain", headers={"Origin": "https://good.example"})
    bad = butterbase.call("plain", headers={"Origin": "https://bad.example"})
    own = butterbase.call("own", headers={"Origin": "https://good.example"})

    assert good.headers["access-control-allow-origin"] == "https://good.example"
    assert good.headers["vary"] == "Origin"
    assert (bad.status_code, "access-control-allow-origin" in bad.headers) == (200, False)
    assert own.headers.get_list("access-control-allow-origin") == ["https://x.y"]
    question = {"Origin": "https://bad.example", "Access-Control-Request-Method": "PUT"}
    assert butterbase.call("plain", "OPTIONS", headers=question).text == "ok"


def test_201_202_logs_are_newest_first_and_can_be_narrowed(shared: SharedButterbase) -> None:
    code = "export default (req) => { console.log('said', {a: 1}); "
    shared.deploy("log", code + "return new Response('', { status: +req.url.slice(-3) }); }")
    for status in (200, 404, 200):
        shared.call(f"log?{status}")

    logs = shared.logs("log")

    assert [entry["statusCode"] for entry in logs] == [200, 404, 200]
    assert logs[0]["consoleLogs"][0]["message"] == 'said {"a":1}'
    assert [entry["error"] for entry in shared.logs("log", level="error")] == ["HTTP 404"]
    assert len(shared.logs("log", level="info")) == 2
    assert [entry["id"] for entry in shared.logs("log", limit=1)] == [logs[0]["id"]]
    assert shared.logs("log", limit=0) == []
    since = [entry["id"] for entry in shared.logs("log", since=logs[-1]["timestamp"])]
    assert logs[-1]["id"] not in since
    reply = shared.client.get(f"{shared.base}/log/logs", params={"limit": 2})
    assert reply.json()["hasMore"] is True
    # As it is read: a call may have printed two megabytes.
    assert "content-length" not in reply.headers


@pytest.mark.parametrize("query", [{"limit": "-1"}, {"limit": "x"}, {"since": "yesterday"}, {"level": "loud"}])
def test_201_what_cannot_be_read_is_400(shared: SharedButterbase, query: dict[str, str]) -> None:
    shared.deploy("ok", OK)

    assert shared.client.get(f"{shared.base}/ok/logs", params=query).status_code == 400


def test_204_the_log_stream_sends_calls_as_they_end_and_resumes(shared: SharedButterbase) -> None:
    shared.deploy("resumed", OK)
    shared.call("resumed")
    first = shared.logs("resumed")[0]

    def event(**options: Any) -> tuple[str, str, dict[str, Any]]:
        with shared.client.stream("GET", f"{shared.base}/resumed/logs/stream", **options) as reply:
            assert reply.headers["content-type"].startswith("text/event-stream")
            lines = (line for line in reply.iter_lines() if line and not line.startswith(":"))
            if not options:
                threading.Thread(target=shared.call, args=("resumed",)).start()
            id_, name, data = next(lines), next(lines), next(lines)
            return id_.removeprefix("id: "), name, json.loads(data.removeprefix("data: "))

    id_, name, entry = event(params={"since": "2026-01-01T00:00:00Z"})
    assert (id_, name, entry) == (first["timestamp"], "event: log", first)
    later = event()[2]
    assert later["id"] > first["id"]
    assert event(headers={"Last-Event-ID": first["timestamp"]})[2]["id"] == later["id"]


def test_log_streams_end_soon_after_their_key_is_deleted(server: Server, butterbase: Butterbase) -> None:
    butterbase.deploy("log", OK)
    keys = f"/isolet/v1/projects/{butterbase.app}/keys"
    made = butterbase.client.post(keys, json={"name": "reader", "role": "deploy"}).json()
    with (
        server.client(made["key"]) as reader,
        reader.stream("GET", "/isolet/v1/logs/stream") as native,
        reader.stream("GET", f"{butterbase.base}/log/logs/stream") as other,
    ):
        streams = [native.iter_lines(), other.iter_lines()]
        assert [next(stream) for stream in streams] == [": connected"] * 2
        assert butterbase.client.delete(f"{keys}/{made['id']}").status_code == 204
        assert [[*stream] for stream in streams] == [[""]] * 2


def test_the_log_stream_sends_each_call_once_though_it_ended_after_later_ones(shared: SharedButterbase) -> None:
    wait = "await scheduler.wait(Number(new URL(request.url).searchParams.get('ms')))"
    shared.deploy("turns", f"export default async (request) => {{ {wait}; return new Response(); }}")
    waits = ("1500", "0", "2500", "0")
    with shared.client.stream("GET", f"{shared.base}/turns/logs/stream") as reply:
        lines = reply.iter_lines()
        assert next(lines) == ": connected"
        calls = [
            threading.Thread(target=shared.call, args=("turns",), kwargs={"params": {"ms": wait}}) for wait in waits
        ]
        for call in calls:
            call.start()
        data = (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))
        ids = [next(data)["id"] for _ in waits]
    for call in calls:
        call.join(60)
    assert len(set(ids)) == len(waits)
    assert set(ids) == {entry["id"] for entry in shared.logs("turns")}
