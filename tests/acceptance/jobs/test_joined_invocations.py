"""One id, two sources: the state of an asynchronous call and the record of its run, in every state of either."""

from __future__ import annotations

import sqlite3
from typing import Any

import httpx
import pytest

from tests.support.altair import FLAKY, Altair
from tests.support.receiver import Answer, Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until

CODE = """export default async function handler(request) {
  const told = await request.text();
  console.log("told", told);
  if (told === "throw") throw new TypeError("broken");
  if (told !== "") await new Promise((done) => setTimeout(done, Number(told)));
  return new Response("done", { status: 201 });
}"""
LONG = b"20000"
STATE = {"attempts", "result", "callback", "callback_url", "created_at", "finished_at", "cancel_requested"}
RECORD = {"request", "response", "console", "timings", "status_code", "outcome", "started_at", "duration_ms"}


@pytest.fixture
def name(altair: Altair, space: httpx.Client) -> str:
    """A function that runs one call at a time."""
    name = altair.running("joined", CODE)
    (function,) = space.get("/isolet/v1/functions").json()["data"]
    changed = space.patch(f"/isolet/v1/functions/{function['id']}", json={"concurrency": 1, "max_instances": 1})
    assert changed.status_code == 200
    return name


def act(client: httpx.Client, invocation_id: str, what: str) -> httpx.Response:
    return client.post(f"/isolet/v1/invocations/{invocation_id}/{what}")


def running(altair: Altair, name: str) -> str:
    call_id = altair.start(name, LONG)
    wait_until(lambda: altair.status(call_id)["status"] == "running", what="the start")
    return call_id


def forget(server: Server, table: str, call_id: str) -> None:
    """What ageing out does to a row of that table."""
    database = sqlite3.connect(server.data_dir / "isolet.db", isolation_level=None, timeout=60)
    try:
        found = database.execute(f"DELETE FROM {table} WHERE id = ?", (call_id,))  # noqa: S608 – a table of ours
        assert found.rowcount == 1
    finally:
        database.close()


def test_a_call_that_runs_and_one_that_waits_have_a_state_and_no_record_yet(
    altair: Altair, space: httpx.Client, name: str
) -> None:
    first = running(altair, name)
    second = altair.start(name, b"")

    for call_id, state in ((first, "running"), (second, "queued")):
        shown = altair.status(call_id)
        assert (shown["id"], shown["status"], shown["kind"]) == (call_id, state, "async")
        assert shown.keys() >= STATE
        assert not shown.keys() & RECORD
        assert (shown["result"], shown["finished_at"], shown["attempts"]) == (None, None, [])
    assert altair.status(second)["next_attempt_at"] is not None
    for call_id in (first, second):
        refused = act(space, call_id, "redeliver")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    replayed = act(space, second, "replay")
    assert (replayed.status_code, replayed.json()["status"]) == (202, "queued")

    # What waits goes first: it would run as soon as the first one ends.
    for call_id in (replayed.json()["id"], second, first):
        assert act(space, call_id, "cancel").status_code == 200


def test_a_call_that_succeeded_has_both(altair: Altair, space: httpx.Client, name: str) -> None:
    call_id = altair.start(name, b"1", extra="/a/b?c=d")
    shown = altair.ended(call_id)

    assert shown.keys() >= STATE | RECORD
    assert (shown["status"], shown["status_code"], shown["outcome"]) == ("succeeded", 201, "ok")
    assert (shown["request"]["body"], shown["request"]["query"], shown["path"]) == ("1", "c=d", "/a/b")
    assert shown["response"]["body"] == shown["result"]["body"] == "done"
    assert [line["message"] for line in shown["console"]] == ["told 1"]
    assert [attempt["status"] for attempt in shown["attempts"]] == [201]
    assert act(space, call_id, "cancel").status_code == 409
    assert act(space, call_id, "redeliver").status_code == 409
    again = act(space, call_id, "replay")
    assert again.status_code == 202
    assert again.headers["location"] == f"/isolet/v1/invocations/{again.json()['id']}"
    assert altair.ended(again.json()["id"])["request"]["body"] == "1"


def test_a_call_that_failed_has_both(altair: Altair, space: httpx.Client, name: str) -> None:
    shown = altair.ended(altair.start(name, b"throw"))

    assert (shown["status"], shown["status_code"], shown["outcome"]) == ("failed", 500, "handler_failed")
    assert shown["error"] == "TypeError: broken"
    assert (shown["result"]["status"], shown["attempts"][0]["error"]) == (500, "TypeError: broken")
    assert act(space, shown["id"], "cancel").status_code == 409


def test_a_call_that_was_cancelled_has_a_record_only_if_it_ran(altair: Altair, space: httpx.Client, name: str) -> None:
    first = running(altair, name)
    second = altair.start(name, b"")

    for call_id in (second, first):
        told = act(space, call_id, "cancel")
        assert told.status_code == 200
        assert altair.ended(call_id)["status"] == "cancelled"

    assert altair.status(first)["outcome"] == "disconnected"
    assert [attempt["error"] for attempt in altair.status(first)["attempts"]] == ["cancelled"]
    assert not altair.status(second).keys() & RECORD
    assert altair.status(second)["attempts"] == []
    for call_id in (first, second):
        assert act(space, call_id, "cancel").status_code == 409


def test_a_callbacks_attempts_are_shown_and_it_can_be_sent_again(
    altair: Altair, space: httpx.Client, name: str
) -> None:
    answers = iter([Answer(status=500), Answer(status=410), Answer(), Answer()])
    with Receiver(lambda _: next(answers)) as receiver:
        call_id = altair.start(name, b"", receiver.url)

        def sent(status: str) -> list[int]:
            callback = altair.status(call_id)["callback"]
            ended = callback is not None and callback["status"] == status
            return [attempt["status"] for attempt in callback["attempts"]] if ended else []

        assert wait_until(lambda: sent("failed"), what="the refusal") == [500, 410]
        shown = altair.status(call_id)
        assert shown.keys() >= STATE | RECORD
        assert (shown["status"], shown["callback_url"]) == ("succeeded", receiver.url)
        bulk = space.post("/isolet/v1/deliveries/redeliver", json={"function": shown["function_id"]})
        assert (bulk.status_code, bulk.json()) == (202, {"redelivered": 1})
        assert wait_until(lambda: sent("succeeded"), what="the delivery") == [500, 410, 200]
        nothing = space.post("/isolet/v1/deliveries/redeliver", json={"function": shown["function_id"]})
        assert nothing.json() == {"redelivered": 0}
        assert act(space, call_id, "redeliver").status_code == 202
        receiver.wait(4)
        wait_until(lambda: len(sent("succeeded")) == 4, what="the second delivery")
    assert {delivery.headers["webhook-id"] for delivery in receiver.deliveries} == {call_id}


def test_when_the_state_has_aged_out_the_record_stays(
    altair: Altair, space: httpx.Client, name: str, calling_server: Server
) -> None:
    call_id = altair.ended(altair.start(name, b"1"))["id"]
    forget(calling_server, "jobs", call_id)

    shown = altair.status(call_id)

    assert (shown["id"], shown["status"], shown["kind"]) == (call_id, "succeeded", "async")
    assert shown.keys() >= RECORD
    assert not shown.keys() & STATE
    assert act(space, call_id, "cancel").status_code == 409
    assert act(space, call_id, "redeliver").status_code == 409
    replayed = act(space, call_id, "replay")
    assert (replayed.status_code, replayed.json()["request"]["body"]) == (201, "1")
    assert replayed.json()["id"] != call_id


def test_when_the_record_has_aged_out_the_state_stays(
    altair: Altair, space: httpx.Client, name: str, calling_server: Server, receiver: Receiver
) -> None:
    call_id = altair.start(name, b"1", receiver.url)
    receiver.wait()
    wait_until(lambda: altair.status(call_id)["callback"]["status"] == "succeeded", what="the delivery")
    forget(calling_server, "invocations", call_id)

    shown = altair.status(call_id)

    assert (shown["status"], shown["result"]["body"], shown["callback"]["status"]) == ("succeeded", "done", "succeeded")
    assert not shown.keys() & RECORD
    assert act(space, call_id, "redeliver").status_code == 202
    receiver.wait(2)
    replayed = act(space, call_id, "replay")
    assert replayed.status_code == 202
    assert altair.ended(replayed.json()["id"])["result"]["body"] == "done"


def test_when_both_have_aged_out_nobody_knows_the_call(
    altair: Altair, space: httpx.Client, name: str, calling_server: Server
) -> None:
    call_id = altair.ended(altair.start(name, b""))["id"]
    for table in ("jobs", "invocations"):
        forget(calling_server, table, call_id)

    assert space.get(f"/isolet/v1/invocations/{call_id}").status_code == 404
    for what in ("cancel", "replay", "redeliver"):
        assert act(space, call_id, what).status_code == 404


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_replay_from_the_record_is_the_same_request(
    altair: Altair, space: httpx.Client, calling_server: Server, asynchronous: bool
) -> None:
    code = "export default (request) => new Response(request.method + ' ' + new URL(request.url).pathname);"
    altair.running("same", code)
    path = "/x%20y/50%25%0D%0Aq:%20z"
    if asynchronous:
        call_id = altair.ended(altair.start("same", extra=path))["id"]
        forget(calling_server, "jobs", call_id)
    else:
        call_id = altair.invoke("same", path + "?y=z").headers["x-invocation-id"]

    shown = altair.status(call_id)
    replayed = act(space, call_id, "replay").json()

    assert (shown["kind"], shown["status"]) == ("async" if asynchronous else "sync", "succeeded")
    assert not shown.keys() & STATE
    assert replayed["response"]["body"] == shown["response"]["body"] == f"POST {path}"
    assert (replayed["path"], replayed["request"]["query"]) == (shown["path"], shown["request"]["query"])
    assert altair.status(replayed["id"]) == replayed
    assert act(space, call_id, "cancel").status_code == 409


def test_a_caller_may_know_the_state_but_not_the_record(
    altair: Altair, space: httpx.Client, name: str, calling_server: Server
) -> None:
    call_id = altair.ended(altair.start(name, b"1"))["id"]
    keys = f"/isolet/v1/projects/{space.headers['x-space']}/keys"
    key = space.post(keys, json={"name": "caller", "role": "invoke"}).json()["key"]

    with calling_server.client(key) as caller, calling_server.client() as root:
        shown: dict[str, Any] = Altair(caller).status(call_id)
        assert (shown["status"], shown["result"]["body"]) == ("succeeded", "done")
        assert not shown.keys() & RECORD
        assert act(caller, call_id, "redeliver").status_code == 403
        assert act(caller, call_id, "replay").status_code == 202
        made = root.post("/isolet/v1/projects/default/keys", json={"name": "stranger", "role": "admin"}).json()
    with calling_server.client(made["key"]) as stranger:
        for what in ("cancel", "replay", "redeliver"):
            assert act(stranger, call_id, what).status_code == 404
        assert stranger.get(f"/isolet/v1/invocations/{call_id}").status_code == 404


def test_a_retried_call_shows_every_attempt_and_the_record_of_the_last(altair: Altair, space: httpx.Client) -> None:
    name = altair.retrying(FLAKY, attempts=5)

    shown = altair.ended(altair.start(name))

    assert [attempt["status"] for attempt in shown["attempts"]] == [503, 503, 200]
    assert (shown["status"], shown["status_code"], shown["response"]["body"]) == ("succeeded", 200, "3")


def test_calls_are_listed_by_the_states_that_no_record_has(altair: Altair, space: httpx.Client, name: str) -> None:
    first = running(altair, name)
    waiting = [altair.start(name, b"", extra=f"/part/{number}") for number in range(3)]

    def listed(status: str, **query: object) -> list[str]:
        reply = space.get("/isolet/v1/invocations", params={"status": status, **query})
        assert reply.status_code == 200, reply.text
        return [call["id"] for call in reply.json()["data"]]

    assert listed("running") == [first]
    assert listed("queued") == waiting[::-1]
    assert listed("queued", function=name) == waiting[::-1]
    assert listed("queued", q="PART/1") == [waiting[1]]
    assert listed("queued", kind="sync") == listed("queued", door="kapso") == listed("cancelled") == []
    assert listed("queued", until="2020-01-01T00:00:00Z") == []
    page = space.get("/isolet/v1/invocations", params={"status": "queued", "limit": 2}).json()
    assert [call["id"] for call in page["data"]] == [waiting[2], waiting[1]]
    assert listed("queued", limit=2, cursor=page["next_cursor"]) == [waiting[0]]
    shown = page["data"][0]
    assert (shown["status"], shown["kind"], shown["path"], shown["status_code"]) == ("queued", "async", "/part/2", None)

    for call_id in (*waiting, first):
        assert act(space, call_id, "cancel").status_code == 200
    wait_until(lambda: listed("cancelled") == [*waiting[::-1], first], what="the end of all")
    assert listed("queued") == listed("running") == []


def test_nobody_sees_another_spaces_waiting_calls(
    altair: Altair, name: str, calling_server: Server, space: httpx.Client
) -> None:
    call_id = running(altair, name)
    with calling_server.client() as root:
        found = root.get("/isolet/v1/invocations", params={"status": "running", "project": "default"}).json()["data"]
    assert call_id not in [call["id"] for call in found]
    assert act(space, call_id, "cancel").status_code == 200
