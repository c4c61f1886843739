"""A function that answers before it has read its request: its answer is the reply, however much was still to come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.doors import DOORS, Doors
from tests.support.projects import new_project
from tests.support.server import Server
from tests.support.waiting import wait_until

EARLY = 'export default { fetch() { return new Response("unauthorized", { status: 401 }); } }'
SIZE = 2_000_000
BODY = b'"' + b"x" * (SIZE - 2) + b'"'
ROUNDS = 12


@pytest.fixture(scope="module")
def doors(server: Server) -> Iterator[Doors]:
    with server.client() as root, new_project(server, root) as project:
        yield Doors(project, EARLY)


def upload(doors: Doors, door: str, framing: str) -> bytes:
    if framing == "length":
        return doors.head(door, b"Content-Length: %d" % SIZE, b"Connection: close") + BODY
    chunks = b"".join(b"2710\r\n%b\r\n" % BODY[at : at + 10_000] for at in range(0, SIZE, 10_000))
    return doors.head(door, b"Transfer-Encoding: chunked", b"Connection: close") + chunks + b"0\r\n\r\n"


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("door", DOORS)
def test_an_early_answer_to_an_upload_is_the_reply(doors: Doors, door: str, framing: str) -> None:
    data = upload(doors, door, framing)
    replies = [doors.send(data) for _ in range(ROUNDS)]
    assert {(reply.status, reply.body) for reply in replies} == {(401, b"unauthorized")}

    ids = [reply.headers["x-invocation-id"] for reply in replies]

    def recorded() -> list[Any]:
        found = [doors.project.client.get(f"/isolet/v1/invocations/{one}") for one in ids]
        return [reply.json() for reply in found if reply.status_code == 200] if all(found) else []

    records = wait_until(lambda: records if len(records := recorded()) == ROUNDS else [], what="the records")
    assert {(record["status_code"], record["error"]) for record in records} == {(401, None)}


def test_an_upload_that_is_read_arrives_whole(doors: Doors) -> None:
    count = "export default { async fetch(request) { return new Response((await request.bytes()).length); } }"
    counting = Doors(doors.project, count, "count")
    for framing in ("length", "chunked"):
        reply = counting.send(upload(counting, "butterbase", framing))
        assert (reply.status, reply.body) == (200, str(SIZE).encode())
