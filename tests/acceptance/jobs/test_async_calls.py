"""Asynchronous calls from the 202 to the callback."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from tests.support.altair import FLAKY, Altair, SharedAltair
from tests.support.receiver import Answer, Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until

ECHO = """export default async function handler(request) {
  const url = new URL(request.url);
  const shown = { path: url.pathname + url.search, method: request.method, body: await request.text(),
                  headers: Object.fromEntries(request.headers) };
  return Response.json(shown, { status: 201, headers: { "x-own": "kept" } });
}"""
SLOW = """export default async function handler(request) {
  const wait_ms = Number(await request.text());
  await new Promise((done) => setTimeout(done, wait_ms));
  return new Response("done");
}"""
THROWS = "export default async function handler() {\n  throw new TypeError('broken');\n}"


def test_the_callback_carries_the_functions_reply(common_altair: SharedAltair, receiver: Receiver) -> None:
    name = common_altair.running("echo", ECHO)

    reply = common_altair.start_raw(name, b"hello", receiver.url, "/stock/market/today?company=Google")
    (delivery,) = receiver.wait()

    call_id = reply.headers["x-invocation-id"]
    assert (reply.status_code, reply.content) == (202, b"")
    assert reply.headers["location"] == f"/isolet/v1/invocations/{call_id}"
    assert (delivery.method, delivery.path) == ("POST", "/callback")
    assert delivery.headers["x-own"] == "kept"
    assert delivery.headers["content-type"] == "application/json"
    assert delivery.headers["x-function-status"] == "201"
    assert delivery.headers["x-function-name"] == "echo"
    assert delivery.headers["x-call-id"] == delivery.headers["webhook-id"] == call_id
    assert 0 <= float(delivery.headers["x-duration-seconds"]) < 10
    seen = json.loads(delivery.body)
    assert (seen["path"], seen["method"], seen["body"]) == ("/stock/market/today?company=Google", "POST", "hello")
    assert not {"x-api-key", "x-callback-url"} & seen["headers"].keys()


def test_the_state_tells_the_result_and_the_delivery(common_altair: SharedAltair, receiver: Receiver) -> None:
    call_id = common_altair.start(common_altair.running("echo", ECHO), b"x", receiver.url)

    def delivered() -> bool:
        return (common_altair.ended(call_id)["callback"] or {}).get("status") == "succeeded"

    wait_until(delivered, what="the delivery")
    status = common_altair.ended(call_id)

    assert (status["status"], status["result"]["status"]) == ("succeeded", 201)
    assert json.loads(status["result"]["body"])["body"] == "x"
    assert ["x-own", "kept"] in status["result"]["headers"]
    assert [attempt["status"] for attempt in status["attempts"]] == [201]
    assert [attempt["status"] for attempt in status["callback"]["attempts"]] == [200]


def test_without_a_callback_url_the_result_waits_to_be_fetched(common_altair: SharedAltair) -> None:
    status = common_altair.ended(common_altair.start(common_altair.running("echo", ECHO), b"kept"))

    assert json.loads(status["result"]["body"])["body"] == "kept"
    assert status["callback"] is None


def test_a_failed_call_sends_the_error_and_its_status(common_altair: SharedAltair, receiver: Receiver) -> None:
    call_id = common_altair.start(common_altair.running("throws", THROWS), callback=receiver.url)
    (delivery,) = receiver.wait()

    error = json.loads(delivery.body)["error"]
    assert delivery.headers["x-function-status"] == "500"
    assert (error["status"], error["details"]["exception_type"]) == (500, "TypeError")
    assert error["message"].endswith(": broken")
    assert common_altair.ended(call_id)["status"] == "failed"


def test_callbacks_are_signed_with_every_active_secret(altair: Altair, receiver: Receiver, space: httpx.Client) -> None:
    name = altair.running("echo", ECHO)
    secrets_path = f"/isolet/v1/projects/{space.headers['x-space']}/webhook-secrets"
    first, second = (space.post(secrets_path).json() for _ in range(2))

    altair.start(name, b"signed", receiver.url)
    delivery = receiver.wait()[0]

    for made in (first, second):
        told = Webhook(made["secret"]).verify(delivery.body, dict(delivery.headers))
        assert told["body"] == "signed"
    assert len(delivery.headers["webhook-signature"].split()) == 2
    assert "secret" not in space.get(secrets_path).json()["data"][0]

    assert space.delete(f"{secrets_path}/{first['id']}").status_code == 204
    altair.start(name, b"again", receiver.url)
    delivery = receiver.wait(2)[1]
    assert len(delivery.headers["webhook-signature"].split()) == 1
    Webhook(second["secret"]).verify(delivery.body, dict(delivery.headers))


def test_a_callback_is_tried_again_under_the_same_id(common_altair: SharedAltair) -> None:
    answers = iter([Answer(status=503), Answer(status=302, headers={"location": "/elsewhere"}), Answer()])
    with Receiver(lambda _: next(answers)) as receiver:
        call_id = common_altair.start(common_altair.running("echo", ECHO), callback=receiver.url)
        deliveries = receiver.wait(3)
        wait_until(lambda: common_altair.status(call_id)["callback"]["status"] == "succeeded", what="the delivery")

    assert {delivery.headers["webhook-id"] for delivery in deliveries} == {call_id}
    assert {delivery.path for delivery in deliveries} == {"/callback"}
    assert [attempt["status"] for attempt in common_altair.status(call_id)["callback"]["attempts"]] == [503, 302, 200]


def test_410_ends_a_delivery_which_can_be_sent_again_by_hand(altair: Altair, space: httpx.Client) -> None:
    answers = iter([Answer(status=410), Answer(status=410), Answer()])
    with Receiver(lambda _: next(answers)) as receiver:
        call_id = altair.start(altair.running("echo", ECHO), callback=receiver.url)

        def failed() -> list[str]:
            found = space.get("/isolet/v1/deliveries", params={"status": "failed"}).json()["data"]
            return [delivery["invocation_id"] for delivery in found]

        wait_until(lambda: failed() == [call_id], what="the failed delivery")
        assert len(receiver.deliveries) == 1
        assert space.post(f"/isolet/v1/invocations/{call_id}/redeliver").status_code == 202
        receiver.wait(2)
        wait_until(lambda: failed() == [call_id], what="the second failed delivery")
        sent = space.post("/isolet/v1/deliveries/redeliver", json={"host": f"127.0.0.1:{receiver.port}"})
        assert sent.json() == {"redelivered": 1}
        wait_until(lambda: altair.status(call_id)["callback"]["status"] == "succeeded", what="the delivery")


def test_an_idempotency_key_gives_the_same_call(common_altair: SharedAltair) -> None:
    name = common_altair.running("echo", ECHO)

    first = common_altair.start(name, b"one", idempotency_key="k")
    again = common_altair.start(name, b"one", idempotency_key="k")
    other = common_altair.start_raw(name, b"two", idempotency_key="k")

    assert again == first
    assert other.status_code == 422
    assert common_altair.start(name, b"two", idempotency_key="l") != first


def test_a_running_call_can_be_cancelled_and_replayed(common_altair: SharedAltair) -> None:
    call_id = common_altair.start(common_altair.running("slow", SLOW), b"20000")
    wait_until(lambda: common_altair.status(call_id)["status"] == "running", what="the start")

    assert common_altair.client.post(f"/isolet/v1/invocations/{call_id}/cancel").status_code == 200
    assert common_altair.ended(call_id)["status"] == "cancelled"
    assert common_altair.client.post(f"/isolet/v1/invocations/{call_id}/cancel").status_code == 409

    replayed = common_altair.client.post(f"/isolet/v1/invocations/{call_id}/replay")
    assert replayed.status_code == 202
    assert replayed.json()["id"] != call_id
    assert common_altair.client.post(f"/isolet/v1/invocations/{replayed.json()['id']}/cancel").status_code == 200


def test_a_function_with_retries_runs_until_it_succeeds(altair: Altair) -> None:
    name = altair.retrying(FLAKY, attempts=5)

    status = altair.ended(altair.start(name))

    assert [attempt["status"] for attempt in status["attempts"]] == [503, 503, 200]
    assert (status["status"], status["result"]["body"]) == ("succeeded", "3")


def test_refused_calls_are_not_accepted(common_altair: SharedAltair) -> None:
    name = common_altair.running("echo", ECHO)

    assert common_altair.start_raw("nobody").status_code == 404
    assert common_altair.start_raw(name, callback="http://user:word@127.0.0.1/").status_code == 400
    assert common_altair.create("broken", "export default function handler( {").status_code == 201
    common_altair.wait("broken", "Failed")
    refused = common_altair.start_raw("broken")
    assert (refused.status_code, refused.json()["error"]["message"]) == (409, "function not ready")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_async_invoke_takes_posts_only(common_altair: SharedAltair, method: str) -> None:
    name = common_altair.running("echo", ECHO)

    reply = common_altair.client.request(method, f"{common_altair.base}/{name}/async-invoke")

    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")


def test_a_callback_that_calls_itself_ends(altair: Altair, space: httpx.Client) -> None:
    code = """export default async (request) => {
      const headers = JSON.parse(await request.text());
      return new Response(JSON.stringify(headers), { headers });
    }"""
    name = altair.running("loop", code)
    url = f"{space.base_url}".rstrip("/") + f"{altair.base}/{name}/async-invoke"
    body = json.dumps({"x-api-key": space.headers["x-api-key"], "x-callback-url": url}).encode()

    altair.start(name, body, url)

    def refused() -> list[int]:
        found = space.get("/isolet/v1/deliveries", params={"status": "failed"}).json()["data"]
        return [delivery["attempts"][0]["status"] for delivery in found]

    wait_until(lambda: refused() == [400], what="the refusal")
    sent = space.get("/isolet/v1/deliveries", params={"status": "succeeded"}).json()["data"]
    assert len(sent) == 4


def test_calls_that_run_are_handed_back_when_the_server_stops(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server(data, drain_timeout_s="0.2") as first, first.client() as client:
        call_id = Altair(client).start(Altair(client).running("slow", SLOW), b"5000")
        wait_until(lambda: Altair(client).status(call_id)["status"] == "running", what="the start")
    with Server(data) as second, second.client() as client:
        status = Altair(client).ended(call_id)

    assert [attempt["error"] for attempt in status["attempts"]] == [
        "the server stopped while it ran; handed back",
        None,
    ]
    assert (status["status"], status["result"]["body"]) == ("succeeded", "done")


def test_calls_that_run_and_wait_are_counted_for_prometheus(altair: Altair, calling_server: Server) -> None:
    name = altair.running("slow", SLOW)
    with calling_server.client() as root:

        def running() -> float:
            lines = root.get("/metrics").text.splitlines()
            return float(next(line for line in lines if 'isolet_jobs{kind="call",state="running"}' in line).split()[1])

        call_id = altair.start(name, b"20000")
        wait_until(lambda: running() == 1, what="one that runs")
        assert altair.client.post(f"/isolet/v1/invocations/{call_id}/cancel").status_code == 200
        wait_until(lambda: running() == 0, what="none that runs")


def test_egress_counts_replies_and_results_but_nothing_else_that_is_sent(
    altair: Altair, receiver: Receiver, space: httpx.Client
) -> None:
    code = """export default async (request) => {
      const sent = await fetch(await request.text(), { method: "POST", body: "x".repeat(5000) });
      return new Response(`sent ${sent.status}`);
    }"""
    name = altair.running("sends", code)

    def egress() -> int:
        (usage,) = space.get("/isolet/v1/usage").json()["data"]
        return int(usage["egress_bytes"])

    assert altair.invoke(name, content=receiver.url).text == "sent 200"
    assert egress() == len("sent 200")
    altair.ended(altair.start(name, receiver.url.encode(), receiver.url))
    receiver.wait(3)
    assert egress() == 2 * len("sent 200")
