"""The platform's own pages: on a listener of their own, where nothing of functions answers."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.support.projects import new_project
from tests.support.server import NO_CAS, Server

V1 = "/isolet/v1"


@pytest.fixture
def pages(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.pages_url, trust_env=False, verify=NO_CAS, timeout=30) as client:
        yield client


def refusal(folder: Path, **settings: object) -> str:
    refused = Server(folder, **settings)
    assert refused.wait(30) == 1
    return refused.log


def test_the_api_port_sends_readers_to_the_pages(server: Server, anonymous: httpx.Client) -> None:
    for path in ("/", "/docs", "/docs/", "/docs/assets/swagger-ui.css", "/docs/..%2f"):
        reply = anonymous.get(path)
        assert (reply.status_code, reply.headers["location"]) == (307, f"{server.pages_url}/docs"), path
    port = urlsplit(server.pages_url).port
    for host in ("isolet.example:7878", "[::1]:1", "10.1.2.3"):
        reply = anonymous.get("/docs", headers={"Host": host})
        assert reply.headers["location"] == f"http://{host.removesuffix(':7878').removesuffix(':1')}:{port}/docs"


def test_the_pages_bring_everything_and_trust_nothing_else(pages: httpx.Client, server: Server) -> None:
    page = pages.get("/", follow_redirects=True)
    assert (page.status_code, page.url.path, page.headers["content-type"]) == (200, "/docs", "text/html; charset=utf-8")
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
    assert len(addresses) == 5
    assert "<script>" not in page.text
    assert " style=" not in page.text
    for address in ("/docs", *addresses, "/docs/openapi.json", "/nothing", "/docs/assets/index.html"):
        reply = pages.get(address)
        assert reply.status_code == (404 if address in ("/nothing", "/docs/assets/index.html") else 200), address
        policy = dict(part.strip().partition(" ")[::2] for part in reply.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["connect-src"] == f"'self' {server.url}"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    "path",
    [
        "/platform/v1/functions",
        "/platform/v1/functions/x/invoke",
        "/v1/default/fn/x",
        "/spaces/default/functions/x/invoke",
        "/isolet/v1/projects",
        "/f/default/x",
        "/healthz",
        "/metrics",
        "/openapi.json",
        "/docs/assets/..%2fpackage.json",
        "/docs/assets/%2e%2e/package.json",
        "/docs/assets//etc/passwd",
    ],
)
def test_nothing_else_is_there(pages: httpx.Client, server: Server, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        assert pages.request(method, path, headers={"X-API-Key": server.root_key}).status_code in (404, 405)


def test_there_are_no_pages_under_the_name_of_a_function(
    pages: httpx.Client, server: Server, root: httpx.Client
) -> None:
    """What is typed into them would go to the function, which their requests to the API would reach there."""
    with new_project(server, root) as project:
        claimed = f"{project.slug}.claimed.example"
        code = "export default { fetch: () => new Response('of a function') }"
        body = {"code": code, "access": "public", "hosts": [claimed]}
        assert project.client.put(f"{V1}/projects/{project.slug}/functions/x?wait=60", json=body).is_success
        for host in (claimed, f"{claimed.upper()}.:7879", f"x--{project.slug}.localhost"):
            for path in ("/", "/docs", "/dashboard/login", "/dashboard/api/projects", "/docs/openapi.json"):
                assert pages.get(path, headers={"Host": host}).status_code == 404, (host, path)
            login = {"Host": host, "Origin": f"http://{host}"}
            assert pages.post("/dashboard/login", data={"key": server.root_key}, headers=login).status_code == 404
    assert pages.get("/docs", headers={"Host": "localhost"}).status_code == 200


def test_a_name_that_is_no_name_changes_no_policy(pages: httpx.Client, server: Server) -> None:
    for host in ("a; script-src *", "a,b", "*", "a'b"):
        reply = pages.get("/docs", headers={"Host": host})
        if reply.status_code == 200:
            assert f"connect-src 'self' {server.url};" in reply.headers["content-security-policy"]
        else:
            assert reply.status_code == 400


def test_the_pages_describe_the_api_where_it_is(pages: httpx.Client, server: Server) -> None:
    document = pages.get("/docs/openapi.json").json()
    assert document["servers"] == [{"url": server.url}]
    shown = [tag["name"] for tag in document["tags"]]
    assert shown.index("functions") < shown.index("Kapso") < shown.index("Altair") < shown.index("Kapso, older base")
    assert not [tag for tag in shown if "/" in tag], "an operation of such a tag cannot be linked to"
    assert document["paths"]["/healthz"]["get"]["security"] == []
    listing = document["paths"][f"{V1}/functions"]["get"]
    assert listing["security"] == [{"APIKeyHeader": []}, {"HTTPBearer": []}]
    schemes = document["components"]["securitySchemes"]
    assert (schemes["HTTPBearer"]["scheme"], schemes["APIKeyHeader"]["name"]) == ("bearer", "X-API-Key")
    refused = listing["responses"]["422"]["content"]["application/json"]["schema"]
    assert set(refused["properties"]["error"]["required"]) == {"code", "message"}
    assert "HTTPValidationError" not in str(document)
    assert "additionalProperties" not in str(listing["responses"]["200"])
    change = document["paths"][f"{V1}/functions/{{function_id}}"]["patch"]["requestBody"]["content"]["application/json"]
    assert change["schema"]["$ref"].endswith("/FunctionUpdate")
    assert change["example"] == {"timeout_ms": 30_000}


def test_the_pages_origin_may_call_the_api_and_no_other(server: Server, anonymous: httpx.Client) -> None:
    ours = server.pages_url
    asking = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "x-api-key"}
    for path in (f"{V1}/projects", "/platform/v1/functions", "/v1/default/functions", "/spaces/default/functions"):
        preflight = anonymous.options(path, headers={"Origin": ours, **asking})
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, ours)
        assert preflight.headers["access-control-allow-headers"] == "x-api-key"
        assert "DELETE" in preflight.headers["access-control-allow-methods"]
        reply = anonymous.get(path, headers={"Origin": ours})
        assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (401, ours)
        for answer in (preflight, reply):
            assert "access-control-allow-credentials" not in answer.headers
            assert "Origin" in answer.headers["vary"]
        for origin in (server.url, "https://evil.example", "null", ours + "0", ours.replace("127.0.0.1", "localhost")):
            preflight = anonymous.options(path, headers={"Origin": origin, **asking})
            reply = anonymous.get(path, headers={"Origin": origin})
            for answer in (preflight, reply):
                assert answer.status_code != 204
                assert "access-control-allow-origin" not in answer.headers, origin


def test_pages_may_be_off(tmp_path: Path) -> None:
    with Server(tmp_path / "data", dashboard_port="off") as server, server.client() as client:
        assert (server.pages_url, "Docs:" in server.output) == ("", False)
        for path in ("/", "/docs"):
            reply = client.get(path)
            assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")
            assert "ISOLET_DASHBOARD_PORT" in reply.json()["error"]["message"]


def test_behind_a_proxy_they_have_the_address_that_was_set(tmp_path: Path) -> None:
    there = "https://pages.example"
    with Server(tmp_path / "data", dashboard_url=there, public_url="https://api.example/") as server:
        assert server.pages_url == there
        (api,) = (port for port in _listening(server) if _get(port, "/healthz").status_code == 200)
        assert _get(api, "/docs").headers["location"] == f"{there}/docs"
        assert _get(api, f"{V1}/limits", Origin=there).headers["access-control-allow-origin"] == there
        (pages,) = set(_listening(server)) - {api}
        assert "connect-src 'self' https://api.example;" in _get(pages, "/docs").headers["content-security-policy"]


def _listening(server: Server) -> list[int]:
    found = psutil.Process(server.process.pid).net_connections("tcp")
    return [one.laddr.port for one in found if one.status == psutil.CONN_LISTEN]


def _get(port: int, path: str, **headers: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}{path}", headers=headers, trust_env=False, verify=NO_CAS, timeout=30)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ports, one after the other. Nobody else gets them, a server may: it is bound, but nothing listens there."""
    for _ in range(100):
        first, second = (socket.socket() for _ in range(2))
        with first, second:
            for one in (first, second):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            first.bind(("127.0.0.1", 0))
            try:
                second.bind(("127.0.0.1", _port(first) + 1))
            except (OSError, OverflowError):
                continue
            yield first, second
            return
    raise AssertionError("there are no two free ports, one after the other")


def _port(bound: socket.socket) -> int:
    return int(bound.getsockname()[1])


def test_they_are_on_the_port_after_the_apis_or_on_a_free_one_when_it_is_taken(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    first, second = map(_port, pair)
    with Server(tmp_path / "data", "--port", str(first)) as server:
        assert [urlsplit(url).port for url in (server.url, server.pages_url)] == [first, second]
    pair[1].listen()
    with Server(tmp_path / "data", "--port", str(first)) as server:
        pages = urlsplit(server.pages_url).port or 0
        assert urlsplit(server.url).port == first
        assert pages not in (first, second)
        assert _get(pages, "/docs").status_code == 200


def test_they_cannot_be_where_the_api_is(tmp_path: Path, pair: tuple[socket.socket, socket.socket]) -> None:
    port = _port(pair[0])
    refused = Server(tmp_path / "data", "--port", str(port), dashboard_port=port)
    assert refused.wait(30) == 1
    assert f"cannot show the pages on port {port}: the API is there" in refused.log


def test_a_port_that_was_asked_for_and_is_taken_stops_the_start(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    pair[0].listen()
    port = _port(pair[0])
    said = refusal(tmp_path / "data", dashboard_port=port)
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in said


@pytest.mark.parametrize("port", ["-1", "65536", "http", "7879.0", "0x1f", "99999999999", "٣"])
def test_what_is_no_port_stops_the_start(tmp_path: Path, port: str) -> None:
    assert "cannot read ISOLET_DASHBOARD_PORT" in refusal(tmp_path / "data", dashboard_port=port)


@pytest.mark.parametrize("url", ["pages.example", "ftp://pages.example", "https://pages.example/below", "https://a?b"])
def test_what_is_no_address_of_pages_stops_the_start(tmp_path: Path, url: str) -> None:
    assert "cannot read ISOLET_DASHBOARD_URL" in refusal(tmp_path / "data", dashboard_url=url)
