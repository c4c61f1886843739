"""The Altair API: calls, functions of a space, tokens."""

from __future__ import annotations

import base64
import json

import httpx
import pytest

from tests.support.altair import Altair, SharedAltair
from tests.support.server import Server
from tests.support.waiting import wait_until

ECHO = """export default async function handler(request, env) {
  const url = new URL(request.url);
  console.log("called", url.pathname);
  return Response.json({ path: url.pathname + url.search, method: request.method, body: await request.text(),
                         key: request.headers.get("x-api-key"), token: request.headers.get("authorization"),
                         greeting: env.GREETING }, { headers: { "X-Invoked": "false" } });
}"""


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "PATCH", "DELETE"])
def test_five_methods_reach_the_function_with_path_and_query(common_altair: SharedAltair, method: str) -> None:
    name = common_altair.running("echo", ECHO)

    reply = common_altair.invoke(name, "/stock/market/today?company=Google&company=A%20B", method=method)

    assert (reply.status_code, reply.headers["x-invoked"]) == (200, "true")
    seen = reply.json()
    assert (seen["path"], seen["method"]) == ("/stock/market/today?company=Google&company=A%20B", method)
    assert seen["key"] is None
    assert reply.headers["x-invocation-id"]


def test_without_extra_parts_the_path_is_the_root(common_altair: SharedAltair) -> None:
    name = common_altair.running("echo", ECHO)
    assert common_altair.invoke(name, content=b"\x00raw").json()["path"] == "/"


def test_other_methods_and_deeper_paths_are_refused(common_altair: SharedAltair) -> None:
    name = common_altair.running("echo", ECHO)

    refused = common_altair.invoke(name, method="OPTIONS")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST, GET, PUT, PATCH, DELETE")
    assert common_altair.invoke(name, "/a/b/c").status_code == 200
    assert common_altair.invoke(name, "/a/b/c/d").status_code == 404
    assert common_altair.start_raw(name, extra="/a/b/c/d").status_code == 404


def test_a_function_that_throws_is_told_with_its_type(common_altair: SharedAltair) -> None:
    name = common_altair.running("throws", "export default () => { throw new RangeError('too far'); }")

    reply = common_altair.invoke(name)

    error = reply.json()["error"]
    assert (reply.status_code, error["status"], error["details"]["exception_type"]) == (500, 500, "RangeError")
    assert error["message"].endswith(": too far")


def test_a_function_that_is_not_ready_answers_202(common_altair: SharedAltair) -> None:
    assert common_altair.create("broken", "export default function handler( {").status_code == 201
    common_altair.wait("broken", "Failed")

    shown = (common_altair.client.get(f"{common_altair.base}/broken/{part}") for part in ("code", "logs"))
    for reply in (common_altair.invoke("broken"), *shown):
        assert (reply.status_code, reply.json()) == (202, {"details": "function not ready"})


def test_who_has_no_key_or_another_spaces_is_told_so(common_altair: SharedAltair, calling_server: Server) -> None:
    name = common_altair.running("echo", ECHO)

    with calling_server.client("") as nobody:
        reply = Altair(nobody, common_altair.client.headers["x-space"]).invoke(name)
        assert (reply.status_code, reply.json()) == (401, {"error": {"status": 401, "message": "Unauthenticated"}})
    reply = Altair(common_altair.client, "default").invoke(name)
    assert (reply.status_code, reply.json()) == (404, {"error": {"status": 404, "message": "function not found"}})


def test_functions_are_created_read_replaced_and_deleted(altair: Altair) -> None:
    made = altair.create("echo", ECHO, env={"GREETING": "hi"}, options={"topics": "a"}, template="javascript-http")
    assert made.status_code == 201
    assert (made.json()["name"], len(made.json()["id"])) == ("echo", 26)
    assert made.json()["env"] == {"GREETING": "hi"}
    assert "source" not in made.json()
    altair.wait("echo", "Running")
    assert altair.invoke("echo").json()["greeting"] == "hi"
    taken = altair.create("echo", ECHO)
    assert (taken.status_code, taken.json()["error"]["message"]) == (409, "This function already exists")

    counted = altair.client.get(f"{altair.base}/echo").json()["metrics"]
    assert counted == {"invocations": 1, "replicas": 1, "available_replicas": 1}
    listed = altair.client.get(altair.base).json()
    assert [function["name"] for function in listed["data"]] == ["echo"]
    assert listed["paging"] == {"next_cursor": "", "previous_cursor": ""}

    code = "export default () => new Response('second');"
    source = {"code": base64.b64encode(code.encode()).decode()}
    replaced = altair.client.put(f"{altair.base}/echo", json={"name": "echo", "source": source})
    assert (replaced.status_code, replaced.json()["metrics"]) == (200, counted)
    altair.wait("echo", "Running")
    assert altair.invoke("echo").text == "second"
    assert base64.b64decode(altair.client.get(f"{altair.base}/echo/code").json()["code"]).decode() == code

    assert altair.client.delete(f"{altair.base}/echo").status_code == 204
    assert altair.client.get(f"{altair.base}/echo").status_code == 404


def test_the_list_of_functions_has_pages(altair: Altair) -> None:
    names = [f"listed-{number}" for number in range(5)]
    for name in names:
        assert altair.create(name, ECHO).status_code == 201

    def page(**query: object) -> tuple[list[str], dict[str, str]]:
        reply = altair.client.get(altair.base, params=query).json()
        return [function["name"] for function in reply["data"]], reply["paging"]

    assert page() == (names, {"next_cursor": "", "previous_cursor": ""})
    seen, paging = page(limit=2)
    assert (seen, paging["previous_cursor"]) == (names[:2], "")
    seen, paging = page(limit=2, cursor=paging["next_cursor"])
    assert seen == names[2:4]
    assert page(limit=2, cursor=paging["previous_cursor"])[0] == names[:2]
    assert page(limit=2, cursor=paging["next_cursor"])[0] == names[4:]
    assert page(limit=2, cursor=paging["next_cursor"])[1]["next_cursor"] == ""
    assert page(cursor="99") == ([], {"next_cursor": "", "previous_cursor": "0"})


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "501"}, {"limit": "all"}, {"cursor": "-1"}, {"cursor": "x"}]
)
def test_a_page_that_cannot_be_is_refused(common_altair: SharedAltair, query: dict[str, str]) -> None:
    reply = common_altair.client.get(common_altair.base, params=query)
    assert (reply.status_code, reply.json()["error"]["status"]) == (422, 422)


@pytest.mark.parametrize(
    "values",
    [
        {"name": "Upper"},
        {"template": "python3-http"},
        {"env": {"N": 1}},
        {"env": {"KV": "mine"}},
        {"source": {"code": "%%%"}},
        {"source": {}},
    ],
)
def test_what_cannot_be_a_function_is_refused(altair: Altair, values: dict[str, object]) -> None:
    source = {"code": base64.b64encode(ECHO.encode()).decode()}
    reply = altair.client.post(altair.base, json={"name": "fine", "source": source, **values})
    assert reply.status_code == 422
    assert altair.client.get(altair.base).json()["data"] == []


def test_logs_are_lines_of_json(common_altair: SharedAltair) -> None:
    name = common_altair.running("logged", ECHO)
    # More than are read at once.
    told = [f"called /{number}" for number in range(10)]
    for number in range(10):
        common_altair.invoke(name, f"/{number}")

    def lines(**query: object) -> list[str]:
        reply = common_altair.client.get(f"{common_altair.base}/{name}/logs", params=query)
        assert reply.headers["content-type"].startswith("application/x-ndjson")
        # As it is read: a call may have printed two megabytes.
        assert "content-length" not in reply.headers
        return [json.loads(line)["text"] for line in reply.text.splitlines()]

    wait_until(lambda: lines() == told, what="all lines")
    assert [lines(tail=most) for most in (1, 9, 10, 99)] == [told[-1:], told[-9:], told, told]
    assert lines(since="2999-01-01T00:00:00Z") == []


def test_a_token_stands_for_its_key_until_it_is_revoked(altair: Altair, calling_server: Server) -> None:
    name, space = altair.running("echo", ECHO), altair.client.headers["x-space"]
    made = altair.client.post(f"/isolet/v1/projects/{space}/keys", json={"name": "t", "role": "invoke"}).json()
    form = {"grant_type": "client_credentials", "client_id": made["id"], "client_secret": made["key"]}
    with calling_server.client("") as client:
        assert client.post("/oauth2/token", data={**form, "client_secret": "wrong"}).status_code == 401
        given = client.post("/oauth2/token", data=form).json()
        assert (given["token_type"], given["expires_in"]) == ("bearer", 3600)
        bearer = {"Authorization": f"Bearer {given['access_token']}"}

        def call() -> httpx.Response:
            return client.post(f"{altair.base}/{name}/invoke", headers=bearer)

        assert (call().status_code, call().json()["token"]) == (200, None)
        forbidden = client.delete(f"{altair.base}/{name}", headers=bearer)
        assert (forbidden.status_code, forbidden.json()["error"]["message"]) == (403, "Unauthorized")
        assert client.post("/oauth2/revoke", data={"token": given["access_token"]}).status_code == 200
        assert call().status_code == 401
