"""A call, or a callback, that its server does not survive is given up after three times."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import httpx
import pytest

from tests.support.altair import Altair
from tests.support.receiver import Answer, Delivery, Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until

ECHO = "export default async (request) => new Response(await request.text());"
NEVER = "export default async () => { await new Promise((done) => setTimeout(done, 60_000)); };"
WHY = "the server ended while it ran it, three times"


def test_what_ended_the_server_three_times_fails_and_tells_so(tmp_path: Path) -> None:
    answered = threading.Event()

    def answer(delivery: Delivery) -> Answer:
        if delivery.body == b"deadly":
            answered.wait(60)
        return Answer()

    settings = {"egress_allow": "127.0.0.0/8", "callback_timeout_s": 60, "drain_timeout_s": 0}
    with Receiver(answer) as receiver:
        call_id = told_id = ""
        for round_ in range(3):
            with Server(tmp_path / "data", **settings) as server, server.client() as client:
                altair = Altair(client)
                if not call_id:
                    call_id = altair.start(altair.running("never", NEVER), b"x", receiver.url)
                    told_id = altair.start(altair.running("echo", ECHO), b"deadly", receiver.url)
                wait_until(lambda: altair.status(call_id)["status"] == "running", what="the call")  # noqa: B023
                wait_until(lambda: len(receiver.deliveries) > round_, what="the callback")  # noqa: B023
                server.kill()
        with Server(tmp_path / "data", **settings) as server, server.client() as client:
            altair = Altair(client)
            told = altair.ended(call_id)
            assert (told["status"], told["error"], len(told["attempts"])) == ("failed", WHY, 3)
            delivery = next(one for one in receiver.wait(4) if one.headers["x-call-id"] == call_id)
            assert WHY in json.loads(delivery.body)["error"]["message"]
            callback = altair.status(told_id)["callback"]
            assert (callback["status"], callback["error"]) == ("failed", WHY)
            # By hand it begins anew.
            answered.set()
            assert client.post(f"/isolet/v1/invocations/{told_id}/redeliver").status_code == 202
            wait_until(lambda: altair.status(told_id)["callback"]["status"] == "succeeded", what="the delivery")


@pytest.mark.parametrize("limit", [1, 0])
def test_the_operator_says_how_often(tmp_path: Path, limit: int) -> None:
    settings = {"job_crash_limit": limit, "drain_timeout_s": 0}

    def started(server: Server, client: httpx.Client) -> str:
        altair = Altair(client)
        call_id = altair.start(altair.running("never", NEVER), b"x")
        wait_until(lambda: altair.status(call_id)["status"] == "running", what="the call")
        server.kill()
        return call_id

    with Server(tmp_path / "data", **settings) as server, server.client() as client:
        call_id = started(server, client)
    with Server(tmp_path / "data", **settings) as server, server.client() as client:
        altair = Altair(client)
        if limit:
            assert altair.ended(call_id)["error"] == "the server ended while it ran it, once"
        else:
            wait_until(lambda: altair.status(call_id)["status"] == "running", what="the call again")
