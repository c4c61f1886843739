"""The public addresses of functions: paths, hosts, who may call, rules for other origins."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from websockets.sync.client import connect

from tests.support.projects import Project, new_project
from tests.support.public import Public
from tests.support.raw import send_raw
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.websocket import ECHO as WEBSOCKET

ECHO = """
export default async function handler(req, ctx) {
  const bytes = new Uint8Array(await req.arrayBuffer());
  const { user, caller, request } = ctx;
  return Response.json({ method: req.method, url: req.url, headers: Object.fromEntries(req.headers),
    body: Array.from(bytes.slice(0, 16)), size: bytes.length, user, caller, ip: request.ip },
    { headers: { "x-method": req.method } });
}
"""
PAGE = """
export default (req) => new URL(req.url).pathname === "/sw.js"
  ? new Response("// worker", { headers: { "content-type": "text/javascript", "service-worker-allowed": "/" } })
  : new Response("<h1>hello</h1>", { headers: { "content-type": "text/html", "clear-site-data": '"cookies"',
      "set-cookie": "isolet_session=tossed" } });
"""
OWN_CORS = """
export default (req) => new Response(req.method === "OPTIONS" ? null : "own", {
  status: req.method === "OPTIONS" ? 204 : 200,
  headers: { "access-control-allow-origin": "https://mine.example" } });
"""
SECRET = "a-shared-secret-of-forty-characters-or-so"
PAGES_ORIGIN = "https://app.example"


@pytest.fixture(scope="module")
def home(server: Server, root: httpx.Client) -> Iterator[Project]:
    with new_project(server, root) as project:
        changed = root.patch(f"/isolet/v1/projects/{project.slug}", json={"allowed_origins": [PAGES_ORIGIN]})
        assert changed.status_code == 200, changed.text
        rules = {"hs256_secret": SECRET, "audience": "app"}
        assert project.client.put(f"/isolet/v1/projects/{project.slug}/auth", json=rules).status_code in (200, 204)
        yield project


@pytest.fixture(scope="module")
def public(home: Project, server: Server) -> Iterator[Public]:
    with server.client("") as client:
        public = Public(home, client)
        public.deploy("echo", ECHO, hosts=[f"{home.slug}.shop.example"])
        public.deploy("keyed", ECHO, access="key")
        public.deploy("users", ECHO, access="user")
        public.deploy("hidden", ECHO, access="none")
        public.deploy("page", PAGE)
        public.deploy("own", OWN_CORS, cors="function")
        public.deploy("socket", WEBSOCKET)
        yield public


def _token(**changes: object) -> str:
    now = int(time.time())
    claims = {"sub": "u-1", "aud": "app", "iat": now, "exp": now + 600, "plan": "VIP ☃", **changes}
    return str(jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET)))


def _bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_every_method_reaches_the_function(public: Public, method: str) -> None:
    reply = public.call("echo/todos/7?a=1&a=%20", method)
    assert (reply.status_code, reply.headers["x-method"]) == (200, method)
    assert reply.content == b"" if method == "HEAD" else reply.json()["method"] == method
    assert reply.headers["x-invocation-id"]


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("echo", "/"),
        ("echo/", "/"),
        ("echo/todos/7", "/todos/7"),
        ("echo/a%2Fb//c/?x=%7B%7D&x", "/a%2Fb//c/?x=%7B%7D&x"),
        ("echo/%E2%98%83?q=a+b", "/%E2%98%83?q=a+b"),
        ("echo/" + "/".join(["deep"] * 300), "/" + "/".join(["deep"] * 300)),
        ("echo?only", "/?only"),
    ],
)
def test_the_function_sees_what_follows_its_name(public: Public, path: str, seen: str) -> None:
    url = urlsplit(public.call(path).json()["url"])
    assert url.path + ("?" + url.query if url.query else "") == seen


def test_the_function_is_told_of_the_platforms_address(public: Public, server: Server) -> None:
    forged = {"X-Forwarded-Prefix": "/evil", "X-Forwarded-Host": "evil.example", "X-Forwarded-For": "6.6.6.6"}
    seen = public.call("echo/x", headers={**forged, "X-Forwarded-Proto": "https", "X-Mine": "yes"}).json()
    headers = seen["headers"]
    assert headers["x-forwarded-prefix"] == f"/f/{public.project.slug}/echo"
    assert headers["x-forwarded-host"] == urlsplit(server.url).netloc
    assert (headers["x-forwarded-proto"], headers["x-forwarded-for"], headers["x-mine"]) == ("http", "127.0.0.1", "yes")
    assert seen["ip"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"content": bytes(range(256)) * 4}, 1_024),
        ({"data": {"hub.mode": "subscribe", "b": "ü"}}, 27),
        ({"files": {"file": ("a.txt", b"text")}}, None),
        ({"content": iter([b"a" * 400_000, b"b" * 400_000])}, 800_000),
        ({"content": b""}, 0),
    ],
    ids=["binary", "form", "multipart", "chunked", "empty"],
)
def test_any_body_passes(public: Public, options: dict, size: int | None) -> None:
    seen = public.call("echo", "POST", **options).json()
    assert seen["size"] == size if size is not None else seen["size"] > 100


def test_a_function_is_found_by_slug_then_name(public: Public) -> None:
    function_id = public.deploy("renamed-slug", ECHO, name="Old Name")
    assert public.call("renamed-slug").status_code == 200
    assert public.call("Old%20Name/x").status_code == 200
    public.change(function_id, slug="another-slug")
    assert public.call("renamed-slug").status_code == 404


@pytest.mark.parametrize("path", ["unknown", "hidden", "hidden/x", "", "echo2"])
def test_what_has_no_public_address_is_not_found(public: Public, path: str) -> None:
    for headers in ({}, _bearer(public.project.key())):
        reply = public.call(path, headers=headers)
        assert reply.status_code == 404
        assert reply.json() == {"error": {"code": "not_found", "message": "Function not found"}}


@pytest.mark.parametrize(
    "target",
    ["/echo/../keyed", "/echo/%2e%2e/keyed", "/echo/%2E./x", "/echo/%00", "/..%2fdefault/echo", "/echo/..%5cx"],
)
def test_a_path_that_climbs_is_refused(public: Public, server: Server, target: str) -> None:
    head = f"GET /f/{public.project.slug}{target} HTTP/1.1\r\nHost: {urlsplit(server.url).netloc}\r\n"
    reply = send_raw(server.url, f"{head}Connection: close\r\n\r\n".encode())
    assert (reply.status, reply.body["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "head",
    [
        "GET {path} HTTP/1.1\r\n",
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nHost: other.example\r\n",
        "GET http://other.example{path} HTTP/1.1\r\nHost: {host}\r\n",
        "GET {path} HTTP/1.1\r\nHost: a b\r\n",
    ],
    ids=["no host", "two hosts", "another host's target", "no host name"],
)
def test_a_request_without_one_good_host_is_refused(public: Public, server: Server, head: str) -> None:
    text = head.format(path=f"/f/{public.project.slug}/echo", host=urlsplit(server.url).netloc)
    assert send_raw(server.url, f"{text}Connection: close\r\n\r\n".encode()).status == 400


def test_a_key_is_asked_for_by_default(public: Public, stranger: Project, root: httpx.Client) -> None:
    shown = public.change(public.deploy("plain", ECHO, access="key"))
    assert (shown["access"], shown["cors"], shown["hosts"]) == ("key", "platform", [])
    for headers in ({}, _bearer("isk_wrong"), _bearer(stranger.key()), _bearer(_token()), {"X-API-Key": "x"}):
        reply = public.call("keyed", headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "unauthenticated")
    key = public.project.key("invoke")
    for headers in (_bearer(key), {"X-API-Key": key}, {"X-API-Key": root.headers["X-API-Key"]}):
        seen = public.call("keyed", headers=headers).json()
        assert (seen["caller"]["type"], seen["user"]) == ("service_key", None)
        assert not {"authorization", "x-api-key"} & seen["headers"].keys()


def test_a_user_is_known_by_the_projects_rules(public: Public) -> None:
    token = _token()
    for name in ("users", "echo"):
        seen = public.call(name, headers=_bearer(token)).json()
        assert (seen["user"]["id"], seen["user"]["claims"]["plan"]) == ("u-1", "VIP ☃")
        assert (seen["caller"]["type"], seen["headers"]["authorization"]) == ("end_user_jwt", f"Bearer {token}")
    assert public.call("users", headers=_bearer(public.project.key("invoke"))).json()["user"] is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": 1_000}, "it has expired"),
        ({"aud": "another"}, "its audience is another one"),
        ({"nbf": 9_999_999_999}, "its nbf is in the future"),
        ({"sub": None}, "its sub is missing or not a user id"),
    ],
)
def test_why_a_token_is_refused_is_for_the_operator(public: Public, server: Server, changes: dict, reason: str) -> None:
    reply = public.call("users", headers=_bearer(_token(**changes)))
    assert (reply.status_code, reply.json()["error"]["message"]) == (401, "This function needs a signed-in user")
    assert wait_until(lambda: reason in server.log, timeout_s=60, what="the line in the log")
    assert public.call("echo", headers=_bearer(_token(**changes))).json()["user"] is None


def test_a_forged_token_is_nobodys(public: Public) -> None:
    head, body, _ = _token().split(".")
    for token in (f"{head}.{body}.AAAA", f"{head}.{body}.", "x" * 9_000, "a.b", "."):
        assert public.call("users", headers=_bearer(token)).status_code == 401
    assert public.call("users").status_code == 401


def test_pages_of_listed_origins_may_read(public: Public) -> None:
    asked = {"Origin": PAGES_ORIGIN, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-a"}
    answer = public.call("keyed/x", "OPTIONS", headers=asked)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, PAGES_ORIGIN)
    assert answer.headers["access-control-allow-headers"] == "x-a"
    reply = public.call("echo", headers={"Origin": PAGES_ORIGIN})
    assert reply.headers["access-control-allow-origin"] == PAGES_ORIGIN
    refused = public.call("keyed", headers={"Origin": PAGES_ORIGIN})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGES_ORIGIN)


def test_pages_of_other_origins_may_not(public: Public) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"}
    assert "access-control-allow-origin" not in public.call("echo", "OPTIONS", headers=asked).headers
    assert "access-control-allow-origin" not in public.call("echo", headers={"Origin": "https://evil.example"}).headers


def test_a_function_may_answer_other_origins_itself(public: Public) -> None:
    asked = {"Origin": PAGES_ORIGIN, "Access-Control-Request-Method": "PUT"}
    for reply in (public.call("own", "OPTIONS", headers=asked), public.call("own", headers={"Origin": PAGES_ORIGIN})):
        assert reply.headers.get_list("access-control-allow-origin") == ["https://mine.example"]
        assert "access-control-allow-credentials" not in reply.headers


def test_on_the_shared_origin_pages_are_sandboxed(public: Public) -> None:
    reply = public.call("page")
    assert reply.headers["content-security-policy"] == "sandbox allow-scripts allow-forms allow-popups"
    assert not {"clear-site-data", "set-cookie"} & reply.headers.keys()
    assert public.call("page/sw.js", headers={"Service-Worker": "script"}).status_code == 403


def test_on_its_own_host_a_function_has_the_origin(public: Public) -> None:
    host = f"page--{public.project.slug}.localhost:7878"
    reply = public.at(host, "/any/path")
    assert (reply.status_code, reply.text) == (200, "<h1>hello</h1>")
    assert "content-security-policy" not in reply.headers
    assert (reply.headers["clear-site-data"], "set-cookie" in reply.headers) == ('"cookies"', False)
    assert public.at(host, "/sw.js", headers={"Service-Worker": "script"}).status_code == 200


def test_a_host_serves_every_path(public: Public) -> None:
    for host in (f"echo--{public.project.slug}.localhost", f"{public.project.slug.upper()}.Shop.Example:443"):
        for path in ("/", "/isolet/v1/projects", "/healthz", f"/f/{public.project.slug}/keyed", "/v1/x/fn/y?z=1"):
            seen = public.at(host, path, "POST").json()
            assert (urlsplit(seen["url"]).path, urlsplit(seen["url"]).hostname) == (
                path.partition("?")[0],
                host.partition(":")[0].lower(),
            )
            assert "x-forwarded-prefix" not in seen["headers"]


@pytest.mark.parametrize(
    "host", ["nothing.localhost", "a.b.localhost", "hidden--{slug}.localhost", "x" * 64 + ".localhost"]
)
def test_an_unknown_host_of_the_domain_is_not_found(public: Public, host: str) -> None:
    reply = public.at(host.format(slug=public.project.slug), "/isolet/v1/projects")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")


def test_other_hosts_are_the_platforms(public: Public) -> None:
    for host in ("localhost", "unknown.example", "evillocalhost"):
        assert public.at(host, "/healthz").json()["status"] == "ok"


def test_a_function_of_the_default_project_needs_no_project(public: Public, root: httpx.Client, server: Server) -> None:
    default = Public(Project(server=server, slug="default", id="", client=root), public.client)
    name = f"d{hashlib.sha256(public.project.slug.encode()).hexdigest()[:8]}--x"
    function_id = default.deploy(name, ECHO)
    try:
        assert default.at(f"{name}.localhost", "/y").json()["method"] == "GET"
        assert default.call(f"{name}/y").status_code == 200
    finally:
        root.delete(f"/isolet/v1/functions/{function_id}")


def test_two_functions_cannot_claim_one_host(public: Public, stranger: Project) -> None:
    host = f"{public.project.slug}.shop.example"
    other = Public(stranger, public.client)
    function_id = other.deploy("thief", ECHO)
    taken = stranger.client.patch(f"/isolet/v1/functions/{function_id}", json={"hosts": ["free.example", host.upper()]})
    assert (taken.status_code, taken.json()["error"]["code"]) == (422, "invalid_input")
    assert "another function" in taken.json()["error"]["message"]
    shown = stranger.client.get(f"/isolet/v1/functions/{function_id}").json()
    assert shown["hosts"] == []
    assert public.at(host).status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"hosts": ["x.localhost"]},
        {"hosts": ["127.0.0.1"]},
        {"access": "all"},
        {"cors": None},
        {"hosts": ["a b.example"]},
    ],
)
def test_bad_settings_are_refused(public: Public, settings: dict) -> None:
    functions = public.project.client.get("/isolet/v1/functions").json()["data"]
    function_id = next(one["id"] for one in functions if one["slug"] == "keyed")
    reply = public.project.client.patch(f"/isolet/v1/functions/{function_id}", json=settings)
    assert reply.status_code == 422
    assert public.project.client.get(f"/isolet/v1/functions/{function_id}").json()["access"] == "key"


def test_a_claim_ends_with_its_function(public: Public) -> None:
    host = f"{public.project.slug}.gone.example"
    function_id = public.deploy("gone", ECHO, hosts=[host])
    assert public.at(host).status_code == 200
    public.change(function_id, hosts=[])
    assert public.at(host, "/healthz").json()["status"] == "ok"
    public.change(function_id, hosts=[host])
    public.project.client.delete(f"/isolet/v1/functions/{function_id}")
    public.deploy("next", ECHO, hosts=[host])
    assert public.at(host).status_code == 200


@pytest.mark.parametrize("own_host", [True, False])
def test_a_websocket_goes_through(public: Public, server: Server, own_host: bool) -> None:
    address = urlsplit(server.url)
    slug = public.project.slug
    url = f"ws://socket--{slug}.localhost/live" if own_host else f"ws://{address.netloc}/f/{slug}/socket/live"
    sock = socket.create_connection((address.hostname or "", address.port or 0))
    with connect(url, sock=sock, open_timeout=60, proxy=None) as connection:
        connection.send("hello")
        assert connection.recv(timeout=60) == "hello"
        connection.send("who")
        told = json.loads(connection.recv(timeout=60))
    assert told["headers"]["host"] == urlsplit(url).netloc
    assert told["headers"].get("x-forwarded-prefix") == (None if own_host else f"/f/{slug}/socket")


def test_a_call_is_recorded_with_its_door(public: Public) -> None:
    call = public.call("echo/recorded?x=1").headers["x-invocation-id"]

    def record() -> dict | None:
        reply = public.project.client.get(f"/isolet/v1/invocations/{call}")
        return reply.json() if reply.status_code == 200 else None

    shown = wait_until(record, timeout_s=60, what="the record")
    assert (shown["door"], shown["path"]) == ("public", f"/f/{public.project.slug}/echo/recorded")
