"""Bodies that stream, callers that leave, and versions that change while calls run."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.kapso import Kapso
from tests.support.server import Server
from tests.support.waiting import wait_until

TWO_PARTS = """
async function handler(request) {
  const { wait } = await request.json();
  const encoder = new TextEncoder();
  return new Response(new ReadableStream({
    async start(controller) {
      controller.enqueue(encoder.encode("first of VERSION\\n"));
      await scheduler.wait(wait);
      controller.enqueue(encoder.encode("last of VERSION\\n"));
      controller.close();
    },
  }), { headers: { "content-type": "text/event-stream" } });
}
"""


@contextmanager
def streamed(kapso: Kapso, function_id: str, wait: int) -> Iterator[Iterator[str]]:
    """The parts of a call's reply, as they come."""
    path = f"{kapso.base}/functions/{function_id}/invoke"
    with kapso.client.stream("POST", path, json={"wait": wait}) as reply:
        assert reply.status_code == 200
        yield reply.iter_text()


def test_a_reply_arrives_piece_by_piece(api: Kapso) -> None:
    # The second part is sent once another call asks for it, which comes after the first part has arrived.
    code = """
    let open = false;
    async function handler(request) {
      const { go } = await request.json();
      if (go) {
        open = true;
        return new Response("gone");
      }
      const encoder = new TextEncoder();
      return new Response(new ReadableStream({
        async start(controller) {
          controller.enqueue(encoder.encode("first, "));
          while (!open) await scheduler.wait(5);
          controller.enqueue(encoder.encode("last"));
          controller.close();
        },
      }));
    }"""
    function_id = api.deployed(code)

    with api.client.stream("POST", f"{api.base}/functions/{function_id}/invoke", json={}) as reply:
        parts = reply.iter_text()
        assert next(parts) == "first, "
        came = time.monotonic()
        api.get(function_id)
        # It has begun before that, and ends after it.
        between_ms = (time.monotonic() - came) * 1000
        assert api.invoke(function_id, {"go": True}).text == "gone"
        assert "".join(parts) == "last"

    item = next(item for item in api.invocations(function_id) if item["response_body"] != "gone")
    assert item["duration_ms"] >= int(between_ms)
    assert item["response_body"] == "first, last"


def test_ten_megabytes_pass_both_ways_byte_for_byte(platform: Kapso) -> None:
    code = """
    import { Buffer } from "node:buffer";
    async function handler(request) {
      return new Response(Buffer.from(await request.json(), "base64"),
        { headers: { "content-type": "application/octet-stream" } });
    }"""
    data = os.urandom(10 * 1024 * 1024)
    function_id = platform.deployed(code, runtime_config={"memory": 512})

    reply = platform.client.post(
        f"/platform/v1/functions/{function_id}/invoke", content=json.dumps(base64.b64encode(data).decode())
    )

    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/octet-stream")
    assert reply.content == data


def test_a_long_reply_is_not_held_in_memory(platform: Kapso, server: Server) -> None:
    code = """
    function handler() {
      const part = new Uint8Array(65536);
      let left = 1024;
      return new Response(new ReadableStream({
        pull(controller) { if (left-- > 0) controller.enqueue(part); else controller.close(); },
      }));
    }"""
    function_id = platform.deployed(code)
    size, biggest = 0, 0
    before = memory(server)

    with platform.client.stream("POST", f"/platform/v1/functions/{function_id}/invoke", json={}) as reply:
        for part in reply.iter_raw():
            size += len(part)
            biggest = max(biggest, memory(server))

    assert size == 1024 * 65536
    assert biggest - before < 32 * 1024 * 1024


def memory(server: Server) -> int:
    """Resident bytes of the server itself."""
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


def test_a_stream_that_breaks_is_cut_and_recorded_as_failed(platform: Kapso) -> None:
    code = """
    function handler() {
      return new Response(new ReadableStream({
        start(controller) { controller.enqueue(new TextEncoder().encode("part")); },
        async pull() { await scheduler.wait(100); throw new Error("broke"); },
      }));
    }"""
    function_id = platform.deployed(code)

    with (
        pytest.raises(httpx.RemoteProtocolError),
        platform.client.stream("POST", f"/platform/v1/functions/{function_id}/invoke", json={}) as reply,
    ):
        reply.read()

    (item,) = platform.invocations(function_id, status="failed")
    assert item["id"] == reply.headers["x-invocation-id"]
    assert (item["response_body"], "broke its reply off" in item["error_message"]) == ("part", True)


def test_a_caller_that_leaves_cancels_its_call(platform: Kapso, server: Server) -> None:
    code = """
    let began = 0, finished = 0;
    async function handler(request) {
      if ((await request.json()).wait) {
        began = Date.now();
        await scheduler.wait(4000);
        finished += 1;
      }
      return Response.json({ began, finished, for_ms: Date.now() - began });
    }"""
    function_id = platform.deployed(code)

    def look() -> dict[str, int]:
        return dict(platform.invoke(function_id, {"wait": False}).json())

    with leaving(server, platform, function_id, b'{"wait": true}'):
        wait_until(lambda: look()["began"], what="the call")

    (item,) = wait_until(lambda: platform.invocations(function_id, status="failed"), what="the record")
    assert item["status_code"] == 499
    assert "left" in item["error_message"]
    wait_until(lambda: look()["for_ms"] > 4500, what="the time at which it would have finished")
    assert look()["finished"] == 0


@contextmanager
def leaving(server: Server, kapso: Kapso, function_id: str, body: bytes) -> Iterator[None]:
    """A call on a connection of its own, which ends with the block."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    path, key = f"{kapso.base}/functions/{function_id}/invoke", kapso.client.headers["x-api-key"]
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {path} HTTP/1.1\r\nhost: test\r\nx-api-key: {key}\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        yield


def test_a_caller_that_leaves_in_the_middle_of_a_reply_is_recorded(platform: Kapso, server: Server) -> None:
    function_id = platform.deployed(TWO_PARTS)
    with (
        server.client(platform.client.headers["x-api-key"]) as caller,
        streamed(Kapso(caller), function_id, 20_000) as parts,
    ):
        assert next(parts) == "first of VERSION\n"

    item = wait_until(lambda: platform.invocations(function_id), what="the record")[0]

    assert (item["status_code"], item["response_body"]) == (499, "first of VERSION\n")


def deploy_next(kapso: Kapso, function_id: str, version: int) -> None:
    code = TWO_PARTS.replace("VERSION", str(version))
    kapso.client.patch(f"{kapso.base}/functions/{function_id}", json={"function": {"code": code}})
    assert kapso.deploy(function_id)["status"] == "deployed"


def test_a_running_call_finishes_on_its_version_and_a_new_one_runs_the_new(api: Kapso) -> None:
    function_id = api.deployed(TWO_PARTS.replace("VERSION", "1"))

    with streamed(api, function_id, 800) as parts:
        assert next(parts) == "first of 1\n"
        deploy_next(api, function_id, 2)
        assert api.invoke(function_id, {"wait": 0}).text == "first of 2\nlast of 2\n"
        assert next(parts) == "last of 1\n"


def test_a_reply_that_outlives_its_version_says_so(platform: Kapso) -> None:
    code = """async function handler() {
      const part = new TextEncoder().encode("part");
      const pull = async (control) => { await scheduler.wait(200); control.enqueue(part); };
      return new Response(new ReadableStream({ pull }));
    }"""
    function_id = platform.deployed(code, runtime_config={"timeout": 3})
    with platform.client.stream("POST", f"/platform/v1/functions/{function_id}/invoke", json={}) as reply:
        parts = reply.iter_raw()
        assert next(parts)
        assert platform.deploy(function_id)["status"] == "deployed"
        with pytest.raises(httpx.RemoteProtocolError):
            list(parts)
    (item,) = wait_until(lambda: platform.invocations(function_id, status="failed"), what="the record")
    assert "took its version's place" in item["error_message"]


def test_redeploys_under_load_lose_no_call(platform: Kapso, server: Server) -> None:
    function_id = platform.deployed(TWO_PARTS.replace("VERSION", "1"))
    key = platform.client.headers["x-api-key"]
    stop = threading.Event()
    live, made = [1], Counter[int]()

    def caller(number: int) -> tuple[int, list[str]]:
        count, wrong = 0, []
        with server.client(key) as client:
            while not stop.is_set():
                least = live[0]
                reply = Kapso(client).invoke(function_id, {"wait": 5})
                count += 1
                made[number] = count
                parts = reply.text.split()
                versions = {int(number) for number in (parts[2:3] + parts[5:6])} if reply.status_code == 200 else set()
                if len(versions) != 1 or min(versions) < least:
                    wrong.append(f"{reply.status_code} {reply.text} after {least}")
        return count, wrong

    with ThreadPoolExecutor(4) as threads:
        callers = [threads.submit(caller, number) for number in range(4)]
        try:
            for version in range(2, 8):
                deploy_next(platform, function_id, version)
                live[0] = version
                # Each calls each version, and more than once.
                goal = {number: made[number] + 3 for number in range(4)}
                wait_until(lambda goal=goal: all(made[number] >= goal[number] for number in goal), what="the calls")
        finally:
            stop.set()
        results = [future.result() for future in callers]

    assert [wrong for _, wrong in results] == [[], [], [], []]
    assert all(count >= 18 for count, _ in results)


def test_a_graceful_stop_lets_running_calls_finish_and_refuses_new_ones(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, server.client() as client:
        kapso = Kapso(client)
        function_id = kapso.deployed(TWO_PARTS)
        with streamed(kapso, function_id, 2000) as parts:
            assert next(parts) == "first of VERSION\n"
            server.process.send_signal(signal.SIGTERM)
            assert wait_until(lambda: refused(server), what="the refusal")
            assert next(parts) == "last of VERSION\n"
        assert server.wait(60) == 0

    with Server(tmp_path / "data") as server, server.client() as client:
        (item,) = Kapso(client).invocations(function_id)
        assert (item["status_code"], item["duration_ms"] >= 1990) == (200, True)


def refused(server: Server) -> bool:
    """Whether the server takes no more connections."""
    try:
        httpx.get(f"{server.url}/healthz", timeout=1, trust_env=False)
    except httpx.TransportError:
        return True
    return False
