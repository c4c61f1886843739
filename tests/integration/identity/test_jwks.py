"""Key sets behind an address: one fetch for all who wait, whatever the server of keys does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from joserfc.jwk import OKPKey

from isolet.identity.jwks import RemoteKeys
from isolet.ids import ProjectId
from isolet.runtime.egress import Egresses
from tests.support.runtime import Runtime


class KeyServer:
    """Answers with the public halves of `keys`, or with `status`, once `go` is set."""

    def __init__(self) -> None:
        self.asked = 0
        self.status = 200
        self.keys = [OKPKey.generate_key("Ed25519", {"kid": "first"})]
        self.go = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            await self.go.wait()
            body = json.dumps({"keys": [key.as_dict(private=False) for key in self.keys]}).encode()
            head = f"HTTP/1.1 {self.status} Told\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    made = KeyServer()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with listening:
        made.url = "http://{}:{}/keys".format(*listening.sockets[0].getsockname())
        yield made
        made.go.set()


@pytest.fixture
async def egresses(runtime: Runtime) -> AsyncIterator[Egresses]:
    made = runtime.egresses("127.0.0.1/32")
    yield made
    await made.close()


async def asked(server: KeyServer, times: int) -> None:
    async with asyncio.timeout(30):
        while server.asked < times:
            await asyncio.sleep(0.01)


async def test_who_comes_during_the_first_fetch_waits_for_it(server: KeyServer, egresses: Egresses) -> None:
    remote = RemoteKeys(server.url, ProjectId("a"), egresses)
    callers = [asyncio.ensure_future(remote.keys("first")) for _ in range(3)]
    await asked(server, 1)
    callers.append(asyncio.ensure_future(remote.keys("first")))
    callers.pop(0).cancel()
    server.go.set()
    found = await asyncio.gather(*callers)
    assert [keys is not None and [key.kid for key in keys.keys] for keys in found] == [["first"]] * 3
    assert server.asked == 1


async def test_a_failure_is_remembered_for_a_while(server: KeyServer, egresses: Egresses) -> None:
    remote = RemoteKeys(server.url, ProjectId("a"), egresses)
    server.status = 500
    server.go.set()
    assert await asyncio.gather(*(remote.keys("first") for _ in range(3))) == [None] * 3
    assert await remote.keys("first") is None
    assert server.asked == 1


async def test_who_needs_a_key_that_came_by_rotation_waits_for_it(
    server: KeyServer, egresses: Egresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isolet.identity.jwks._ASK_AGAIN_S", 0.0)
    remote = RemoteKeys(server.url, ProjectId("a"), egresses)
    server.go.set()
    assert await remote.keys("first") is not None
    server.go.clear()
    server.keys = [OKPKey.generate_key("Ed25519", {"kid": "second"})]
    callers = [asyncio.ensure_future(remote.keys("second")) for _ in range(4)]
    await asked(server, 2)
    # Who needs a key that is known does not wait.
    assert await remote.keys("first") is not None
    server.go.set()
    found = await asyncio.gather(*callers)
    assert [keys is not None and [key.kid for key in keys.keys] for keys in found] == [["second"]] * 4


async def test_a_server_of_keys_that_does_not_answer_holds_its_own_project_only(
    server: KeyServer, egresses: Egresses
) -> None:
    other = KeyServer()
    other.go.set()
    listening = await asyncio.start_server(other.serve, "127.0.0.1", 0)
    async with listening:
        url = "http://{}:{}/keys".format(*listening.sockets[0].getsockname())
        waiting = [asyncio.ensure_future(RemoteKeys(server.url, ProjectId("a"), egresses).keys("x")) for _ in range(20)]
        await asked(server, 1)
        assert await RemoteKeys(url, ProjectId("b"), egresses).keys("first") is not None
        for task in waiting:
            task.cancel()
