"""One run: two servers on one PostgreSQL, of which one is killed 100 ms before a due time, again and again."""

from __future__ import annotations

import base64
import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx

from isolet.clock import parse_iso
from tests.support.clock import SetClock
from tests.support.server import Server
from tests.support.waiting import wait_until

CODE = "export default async () => new Response('ok');"
_BEFORE_MS = 100
# So long before it both servers have seen that their clock was set.
_AHEAD_MS = 1_500


def run(folder: Path, database_url: str, *, rounds: int) -> tuple[list[int], Counter[int]]:
    """The due times before which one was killed, and how often the function ran for each due time that there was.

    In milliseconds since the epoch. A minute may pass on its own on a slow machine, so that there are more.
    """
    clock = SetClock(folder)
    shared = {"database_url": database_url, "master_key": base64.b64encode(bytes(32)).decode()}
    dues = []
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(folder / name, clock=clock, **shared)) for name in ("one", "two")]
        with servers[0].client() as client:
            schedule_id, function_id = _make(client)
        for number in range(rounds):
            killed, other = number % 2, 1 - number % 2
            dues.append(due := clock.before_minute(_AHEAD_MS))
            wait_until(lambda due=due: clock.now_ms() >= due - _BEFORE_MS)  # type: ignore[misc]
            servers[killed].kill()
            with servers[other].client() as client:
                wait_until(lambda due=due, client=client: due in _ended(client, schedule_id))  # type: ignore[misc]
            servers[killed] = stack.enter_context(Server(servers[killed].data_dir, clock=clock, **shared))
        with servers[0].client() as client:
            return dues, _runs(client, function_id, set(dues))


def _make(client: httpx.Client) -> tuple[str, str]:
    made = client.put("/isolet/v1/projects/default/functions/clock", json={"code": CODE}, params={"wait": 120})
    assert made.status_code == 201, made.text
    function_id = made.json()["id"]
    schedule = client.post(f"/isolet/v1/functions/{function_id}/schedules", json={"cron": "* * * * *"})
    assert schedule.status_code == 201, schedule.text
    return schedule.json()["id"], function_id


def _ended(client: httpx.Client, schedule_id: str) -> set[int]:
    found = client.get(f"/isolet/v1/schedules/{schedule_id}/firings").json()["data"]
    return {parse_iso(one["due_at"]) for one in found if one["status"] == "succeeded"}


def _runs(client: httpx.Client, function_id: str, dues: set[int]) -> Counter[int]:
    """By due time, once all of these are recorded."""
    query = {"function": function_id, "kind": "cron", "limit": 500}

    def recorded() -> Counter[int] | None:
        found = [call["id"] for call in client.get("/isolet/v1/invocations", params=query).json()["data"]]
        if len(found) < len(dues):
            return None
        calls = [client.get(f"/isolet/v1/invocations/{one}").json() for one in found]
        runs = Counter(json.loads(call["request"]["body"])["scheduled_time_ms"] for call in calls)
        return runs if runs.keys() >= dues else None

    runs = wait_until(recorded, what="the records of all due times")
    assert runs is not None
    return runs
