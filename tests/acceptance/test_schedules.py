"""Schedules over the native API: what runs when, what a function gets, and what is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.projects import Project, new_project
from tests.support.server import Server
from tests.support.waiting import wait_until

POSTED = """
export default async (req, env) => {
  const [type, body] = [req.headers.get("x-trigger-type"), await req.json()];
  await env.KV.put(body.schedule_id, JSON.stringify({ method: req.method, type, body, user: env.user }));
  return new Response("thrown away");
};
"""
SCHEDULED = """
export default { async scheduled(controller, env, ctx) {
  ctx.waitUntil((async () => { const { cron, type, scheduledTime: time } = controller;
    await env.KV.put("handled", JSON.stringify({ cron, type, time })); })());
} };
"""
SLOW = """
export default async (req, env) => {
  const running = Number(await env.KV.get("running") ?? 0) + 1;
  await env.KV.put("running", String(running));
  for (let at = 0; at < 1200 && await env.KV.get("go") !== "yes"; at += 1) await new Promise((r) => setTimeout(r, 50));
  return new Response("done");
};
"""
FAILING = "export default async () => new Response('no', { status: 503 });"
NEVER = "0 0 1 1 *"


@pytest.fixture(scope="module")
def home(server: Server, root: httpx.Client) -> Iterator[Project]:
    with new_project(server, root) as project:
        yield project


def _function(home: Project, name: str, code: str) -> str:
    url = f"/isolet/v1/projects/{home.slug}/functions/{name}"
    made = home.client.put(url, json={"code": code}, params={"wait": 120})
    assert made.status_code in (200, 201), made.text
    return str(made.json()["id"])


@pytest.fixture(scope="module")
def posted(home: Project) -> str:
    return _function(home, "posted", POSTED)


@pytest.fixture(scope="module", autouse=True)
def minutely(home: Project, posted: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Schedules of each minute, made first and looked at last."""
    values = {"retries": 1, "retry_backoff_s": 1, "pause_after_failures": 1}
    failing = _create(home, _function(home, "failing", FAILING), cron="* * * * *", **values)
    return _create(home, _function(home, "clock", POSTED), cron="* * * * *"), failing


def _create(home: Project, function_id: str, **values: Any) -> dict[str, Any]:
    reply = home.client.post(f"/isolet/v1/functions/{function_id}/schedules", json=values)
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


def _firings(home: Project, schedule: dict[str, Any]) -> list[dict[str, Any]]:
    return list(home.client.get(f"/isolet/v1/schedules/{schedule['id']}/firings").json()["data"])


def _ended(home: Project, schedule: dict[str, Any], count: int = 1) -> list[dict[str, Any]]:
    def look() -> list[dict[str, Any]] | None:
        found = [one for one in _firings(home, schedule) if one["status"] not in ("queued", "running")]
        return found if len(found) >= count else None

    return wait_until(look, timeout_s=120, what="the firings") or []


def _got(home: Project, key: str) -> dict[str, Any]:
    return dict(json.loads(home.client.get(f"/isolet/v1/projects/{home.slug}/kv/{key}").text))


def _run(home: Project, schedule: dict[str, Any]) -> str | None:
    reply = home.client.post(f"/isolet/v1/schedules/{schedule['id']}/run")
    assert reply.status_code == 202, reply.text
    found = reply.json()["invocation_id"]
    return None if found is None else str(found)


def test_a_schedule_is_shown_changed_and_deleted(home: Project, posted: str) -> None:
    made = _create(
        home, posted, cron="30 2 * * *", timezone="Europe/Berlin", name="nightly", payload={"a": 1}, retries=2
    )
    assert (made["function_id"], made["flow_id"], made["dialect"], made["enabled"]) == (posted, None, "standard", True)
    assert (made["overlap"], made["missed"], made["missed_window_s"], made["retries"]) == ("skip", "one", 86_400, 2)
    assert (made["last_due_at"], made["missed_total"], made["payload"]) == (None, 0, {"a": 1})
    assert datetime.fromisoformat(made["next_at"]) > datetime.now(UTC)
    url = f"/isolet/v1/schedules/{made['id']}"
    assert home.client.get(url).json() == made
    listed = home.client.get("/isolet/v1/schedules", params={"function": "posted"}).json()["data"]
    assert made in listed
    assert made in home.client.get(f"/isolet/v1/functions/{posted}/schedules").json()["data"]
    changed = home.client.patch(url, json={"cron": "CRON_TZ=Asia/Tokyo 0 9 * * *", "overlap": "queue"}).json()
    assert (changed["timezone"], changed["overlap"], changed["cron"]) == (
        "Asia/Tokyo",
        "queue",
        "CRON_TZ=Asia/Tokyo 0 9 * * *",
    )
    paused = home.client.post(f"{url}/pause", json={"reason": "holidays"}).json()
    assert (paused["enabled"], paused["paused_reason"], paused["next_at"]) == (False, "holidays", None)
    resumed = home.client.post(f"{url}/resume").json()
    assert (resumed["enabled"], resumed["paused_reason"], resumed["next_at"] is None) == (True, None, False)
    assert home.client.delete(url).status_code == 204
    assert home.client.get(url).status_code == 404


def test_a_function_gets_a_post(home: Project, posted: str) -> None:
    made = _create(home, posted, cron=NEVER, payload={"x": [1]})
    invocation = _run(home, made)
    (firing,) = _ended(home, made)
    assert (firing["status"], firing["attempt"], firing["invocation_id"]) == ("succeeded", 1, invocation)
    got = _got(home, made["id"])
    assert (got["method"], got["type"], got["user"]) == ("POST", "cron", None)
    assert got["body"] == {
        "trigger": "cron",
        "schedule": NEVER,
        "schedule_id": made["id"],
        "scheduled_time": firing["due_at"],
        "timezone": "UTC",
        "attempt": 1,
        "payload": {"x": [1]},
    }
    shown = home.client.get(f"/isolet/v1/schedules/{made['id']}").json()
    assert (shown["last_due_at"], shown["missed_total"], shown["next_at"]) == (None, 0, made["next_at"])
    calls = home.client.get("/isolet/v1/invocations", params={"kind": "cron", "function": "posted"}).json()["data"]
    assert invocation in [call["id"] for call in calls]


def test_a_scheduled_handler_gets_the_event(home: Project) -> None:
    made = _create(home, _function(home, "handler", SCHEDULED), cron="0 0 * * 2", dialect="cloudflare")
    _run(home, made)
    (firing,) = _ended(home, made)
    got = _got(home, "handled")
    assert (firing["status"], got["cron"], got["type"]) == ("succeeded", "0 0 * * 2", "scheduled")
    assert got["time"] == round(datetime.fromisoformat(firing["due_at"]).timestamp() * 1000)
    # It is the same event when it is replayed.
    home.client.delete(f"/isolet/v1/projects/{home.slug}/kv/handled")
    again = home.client.post(f"/isolet/v1/invocations/{firing['invocation_id']}/replay")
    assert (again.status_code, again.json()["status"], again.json()["kind"]) == (201, "succeeded", "cron")
    assert _got(home, "handled") == got


@pytest.mark.parametrize("overlap", ["skip", "queue", "allow", "replace"])
def test_overlaps_follow_their_policy(home: Project, overlap: str) -> None:
    kv = f"/isolet/v1/projects/{home.slug}/kv"
    for name in ("running", "go"):
        home.client.put(f"{kv}/{name}", content=b"0")
    made = _create(home, _function(home, "slow", SLOW), cron=NEVER, overlap=overlap)
    first = _run(home, made)
    wait_until(lambda: home.client.get(f"{kv}/running").text == "1", timeout_s=60, what="the first run")
    second = _run(home, made)
    assert (first is None, second is None) == (False, overlap == "skip")
    if overlap in ("allow", "replace"):
        wait_until(lambda: home.client.get(f"{kv}/running").text == "2", timeout_s=60, what="the second run")
    if overlap == "queue":
        assert sorted(one["status"] for one in _firings(home, made)) == ["queued", "running"]
    home.client.put(f"{kv}/go", content=b"yes")
    ended = [one["status"] for one in _ended(home, made, 2)]
    expected = {"skip": ["skipped", "succeeded"], "replace": ["succeeded", "failed"]}
    assert ended == expected.get(overlap, ["succeeded", "succeeded"])


def test_a_backfill_runs_every_due_time_in_order(home: Project, posted: str) -> None:
    made = _create(home, posted, cron="0 * * * *", enabled=False)
    stretch = {"from": "2027-01-01T00:00:00Z", "to": "2027-01-01T03:00:00Z"}
    reply = home.client.post(f"/isolet/v1/schedules/{made['id']}/backfill", json=stretch)
    assert (reply.status_code, reply.json()) == (202, {"count": 4})
    ended = _ended(home, made, 4)
    assert [one["due_at"] for one in reversed(ended)] == [f"2027-01-01T0{hour}:00:00.000Z" for hour in range(4)]
    assert {one["status"] for one in ended} == {"succeeded"}
    for bad in (
        {"from": "2027-01-02", "to": "2027-01-01"},
        {"from": "x", "to": "2027-01-01"},
        {"from": "2020-01-01", "to": "2027-01-01"},
        {"from": "0001-01-01T00:00:00+14:00", "to": "2027-01-01"},
        {"from": "2027-01-01", "to": "9999-12-31T23:59:59-14:00"},
    ):
        refused = home.client.post(f"/isolet/v1/schedules/{made['id']}/backfill", json=bad)
        assert refused.status_code == 422


def test_a_preview_shows_what_is_to_come(home: Project) -> None:
    body = {"cron": "0 9 * * MON", "timezone": "America/New_York", "count": 3}
    shown = home.client.post("/isolet/v1/schedules/preview", json=body).json()
    assert len(shown["times"]) == 3
    assert "(America/New_York)" in shown["text"]
    for bad, field in (
        ({"cron": "0 0 * * * *"}, "cron"),
        ({"cron": NEVER, "timezone": "Mars"}, "timezone"),
        ({"cron": NEVER, "count": 101}, "count"),
    ):
        refused = home.client.post("/isolet/v1/schedules/preview", json=bad)
        assert refused.status_code == 422
        assert refused.json()["error"]["message"].startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "cron"),
        ({"cron": "* * * *"}, "cron"),
        ({"cron": "0 0 30 2 *"}, "cron"),
        ({"cron": NEVER, "timezone": "../etc"}, "timezone"),
        ({"cron": NEVER, "dialect": "quartz"}, "dialect"),
        ({"cron": "0 0 15W * *", "dialect": "cloudflare"}, "cron"),
        ({"cron": NEVER, "missed_window_s": 3_153_600_000}, "missed_window_s"),
        ({"cron": NEVER, "overlap": "both"}, "overlap"),
        ({"cron": NEVER, "name": "a\nb"}, "name"),
        ({"cron": NEVER, "name": "trigger"}, "name"),
        ({"cron": NEVER, "payload": "x" * 70_000}, "payload"),
        ({"cron": NEVER, "enabled": "yes"}, "enabled"),
        ({"cron": NEVER, "colour": "red"}, "colour"),
    ],
)  # fmt: skip
def test_bad_schedules_are_refused_and_change_nothing(home: Project, posted: str, values: Any, field: str) -> None:
    url = f"/isolet/v1/functions/{posted}/schedules"
    before = home.client.get(url).json()
    refused = home.client.post(url, json=values)
    assert refused.status_code == 422, refused.text
    assert field in refused.json()["error"]["message"]
    assert home.client.get(url).json() == before


def test_schedules_of_others_are_not_there(home: Project, posted: str, stranger: Project) -> None:
    made = _create(home, posted, cron=NEVER)
    for method, rest in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/run"), ("GET", "/firings")):
        reply = stranger.client.request(
            method, f"/isolet/v1/schedules/{made['id']}{rest}", json={} if method == "PATCH" else None
        )
        assert reply.status_code == 404
    assert (
        home.client.post(
            f"/isolet/v1/functions/{posted}/schedules", json={"cron": NEVER, "name": made["name"]}
        ).status_code
        == 409
    )
    assert home.client.get("/isolet/v1/schedules/nonsense").status_code == 404


def test_a_cron_trigger_is_a_schedule(home: Project) -> None:
    code = "export default async () => new Response('ok');"
    body = {"name": "clocked", "code": code, "trigger": {"type": "cron", "config": {"schedule": "*/5 * * * *"}}}
    made = home.client.post(f"/v1/{home.slug}/functions", json=body)
    assert made.status_code in (200, 201), made.text
    assert "warnings" not in made.json() or made.json()["warnings"] == []
    (schedule,) = home.client.get("/isolet/v1/schedules", params={"function": "clocked"}).json()["data"]
    assert (schedule["name"], schedule["cron"], schedule["timezone"]) == ("trigger", "*/5 * * * *", "UTC")
    detail = home.client.get(f"/v1/{home.slug}/functions/clocked").json()
    assert (detail["nextRun"], detail["lastRun"]) == (schedule["next_at"], None)
    body["trigger"] = {"type": "http", "config": {"auth": "none"}}
    assert home.client.post(f"/v1/{home.slug}/functions", json=body).status_code in (200, 201)
    assert home.client.get("/isolet/v1/schedules", params={"function": "clocked"}).json()["data"] == []


def test_a_cron_trigger_of_a_space_switches_schedules_on(home: Project) -> None:
    code = base64.b64encode(b"export default () => new Response('ok');").decode()
    space = f"/spaces/{home.slug}"
    body = {"name": "spaced", "source": {"code": code}, "options": {"schedule": "0 * * * *"}}
    assert home.client.post(f"{space}/functions", json=body).status_code == 201

    def schedule() -> dict[str, Any]:
        (found,) = home.client.get("/isolet/v1/schedules", params={"function": "spaced"}).json()["data"]
        return dict(found)

    assert (schedule()["name"], schedule()["enabled"]) == ("options.schedule", False)
    made = home.client.post(f"{space}/triggers", json={"type": "cron", "description": "on"})
    assert (made.status_code, made.json()["type"], made.json()["status"]) == (201, "cron", "Running")
    assert schedule()["enabled"]
    shown = home.client.get(f"{space}/functions/spaced").json()
    assert shown["next_run"] == schedule()["next_at"][:19]
    assert (shown["last_run"], "warnings" in shown) == (None, False)
    mqtt = {"type": "mqtt", "config": {"host": "broker.example", "topics": "a", "password": "s3cret"}}
    other = home.client.post(f"{space}/triggers", json=mqtt).json()
    assert (other["status"], other["config"]["port"], other["config"]["password"]) == ("Failed", 1883, "***")
    listed = home.client.get(f"{space}/triggers", params={"type": "mqtt"}).json()["data"]
    assert [one["id"] for one in listed] == [other["id"]]
    url = f"{space}/triggers/{made.json()['id']}"
    assert home.client.put(url, json={"type": "cron", "description": "still"}).json()["description"] == "still"
    assert home.client.get(url).json()["description"] == "still"
    assert home.client.delete(url).status_code == 204
    assert not schedule()["enabled"]
    gone = home.client.get(url)
    assert (gone.status_code, gone.json()["error"]["message"]) == (404, "trigger not found")
    for bad in ({"type": "smoke"}, {}, {"type": "cron", "config": []}):
        assert home.client.post(f"{space}/triggers", json=bad).status_code == 400
    refused = home.client.post(f"{space}/functions", json={**body, "name": "bad", "options": {"schedule": "* * *"}})
    assert (refused.status_code, "options.schedule" in refused.json()["error"]["message"]) == (400, True)


def test_the_clock_fires(home: Project, minutely: tuple[dict[str, Any], dict[str, Any]]) -> None:
    made, _ = minutely
    due = made["next_at"]
    firing = _ended(home, made)[-1]
    assert (firing["due_at"], firing["status"]) == (due, "succeeded")
    assert (
        timedelta() <= datetime.fromisoformat(firing["fired_at"]) - datetime.fromisoformat(due) < timedelta(seconds=30)
    )
    shown = home.client.get(f"/isolet/v1/schedules/{made['id']}").json()
    assert shown["last_due_at"] >= due
    assert shown["last_status"] == "succeeded"
    assert home.client.delete(f"/isolet/v1/schedules/{made['id']}").status_code == 204


def test_a_failed_firing_is_tried_again_and_pauses_its_schedule(
    home: Project, minutely: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    _, made = minutely
    firing = _ended(home, made)[-1]
    assert (firing["status"], firing["attempt"]) == ("failed", 2)
    shown = home.client.get(f"/isolet/v1/schedules/{made['id']}").json()
    assert (shown["enabled"], shown["paused_reason"]) == (False, "1 firings failed in a row")
    assert shown["last_status"] == "failed"
