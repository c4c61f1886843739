"""Two servers on one PostgreSQL database, each with its own data directory (`docs/guide/several-servers.md`)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.support.altair import Altair
from tests.support.kapso import Kapso
from tests.support.postgres import Postgres
from tests.support.receiver import Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until

ECHO = "export default async (request) => new Response(await request.text());"
SLOW = """export default async (request) => {
  await new Promise((done) => setTimeout(done, 700));
  return new Response(await request.text());
}"""


class Pair:
    """Two running servers; `third` starts one more, for a test to kill."""

    def __init__(self, folder: Path, database_url: str, stack: ExitStack) -> None:
        self._folder = folder
        self._settings = {
            "database_url": database_url,
            "egress_allow": "127.0.0.0/8",
            "job_concurrency": 4,
            "master_key": base64.b64encode(bytes(32)).decode(),
        }
        # Both at once, on a database that is empty.
        started = [self.start(name) for name in ("one", "two")]
        self.servers = [stack.enter_context(server) for server in started]
        self.clients = [stack.enter_context(server.client()) for server in self.servers]

    def start(self, name: str) -> Server:
        return Server(self._folder / name, **self._settings)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Pair]:
    with postgres.temporary() as url, ExitStack() as stack:
        yield Pair(tmp_path_factory.mktemp("pair"), url, stack)


def _ran(client: httpx.Client, name: str) -> bool:
    """Whether this server itself ran calls of the function."""
    lines = client.get("/metrics").text.splitlines()
    return any(line.startswith("isolet_invocations_total{") and f'function="{name}"' in line for line in lines)


def test_calls_that_both_accept_run_once_each(pair: Pair, receiver: Receiver) -> None:
    one, two = (Altair(client) for client in pair.clients)
    name = one.running("echo-once", ECHO)
    wait_until(lambda: two.invoke(name).status_code == 200, what="the function on the other server")

    calls = {altair.start(name, str(n).encode(), receiver.url): str(n) for n in range(20) for altair in (one, two)}
    deliveries = receiver.wait(len(calls))

    assert {delivery.headers["x-call-id"]: delivery.body.decode() for delivery in deliveries} == calls
    for call_id in calls:
        assert len(two.ended(call_id)["attempts"]) == 1
    assert len(receiver.deliveries) == len(calls)


def test_a_server_runs_calls_of_functions_that_it_has_not_heard_of(pair: Pair) -> None:
    one = Altair(pair.clients[0])
    # Accepted at once after the deploy, and more than one server runs at a time.
    name = one.running("slow-new", SLOW)

    def both_ran() -> bool:
        """One that is held up may find that the other has done all."""
        started = [one.start(name, b"kept") for _ in range(16)]
        ended = [one.ended(call_id) for call_id in started]
        assert {(call["status"], call["result"]["body"]) for call in ended} == {("succeeded", "kept")}
        return all(_ran(client, name) for client in pair.clients)

    wait_until(both_ran, what="calls on both servers")


def test_a_killed_servers_calls_are_taken_over_when_their_lease_ends(pair: Pair, receiver: Receiver) -> None:
    one = Altair(pair.clients[0])
    with pair.start("three") as third, third.client() as client:
        altair = Altair(client)
        call_id = altair.start(altair.running("slow-taken", SLOW), b"taken over", receiver.url)
        wait_until(lambda: altair.status(call_id)["status"] == "running", what="the start")
        third.kill()
    assert one.status(call_id)["status"] == "running"

    status = one.ended(call_id)

    assert (status["status"], status["result"]["body"]) == ("succeeded", "taken over")
    assert [attempt["error"] for attempt in status["attempts"]] == ["the server ended while it ran", None]
    (delivery,) = receiver.wait()
    assert (delivery.body, delivery.headers["webhook-id"]) == (b"taken over", call_id)


def test_deploys_secrets_and_deletes_reach_the_other_server(pair: Pair) -> None:
    one, two = (Kapso(client) for client in pair.clients)
    function_id = one.deployed("export default (request, env) => new Response('first ' + env.WORD);", "Seen")

    def seen() -> str:
        return two.invoke(function_id).text

    wait_until(lambda: seen() == "first undefined", what="the deploy")
    secret = {"secret": {"name": "WORD", "value": "hush"}}
    assert one.client.post(f"{one.base}/functions/{function_id}/secrets", json=secret).status_code == 201
    wait_until(lambda: seen() == "first hush", what="the secret")
    changed = Kapso.body(code="export default () => new Response('second');")
    assert one.client.patch(f"{one.base}/functions/{function_id}", content=changed).status_code == 200
    one.deploy(function_id)
    wait_until(lambda: seen() == "second", what="the second deploy")
    assert one.client.delete(f"{one.base}/functions/{function_id}").status_code < 300
    wait_until(lambda: two.invoke(function_id).status_code == 404, what="the delete")


def test_a_project_and_its_keys_reach_the_other_server(pair: Pair) -> None:
    one, two = pair.clients
    assert one.post("/isolet/v1/projects", json={"slug": "shared"}).status_code == 201
    made = one.post("/isolet/v1/projects/shared/keys", json={"name": "k", "role": "admin"}).json()

    def asked() -> httpx.Response:
        return two.get("/spaces/shared/functions", headers={"X-API-Key": made["key"]})

    wait_until(lambda: asked().status_code == 200, what="the key")
    assert one.delete(f"/isolet/v1/projects/shared/keys/{made['id']}").status_code == 204
    wait_until(lambda: asked().status_code == 401, what="the end of the key")
    assert one.delete("/isolet/v1/projects/shared").status_code == 204
    wait_until(lambda: two.get("/isolet/v1/projects/shared").status_code == 404, what="the end of the project")
