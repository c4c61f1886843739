"""The whole way of an asynchronous call with PostgreSQL below it, over a server that died."""

from __future__ import annotations

from pathlib import Path

from tests.support.altair import Altair
from tests.support.postgres import Postgres
from tests.support.receiver import Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until

SLOW = """export default async (request) => {
  const text = await request.text();
  await new Promise((done) => setTimeout(done, 500));
  return new Response(text);
}"""


def test_a_call_outlives_its_server_on_postgresql(tmp_path: Path, receiver: Receiver, postgres: Postgres) -> None:
    with postgres.temporary() as url:
        settings = {"database_url": url, "egress_allow": "127.0.0.0/8"}
        with Server(tmp_path / "data", **settings) as first, first.client() as client:
            altair = Altair(client)
            call_id = altair.start(altair.running("slow", SLOW), b"kept", receiver.url)
            wait_until(lambda: altair.status(call_id)["status"] == "running", what="the start")
            first.kill()
        with Server(tmp_path / "data", **settings) as second, second.client() as client:
            status = Altair(client).ended(call_id)
            (delivery,) = receiver.wait()

    assert (delivery.body, delivery.headers["webhook-id"]) == (b"kept", call_id)
    assert [attempt["error"] for attempt in status["attempts"]] == ["the server ended while it ran", None]
