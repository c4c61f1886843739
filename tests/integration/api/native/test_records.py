"""The native API of what functions did, on a running server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.kapso import Kapso
from tests.support.server import Server
from tests.support.waiting import wait_until

CODE = """
async function handler(request, env) {
  const body = await request.json();
  console.log("asked", body.name);
  if (body.fail) throw new Error("no " + body.name);
  return new Response("hello " + body.name, { status: body.status || 200 });
}
"""


@pytest.fixture
def function(kapso: Kapso) -> str:
    return kapso.deployed(CODE, "Greeter")


def get(client: httpx.Client, path: str, **query: Any) -> dict[str, Any]:
    reply = client.get(f"/isolet/v1{path}", params=query)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def names(client: httpx.Client, **query: Any) -> list[int]:
    """The status codes of the calls that a filter keeps, oldest first."""
    return [call["status_code"] for call in reversed(get(client, "/invocations", **query)["data"])]


def test_calls_are_filtered_by_how_they_ended(project: httpx.Client, kapso: Kapso, function: str) -> None:
    other = kapso.deployed(CODE, "Other")
    for body in (
        {"name": "a"},
        {"name": "b", "status": 404},
        {"name": "c", "status": 503},
        {"name": "d", "fail": True},
    ):
        kapso.invoke(function, body)
    kapso.invoke(other, {"name": "e", "status": 201})
    assert names(project) == [200, 404, 503, 500, 201]
    assert names(project, function=function) == [200, 404, 503, 500]
    assert names(project, function="other") == [201]
    assert names(project, status="failed") == [503, 500]
    assert names(project, status="succeeded") == [200, 404, 201]
    assert names(project, status="4xx") == [404]
    assert names(project, function=function, status="5xx") == [503, 500]
    assert names(project, q="NO D") == [500]
    assert names(project, q=other) == [201]
    assert names(project, q="50%") == []
    assert names(project, door="altair") == []
    assert names(project, kind="cron") == []
    assert names(project, kind="sync", door="kapso") == [200, 404, 503, 500, 201]


def test_calls_are_filtered_by_time(project: httpx.Client, kapso: Kapso, function: str) -> None:
    kapso.invoke(function, {"name": "a"})
    started = get(project, "/invocations")["data"][0]["started_at"]
    assert names(project, since="2026-01-01T00:00:00Z") == [200]
    assert names(project, until="2020-01-01T00:00:00Z") == []
    assert names(project, since="2999-01-01T00:00:00+00:00") == []
    assert started.endswith("Z")
    assert project.get("/isolet/v1/invocations", params={"since": "soon"}).status_code == 422


@pytest.mark.parametrize("path", ["/isolet/v1/invocations", "/isolet/v1/deliveries"])
def test_a_time_is_written_in_the_same_ways_everywhere(project: httpx.Client, path: str) -> None:
    for since in ("2026-01-31T12:00:00Z", "2026-01-31 12:00", "2026-01-31T12:00:00+01:00", "1769860800000"):
        # As it is, so that a plus arrives as a space.
        assert project.get(f"{path}?since={since}").status_code == 200, since
    assert project.get(f"{path}?since=soon").json()["error"]["message"].startswith("since must be a time such as ")


def test_pages_follow_each_other_while_calls_arrive(project: httpx.Client, kapso: Kapso, function: str) -> None:
    made = [kapso.invoke(function, {"name": str(n)}).headers["x-invocation-id"] for n in range(5)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = get(project, "/invocations", limit=2, **cursor)
        seen += [call["id"] for call in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
        kapso.invoke(function, {"name": "late"})
    assert seen == made[::-1]
    assert project.get("/isolet/v1/invocations", params={"cursor": "3"}).status_code == 422


def test_a_call_is_shown_with_everything_about_it(project: httpx.Client, kapso: Kapso, function: str) -> None:
    headers = {"X-Wanted": "yes", "Authorization": "Bearer user-token", "Cookie": "a=b", "X-Copy": "isk_" + "k" * 40}
    reply = kapso.invoke(function, {"name": "Ada", "fail": True}, headers=headers, params={"page": "2"})
    invocation_id = reply.json()["invocation_id"]
    found = wait_until(lambda: (shown := get(project, f"/invocations/{invocation_id}"))["console"] and shown)
    assert found["outcome"] == "handler_failed"
    assert found["error"] == "Error: no Ada"
    assert found["request"]["query"] == "page=2"
    assert json.loads(found["request"]["body"]) == {"name": "Ada", "fail": True}
    shown = dict(found["request"]["headers"])
    assert shown["x-wanted"] == "yes"
    for name in ("authorization", "cookie", "x-copy", "x-api-key"):
        assert shown[name] == "[redacted]", name
    assert found["console"][0]["message"] == "asked Ada"
    assert found["timings"]["cold_start_ms"] >= 0
    assert found["timings"]["function_ms"] > 0
    assert found["kill_report"] is None
    assert sum(found["timings"].values()) == pytest.approx(found["duration_ms"])


def test_a_call_of_another_project_is_not_found(server: Any, root: httpx.Client, kapso: Kapso, function: str) -> None:
    invocation_id = kapso.invoke(function, {"name": "a"}).headers["x-invocation-id"]
    slug = f"p-{uuid.uuid4().hex[:12]}"
    root.post("/isolet/v1/projects", json={"slug": slug})
    key = root.post(f"/isolet/v1/projects/{slug}/keys", json={"name": "x", "role": "admin"}).json()["key"]
    with server.client(key) as stranger:
        assert stranger.get(f"/isolet/v1/invocations/{invocation_id}").status_code == 404
        assert get(stranger, "/invocations", function=function)["data"] == []
        assert stranger.get(f"/isolet/v1/functions/{function}/metrics").status_code == 404
    assert root.get(f"/isolet/v1/invocations/{invocation_id}").status_code == 200
    root.delete(f"/isolet/v1/projects/{slug}")


def test_a_replay_runs_the_stored_request_on_the_live_version(
    project: httpx.Client, kapso: Kapso, function: str
) -> None:
    first = kapso.invoke(function, {"name": "Ada"}).headers["x-invocation-id"]
    changed = kapso.client.patch(
        f"{kapso.base}/functions/{function}", json={"function": {"code": CODE.replace("hello", "again")}}
    )
    assert changed.status_code == 200
    kapso.deploy(function)
    reply = project.post(f"/isolet/v1/invocations/{first}/replay")
    assert reply.status_code == 201, reply.text
    assert reply.json()["response"]["body"] == "again Ada"
    assert reply.json()["id"] == reply.headers["x-invocation-id"] != first


def test_a_replay_of_a_cut_or_redacted_request_is_refused(project: httpx.Client, kapso: Kapso, function: str) -> None:
    for body, reason in (({"name": "x" * 20_000}, "cut"), ({"name": "isk_" + "a" * 40}, "secret")):
        invocation_id = kapso.invoke(function, body).headers["x-invocation-id"]
        reply = project.post(f"/isolet/v1/invocations/{invocation_id}/replay")
        assert reply.status_code == 409
        assert reason in reply.json()["error"]["message"]
        stored = get(project, f"/invocations/{invocation_id}")["request"]["body"]
        assert "isk_a" not in stored


def test_no_key_stays_in_what_is_recorded(server: Server, project: httpx.Client, kapso: Kapso) -> None:
    """Whoever sends it, and wherever the function puts it."""
    code = """export default async (request) => {
      const text = await request.text(), path = new URL(request.url).pathname;
      console.log(text);
      if (path.endsWith("/fail")) throw new Error(text);
      return new Response(text);
    }"""
    slug = project.get("/isolet/v1/projects").json()["data"][0]["slug"]
    kapso.deployed(code, "Keys")
    invoke, keys = f"/spaces/{slug}/functions/keys/invoke", (project.headers["X-API-Key"], server.root_key)
    replies = [
        project.post(f"{invoke}/{place}", content=f"it is {key}.") for key in keys for place in (f"of-{key}", "fail")
    ]
    for reply in replies:
        call = reply.headers["X-Invocation-Id"]
        record = project.get(f"/isolet/v1/invocations/{call}").text
        assert [key for key in keys if key in record] == []
        # What was sent, printed and answered or thrown; what is thrown stands in its stack, too.
        assert record.count("it is [redacted].") == (4 if reply.status_code == 500 else 3)
        assert project.post(f"/isolet/v1/invocations/{call}/replay").status_code == 409


def test_a_call_that_was_answered_at_once_can_be_neither_cancelled_nor_redelivered(
    project: httpx.Client, kapso: Kapso, function: str
) -> None:
    call = kapso.invoke(function, {"name": "a"}).headers["x-invocation-id"]
    for action, reason in (("cancel", "has ended already"), ("redeliver", "has no callback")):
        reply = project.post(f"/isolet/v1/invocations/{call}/{action}")
        assert (reply.status_code, reply.json()["error"]["code"]) == (409, "conflict")
        assert reason in reply.json()["error"]["message"]
        unknown = project.post(f"/isolet/v1/invocations/{uuid.uuid4()}/{action}")
        assert unknown.status_code == 404


@pytest.mark.parametrize("path", ["/invocations?q=a%00", "/logs/stream?q=%00", "/deliveries?cursor=%00"])
def test_a_filter_that_can_find_nothing_is_refused(project: httpx.Client, path: str) -> None:
    assert project.get(f"/isolet/v1{path}").status_code == 422


@pytest.mark.parametrize("path", ["/invocations", "/deliveries"])
def test_a_function_goes_by_its_id_slug_or_name_everywhere(project: httpx.Client, function: str, path: str) -> None:
    for known in (function, function.upper(), "greeter", "Greeter", str(uuid.uuid4())):
        assert get(project, path, function=known)["data"] == [], known
    reply = project.get(f"/isolet/v1{path}?function=nobody")
    assert (reply.status_code, reply.json()["error"]["message"]) == (404, "Function not found")


def test_a_slug_is_found_before_an_older_functions_name(project: httpx.Client, kapso: Kapso) -> None:
    older = kapso.deployed(CODE, "taken", slug="other")
    younger = kapso.deployed(CODE, "Younger", slug="taken")
    kapso.invoke(older, {"name": "a"})
    kapso.invoke(younger, {"name": "b", "status": 201})
    assert names(project, function="taken") == [201]


def test_callbacks_of_no_function_are_not_sent_again(project: httpx.Client) -> None:
    path, body = "/isolet/v1/deliveries/redeliver", rb'{"function": "\ud800"}'
    assert project.post(path, content=body, headers={"Content-Type": "application/json"}).status_code in (404, 422)
    assert project.post(path, json={"function": "nobody"}).status_code == 404


def test_a_status_that_is_none_is_told_which_there_are(project: httpx.Client) -> None:
    reply = project.get("/isolet/v1/invocations?status=foo")
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "invalid_input")
    assert reply.json()["error"]["message"] == (
        "status must be one of queued, running, succeeded, failed, cancelled, 2xx, 3xx, 4xx, 5xx, error, info, not-2xx"
    )


def test_a_function_that_is_gone_keeps_its_records(project: httpx.Client, kapso: Kapso, function: str) -> None:
    invocation_id = kapso.invoke(function, {"name": "a"}).headers["x-invocation-id"]
    assert project.delete(f"{kapso.base}/functions/{function}").status_code == 204
    assert get(project, f"/invocations/{invocation_id}")["function_name"] == "Greeter"
    assert names(project, function=function) == [200]
    assert project.post(f"/isolet/v1/invocations/{invocation_id}/replay").status_code == 404


def test_metrics_count_to_the_call(project: httpx.Client, kapso: Kapso, function: str) -> None:
    for status in (200, 200, 404, 500):
        kapso.invoke(function, {"name": "a", "status": status})
    for window in ("1h", "24h", "30d", "all"):
        found = get(project, f"/functions/{function}/metrics", window=window)
        assert (found["total"], found["errors"], found["error_rate"]) == (4, 1, 25.0), window
        assert found["duration_ms"]["p50"] > 0
        assert found["duration_ms"]["p50"] <= found["duration_ms"]["p99"]
        assert found["exact"] == (window == "1h")
        assert found["last_invocation_at"] is not None
    assert project.get(f"/isolet/v1/functions/{function}/metrics?window=2h").status_code == 422


def test_usage_adds_up_by_project_and_month(project: httpx.Client, kapso: Kapso, function: str) -> None:
    kapso.invoke(function, {"name": "Ada"})
    (found,) = get(project, "/usage")["data"]
    assert found["invocations"] == 1
    assert found["egress_bytes"] == len("hello Ada")
    assert found["gb_seconds"] > 0
    assert get(project, "/usage", month="2020-02")["data"][0]["invocations"] == 0
    assert project.get("/isolet/v1/usage?month=May").status_code == 422
    assert project.get("/isolet/v1/usage?month=0001-01").status_code == 422
    assert get(project, "/usage", month="1970-01")["data"][0]["month"] == "1970-01"


def events(lines: Iterator[str], count: int) -> list[dict[str, Any]]:
    """The next so many server-sent events."""
    found: list[dict[str, Any]] = []
    current: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name in ("id", "event"):
            current[name] = value
        elif name == "data":
            current["data"] = json.loads(value)
        elif not line and current:
            found.append(current)
            current = {}
            if len(found) == count:
                return found
    raise AssertionError(f"the stream ended after {found}")


def test_the_tail_shows_lines_and_ends_as_they_happen_and_resumes(
    project: httpx.Client, kapso: Kapso, function: str
) -> None:
    path = f"/isolet/v1/functions/{function}/logs/stream"
    with project.stream("GET", path) as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": connected"
        invocation_id = kapso.invoke(function, {"name": "a"}).headers["x-invocation-id"]
        first = events(lines, 2)
    assert {event["event"] for event in first} == {"line", "end"}
    assert {event["data"]["invocation_id"] for event in first} == {invocation_id}
    kapso.invoke(function, {"name": "b"})
    with project.stream("GET", path, headers={"Last-Event-ID": first[-1]["id"]}) as stream:
        second = events(stream.iter_lines(), 2)
    assert sorted(event["data"].get("message", "end") for event in second) == ["asked b", "end"]
    with project.stream("GET", path + "?level=error", headers={"Last-Event-ID": first[0]["id"]}) as stream:
        lines = stream.iter_lines()
        next(lines)
        kapso.invoke(function, {"name": "c", "fail": True})
        (failed,) = events(lines, 1)
    assert failed["data"]["level"] == "error"
    with project.stream("GET", path, headers={"Last-Event-ID": "another-1"}) as stream:
        assert events(stream.iter_lines(), 1)[0] == {"event": "missed", "data": {"count": None}}
