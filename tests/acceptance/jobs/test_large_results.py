"""Results of asynchronous calls are shown whole, however large, and nobody has to hold them for it."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.support.altair import Altair
from tests.support.projects import new_project
from tests.support.server import Server
from tests.support.waiting import wait_until

PART = 524_288
_MB = 1024 * 1024
BACK = "export default async (request) => new Response(await request.arrayBuffer(), { headers: { 'x-a': 'b' } });"
CONTROL = "export default () => new Response('\\u0001'.repeat(6 * 1024 * 1024));"


@pytest.fixture(scope="module")
def back(server: Server, root: httpx.Client) -> Iterator[tuple[Altair, str]]:
    """A function that sends back what it gets, which tests only call."""
    with new_project(server, root) as project:
        altair = Altair(project.client, project.slug)
        yield altair, altair.running("back", BACK)


def shown(altair: Altair, invocation_id: str) -> dict[str, object]:
    altair.ended(invocation_id)
    return dict(altair.status(invocation_id)["result"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        'small "text" \\ \u2028 \x00 \U0001f600',
        "x" * PART,
        "x" * (PART - 1) + "é" * 3,
        "x" * (PART - 2) + "\U0001f600" * (PART // 2),
        '"\\\x01\n' * PART,
    ],
    ids=["none", "small", "part", "two-bytes", "four-bytes", "escapes"],
)
def test_a_text_is_shown_as_it_is(back: tuple[Altair, str], text: str) -> None:
    altair, name = back

    result = shown(altair, altair.start(name, text.encode()))

    assert (result["status"], result["encoding"]) == (200, "utf-8")
    assert result["body"] == text
    headers = result["headers"]
    assert isinstance(headers, list)
    assert ["x-a", "b"] in headers


@pytest.mark.parametrize("size", [1, 100, PART - 1, PART, PART + 1, 3 * PART + 2])
@pytest.mark.parametrize("where", ["first", "last"])
def test_what_is_no_text_is_shown_in_base64(back: tuple[Altair, str], size: int, where: str) -> None:
    altair, name = back
    content = b"\xff" + b"a" * (size - 1) if where == "first" else b"a" * (size - 1) + b"\xc3"

    result = shown(altair, altair.start(name, content))

    assert result["encoding"] == "base64"
    assert base64.b64decode(str(result["body"]), validate=True) == content


def test_what_is_shown_has_all_that_is_known_of_the_call(back: tuple[Altair, str]) -> None:
    altair, name = back
    small, large = (altair.start(name, b"x" * size) for size in (10, PART + 1))
    for invocation_id in (small, large):
        altair.ended(invocation_id)
        wait_until(lambda id_=invocation_id: altair.status(id_).get("outcome"), what="the record")  # type: ignore[misc]

    first, second = altair.status(small), altair.status(large)

    assert set(first) == set(second)
    assert second["status"] == "succeeded"
    cancelled = altair.client.post(f"/isolet/v1/invocations/{large}/cancel")
    assert (cancelled.status_code, cancelled.json()["error"]["code"]) == (409, "conflict")


def test_many_who_ask_for_a_large_result_and_take_none_of_it_cost_little(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, server.client() as client:
        altair = Altair(client)
        name = altair.running("control", CONTROL)
        invocation_id = altair.start(name)
        assert altair.ended(invocation_id)["status"] == "succeeded"
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        address = urlsplit(server.url)
        head = f"GET /isolet/v1/invocations/{invocation_id} HTTP/1.1\r\nhost: a\r\nx-api-key: {server.root_key}\r\n\r\n"
        with ExitStack() as stack:
            asked = [
                stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=120))
                for _ in range(10)
            ]
            for connection in asked:
                connection.sendall(head.encode())
            for connection in asked:
                assert connection.recv(12) == b"HTTP/1.1 200"
            held = process.memory_info().rss - before
            # All of them at once were 10 texts of 36 MB.
            assert held < 200 * _MB, held
            assert httpx.get(f"{server.url}/healthz", timeout=60, trust_env=False).status_code == 200
        body = json.loads(client.get(f"/isolet/v1/invocations/{invocation_id}").content)["result"]["body"]
        assert (len(body), set(body)) == (6 * _MB, {"\x01"})
