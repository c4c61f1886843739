"""On the origin that all functions share none rules it, acts as it, or takes the dashboard's session: at every door."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.support.butterbase import SharedButterbase
from tests.support.every_door import DOORS, behind_all_doors
from tests.support.kapso import Kapso
from tests.support.server import Server

RULING = {
    "Service-Worker-Allowed": "/",
    "Clear-Site-Data": '"*"',
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload",
    "Alt-Svc": 'h2="evil.example:443"',
    "NEL": '{"report_to":"x","max_age":86400}',
    "Report-To": '{"group":"x","max_age":86400,"endpoints":[{"url":"https://evil.example"}]}',
    "Reporting-Endpoints": 'x="https://evil.example"',
    "Origin-Agent-Cluster": "?1",
    "Accept-CH": "Sec-CH-UA-Model",
    "Critical-CH": "Sec-CH-UA-Model",
    "Set-Login": "logged-in",
    "Speculation-Rules": '"/rules.json"',
}
SANDBOX = "sandbox allow-scripts allow-forms allow-popups"


def answering(headers: dict[str, Any], status: int = 200, body: str = '"body"') -> str:
    pairs = [[name, one] for name, value in headers.items() for one in (value if isinstance(value, list) else [value])]
    return f"""export default {{ async fetch(request) {{
      await request.text();
      return new Response({body}, {{ status: {status}, headers: {json.dumps(pairs)} }});
    }} }}"""


@pytest.mark.parametrize("status", [200, 404, 500])
@pytest.mark.parametrize("door", DOORS)
def test_nothing_that_rules_the_origin_leaves(shared: SharedButterbase, door: str, status: int) -> None:
    cookies = ["isolet_session=x; Path=/dashboard", "=isolet_session=x", "a=1"]
    code = answering({**RULING, "Content-Type": "text/html", "Set-Cookie": cookies, "X-Own": "1"}, status)
    reply = behind_all_doors(shared, code, f"ruling-{status}").call(door, json={})
    assert reply.status_code == status
    assert [name for name in RULING if name in reply.headers] == []
    assert reply.headers["content-security-policy"] == SANDBOX
    if door != "butterbase test call":
        assert (reply.headers["x-own"], reply.headers.get_list("set-cookie")) == ("1", ["a=1"])


@pytest.mark.parametrize("door", DOORS)
def test_a_page_keeps_its_own_policy_beside_the_sandbox(shared: SharedButterbase, door: str) -> None:
    code = answering({"Content-Type": "image/svg+xml", "Content-Security-Policy": "default-src 'self'"})
    reply = behind_all_doors(shared, code, "policy").call(door, json={})
    assert reply.headers.get_list("content-security-policy") == ["default-src 'self'", SANDBOX]


@pytest.mark.parametrize("door", [door for door in DOORS if door != "butterbase test call"])
def test_cookies_and_passwords_stay_with_the_project(shared: SharedButterbase, door: str) -> None:
    asking = {"Set-Cookie": "a=1; Domain=example.com; Path=/", "WWW-Authenticate": ['Basic realm="B"', "NTLM"]}
    doors = behind_all_doors(shared, answering(asking, 401), "asking")
    root = f"/{'v1' if door == 'butterbase' else 'spaces'}/{shared.app}/"
    if door.startswith("kapso"):
        root = doors.path(door).removesuffix("invoke")
    reply = doors.call(door, json={})
    told = [reply.headers.get_list(name) for name in ("set-cookie", "www-authenticate")]
    assert told == [[f"a=1; Path={root}"], [f'Basic realm="{root} B"']]


@pytest.mark.parametrize("door", DOORS)
def test_a_reply_without_a_type_is_not_guessed_to_be_a_page(shared: SharedButterbase, door: str) -> None:
    body = 'new TextEncoder().encode("<script>alert(1)</script>")'
    reply = behind_all_doors(shared, answering({}, body=body), "untyped").call(door, json={})
    assert (reply.headers.get("content-type"), reply.headers["x-content-type-options"]) == (None, "nosniff")


@pytest.mark.parametrize("door", DOORS)
def test_no_door_gives_a_service_worker_its_script(shared: SharedButterbase, door: str) -> None:
    doors = behind_all_doors(shared, answering({"Content-Type": "text/javascript"}), "script")
    for name, value in (("Service-Worker", "script"), ("Sec-Fetch-Dest", "serviceworker")):
        reply = doors.call(door, headers={name: value}, json={})
        assert reply.status_code == 403
        error = reply.json()["error"]
        if door.startswith("kapso"):
            assert error.startswith("Service workers are not possible here")
        elif door == "altair":
            assert error["status"] == 403
        else:
            assert error["code"] == "AUTH_INSUFFICIENT_PERMISSIONS"
    assert doors.call(door, headers={"Sec-Fetch-Dest": "script"}, json={}).status_code == 200


def test_a_websocket_is_no_way_round(shared: SharedButterbase, server: Server) -> None:
    doors = behind_all_doors(
        shared,
        f"""export default {{ fetch() {{
          const [client, server] = Object.values(new WebSocketPair());
          server.accept();
          const headers = {json.dumps({**RULING, "Set-Cookie": "isolet_session=x", "X-Own": "1"})};
          return new Response(null, {{ status: 101, webSocket: client, headers }});
        }} }}""",
        "socket",
    )
    with connect(f"ws{server.url[4:]}{doors.path('butterbase')}") as socket:
        assert socket.response is not None
        headers = socket.response.headers
    assert headers["x-own"] == "1"
    assert [name for name in (*RULING, "Set-Cookie") if name in headers] == []


def test_pages_may_be_plain(plain: httpx.Client) -> None:
    kapso = Kapso(plain)
    reply = kapso.invoke(kapso.deployed(answering({**RULING, "Content-Type": "text/html"})), {})
    assert "content-security-policy" not in reply.headers
    assert [name for name in RULING if name in reply.headers] == []


@pytest.fixture
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("plain") / "data"
    with Server(folder, shared_pages="plain") as running, running.client() as client:
        yield client
