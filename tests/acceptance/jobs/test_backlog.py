"""What a project may have in the queue: so many calls and callbacks, of so many bytes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.altair import Altair
from tests.support.postgres import Postgres
from tests.support.receiver import Answer, Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until

ECHO = "export default async (request) => new Response(await request.text());"
SLOW = """export default async (request, env) => {
  const text = await request.text();
  while (!(await env.KV.get("go"))) await new Promise((done) => setTimeout(done, 20));
  return new Response(text);
}"""
_SETTINGS: dict[str, Any] = {"egress_allow": "127.0.0.0/8", "drain_timeout_s": 0, "callback_schedule_s": "0"}


def limited(client: httpx.Client, **limits: int) -> None:
    changed = client.patch("/isolet/v1/projects/default", json={"limits": limits})
    assert changed.status_code == 200, changed.text


def refused(reply: httpx.Response, word: str) -> None:
    assert reply.status_code == 429, reply.text
    assert int(reply.headers["retry-after"]) > 0
    assert word in reply.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_project_has_so_many_calls_and_no_more(
    tmp_path: Path, kind: str, postgres: Postgres, receiver: Receiver
) -> None:
    with postgres.temporary() as url:
        settings = {**_SETTINGS, "database_url": url} if kind == "postgresql" else _SETTINGS
        with Server(tmp_path / "data", **settings) as server, server.client() as client:
            altair = Altair(client)
            slow, echo = altair.running("slow", SLOW), altair.running("echo", ECHO)
            receiver.answer = lambda _: Answer(status=410)
            told = altair.start(echo, b"before", receiver.url)
            wait_until(
                lambda: (altair.status(told)["callback"] or {}).get("status") == "failed", what="the failed callback"
            )
            limited(client, queued_calls=5)

            with ThreadPoolExecutor(10) as pool:
                replies = list(pool.map(lambda _: altair.start_raw(slow, b"x"), range(30)))
            assert {reply.status_code for reply in replies} == {202, 429}
            calls = [reply.headers["x-invocation-id"] for reply in replies if reply.status_code == 202]

            def fills() -> bool:
                """Start one more where there is room yet: a callback's is free a moment after its end is seen."""
                if len(calls) < 5 and (reply := altair.start_raw(slow, b"x")).status_code == 202:
                    calls.append(reply.headers["x-invocation-id"])
                return len(calls) >= 5

            wait_until(fills, what="the fifth place")
            assert len(calls) == 5
            refused(altair.start_raw(slow, b"x"), "queued_calls")
            refused(next(reply for reply in replies if reply.status_code == 429), "queued_calls")
            refused(client.post(f"/isolet/v1/invocations/{told}/replay"), "queued_calls")
            refused(client.post(f"/isolet/v1/invocations/{told}/redeliver"), "queued_calls")
            refused(client.post("/isolet/v1/deliveries/redeliver", json={}), "queued_calls")
            # Others have what is theirs.
            assert client.post("/isolet/v1/projects", json={"slug": "other"}).status_code == 201
            other = Altair(client, "other")
            other.ended(other.start(other.running("echo", ECHO), b"x"))
            server.kill()

        with Server(tmp_path / "data", **settings) as server, server.client() as client:
            altair = Altair(client)
            refused(altair.start_raw("slow", b"x"), "queued_calls")
            assert client.post(f"/isolet/v1/invocations/{calls.pop()}/cancel").status_code == 200
            wait_until(lambda: altair.start_raw("slow", b"x").status_code == 202, what="what was cancelled to leave")
            assert client.put("/isolet/v1/projects/default/kv/go", content=b"1").status_code < 300
            for call_id in calls:
                assert altair.ended(call_id, timeout_s=60)["status"] == "succeeded"
            wait_until(lambda: altair.start_raw("echo", b"x").status_code == 202, what="room")


def test_a_project_has_so_many_bytes_and_no_more(tmp_path: Path) -> None:
    with Server(tmp_path / "data", **_SETTINGS) as server, server.client() as client:
        altair = Altair(client)
        slow = altair.running("slow", SLOW)
        limited(client, queued_mb=1)

        kept = [altair.start(slow, b"b" * 400_000) for _ in range(2)]
        refused(altair.start_raw(slow, b"b" * 400_000), "queued_mb")
        assert altair.start_raw(slow, b"b" * 2_000_000).status_code == 413
        small = altair.start(slow, b"small")

        assert client.put("/isolet/v1/projects/default/kv/go", content=b"1").status_code < 300
        assert len(altair.ended(kept[0])["result"]["body"]) == 400_000
        for call_id in (*kept, small):
            assert altair.ended(call_id)["status"] == "succeeded"
        wait_until(lambda: altair.start_raw(slow, b"b" * 400_000).status_code == 202, what="room")


def test_a_project_that_is_deleted_leaves_no_job(tmp_path: Path, receiver: Receiver) -> None:
    with Server(tmp_path / "data", job_concurrency=2, **_SETTINGS) as server, server.client() as client:
        assert client.post("/isolet/v1/projects", json={"slug": "gone"}).status_code == 201
        gone = Altair(client, "gone")
        slow = gone.running("slow", SLOW)
        calls = [gone.start(slow, b"x", receiver.url) for _ in range(4)]
        wait_until(lambda: gone.status(calls[1])["status"] == "running", what="the start")

        assert client.delete("/isolet/v1/projects/gone").status_code == 204

        for call_id in calls:
            assert client.get(f"/isolet/v1/invocations/{call_id}").json().get("status") not in ("queued", "running")
        # The places that its calls held are free.
        altair = Altair(client)
        assert altair.ended(altair.start(altair.running("echo", ECHO), b"own"))["result"]["body"] == "own"
        assert receiver.deliveries == []


def test_calls_of_a_deleted_function_end_and_tell_so(tmp_path: Path, receiver: Receiver) -> None:
    with Server(tmp_path / "data", job_concurrency=1, **_SETTINGS) as server, server.client() as client:
        altair = Altair(client)
        slow, doomed = altair.running("slow", SLOW), altair.running("doomed", ECHO)
        first = altair.start(slow, b"x")
        wait_until(lambda: altair.status(first)["status"] == "running", what="the start")
        waiting = altair.start(doomed, b"x", receiver.url)
        assert client.delete(f"{altair.base}/doomed").status_code < 300
        assert client.put("/isolet/v1/projects/default/kv/go", content=b"1").status_code < 300

        told = altair.ended(waiting)
        assert (told["status"], told["result"]["status"]) == ("failed", 404)
        (delivery,) = receiver.wait()
        assert delivery.headers["x-function-status"] == "404"
