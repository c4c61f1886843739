"""Messages of channels over restarts of a server, and between servers on one PostgreSQL."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.postgres import Postgres
from tests.support.realtime import Live, publish, set_rules
from tests.support.server import Server
from tests.support.waiting import wait_until

PROJECT = "default"


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> Iterator[str]:
    with postgres.temporary() as url:
        yield url


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[list[Server]]:
    folder = tmp_path_factory.mktemp("pair")
    shared = {"database_url": database, "master_key": base64.b64encode(bytes(32)).decode()}
    with ExitStack() as stack:
        started = [Server(folder / name, **shared) for name in ("one", "two")]
        yield [stack.enter_context(server) for server in started]


@pytest.fixture(scope="module")
def clients(servers: list[Server]) -> Iterator[list[httpx.Client]]:
    with ExitStack() as stack:
        yield [stack.enter_context(server.client()) for server in servers]


def live(server: Server) -> Live:
    return Live(server.url, PROJECT, token=server.root_key)


def test_what_both_servers_publish_reaches_the_clients_of_both_in_one_order(
    servers: list[Server], clients: list[httpx.Client]
) -> None:
    with live(servers[0]) as one, live(servers[1]) as two, ThreadPoolExecutor(8) as pool:
        for connection in (one, two):
            assert connection.ask(type="subscribe", channel="both")["type"] == "subscribed"
        numbers = list(pool.map(lambda n: publish(clients[n % 2], PROJECT, "both", "said", n), range(60)))
        came = [[connection.next() for _ in range(60)] for connection in (one, two)]

    assert sorted(numbers) == list(range(1, 61))
    assert came[0] == came[1]
    assert [frame["seq"] for frame in came[0]] == list(range(1, 61))
    assert {frame["data"]: frame["seq"] for frame in came[0]} == dict(enumerate(numbers))


def test_a_server_that_did_not_hear_for_a_while_reads_what_it_missed(
    servers: list[Server], clients: list[httpx.Client], database: str
) -> None:
    with live(servers[1]) as connection, psycopg.connect(database, autocommit=True) as operator:
        connection.ask(type="subscribe", channel="deaf")
        listening = "SELECT pid FROM pg_stat_activity WHERE query ILIKE 'LISTEN%isolet_realtime%'"
        deaf = operator.execute(listening).fetchall()
        assert len(deaf) == 2
        for (pid,) in deaf:
            operator.execute("SELECT pg_terminate_backend(%s)", [pid])
        for number in range(5):
            publish(clients[0], PROJECT, "deaf", "said", number)
        assert [connection.next()["data"] for _ in range(5)] == list(range(5))
        wait_until(lambda: len(operator.execute(listening).fetchall()) == 2, what="both servers listening again")
        publish(clients[0], PROJECT, "deaf", "said", "after")
        assert connection.next()["data"] == "after"


def test_settings_of_one_server_are_those_of_the_other(servers: list[Server], clients: list[httpx.Client]) -> None:
    path = f"/isolet/v1/projects/{PROJECT}/realtime/settings"
    assert set_rules(clients[0], PROJECT, subscribe="public").status_code == 200
    wait_until(lambda: clients[1].get(path).json()["subscribe"] == "public", what="the settings on the other server")


def test_a_client_loses_nothing_over_a_restart(tmp_path: Path) -> None:
    for run in range(3):
        with Server(tmp_path / "data") as server, server.client() as client:
            publish(client, PROJECT, "room", "said", f"early {run}")
            with live(server) as connection:
                assert connection.ask(type="subscribe", channel="room", since=2 * run)["type"] == "subscribed"
                assert (connection.next()["data"], publish(client, PROJECT, "room", "said", run)) == (
                    f"early {run}",
                    2 * run + 2,
                )
                assert connection.next()["seq"] == 2 * run + 2
                server.process.terminate() if run == 1 else server.kill()
                if run == 1:
                    assert connection.until_closed() == ([], 1001, "Server shutting down")
