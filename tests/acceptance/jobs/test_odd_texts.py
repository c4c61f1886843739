"""Whatever text a function makes: its calls end, their callbacks arrive, and both databases keep what is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.altair import SharedAltair
from tests.support.receiver import Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until

THROWN = {
    "a lone surrogate": "'b\\ud800'",
    "two halves the wrong way round": "'\\udc00\\ud800'",
    "nul": "'a\\0b'",
    "controls": "'a\\r\\n\\x1b[31m\\x7f'",
    "hundred kb": "'\\ud83d\\ude00'.repeat(50_000)",
    "another alphabet": "'日本 \\ud800'",
}
THROWS = f"""const texts = [{", ".join(THROWN.values())}];
export default async (request) => {{ throw new Error(texts[await request.text()]); }}"""
# An error's own name is text of the function's, too.
NAMED = """export default () => {
  const error = new Error("x");
  error.name = "N\\ud800\\0"; error.stack = "S\\ud800\\0 at f (function.js:1:1)";
  throw error;
}"""
REPLIES = """export default () => new Response("b\\ud800\\0" + "é".repeat(60_000),
  { status: 599, headers: { "x-own": "caf\\u00e9" } });"""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedAltair]:
    settings: dict[str, Any] = {"egress_allow": "127.0.0.0/8"}
    folder: Path = tmp_path_factory.mktemp("odd")
    if request.param == "sqlite":
        with Server(folder / "data", **settings) as server, server.client() as client:
            yield SharedAltair(client, "default")
        return
    with (
        request.getfixturevalue("postgres").temporary() as url,
        Server(folder / "data", database_url=url, **settings) as server,
        server.client() as client,
    ):
        yield SharedAltair(client, "default")


@pytest.mark.parametrize("thrown", THROWN)
def test_a_call_that_throws_it_fails_and_tells_so(odd: SharedAltair, receiver: Receiver, thrown: str) -> None:
    name = odd.running("throws", THROWS)

    call_id = odd.start(name, str([*THROWN].index(thrown)).encode(), receiver.url)

    told = odd.ended(call_id)
    assert (told["status"], told["result"]["status"]) == ("failed", 500)
    assert 0 < len(told["error"]) <= 512
    assert told["attempts"][-1]["error"] == told["error"]
    (delivery,) = receiver.wait()
    assert delivery.headers["x-function-status"] == "500"


@pytest.mark.parametrize(("code", "status"), [(NAMED, 500), (REPLIES, 599)])
def test_names_stacks_headers_and_bodies_are_kept_and_called_back(
    odd: SharedAltair, receiver: Receiver, code: str, status: int
) -> None:
    call_id = odd.start(odd.running(f"odd-{status}", code), b"x", receiver.url)

    told = odd.ended(call_id)
    assert (told["status"], told["result"]["status"]) == ("failed", status), told["error"]
    (delivery,) = receiver.wait()
    assert delivery.headers["x-function-status"] == str(status)


# Lone halves of surrogate pairs, NUL, controls, an alphabet, and more of it than anything keeps.
STORED = r"""
const text = "a\ud800b\udc00 c\u0000d \u0007\u001b[31m\u2028\u0085 \u65e5\u672c " + "y".repeat(100_000);
export default () => {
  console.log(text);
  console.error(new Error(text));
  const error = new Error(text);
  error.name = text;
  error.stack = `S ${text}\n    at f (${text}:1:1)`;
  throw error;
};"""
EXTRA = "/%00%ff%ed%a0%80/\u65e5?q=%00%ff"


def test_what_is_asked_for_by_a_name_that_no_database_holds_is_not_found(odd: SharedAltair) -> None:
    name = odd.running("named", "export default () => new Response()")
    listed = odd.client.get("/isolet/v1/functions", params={"project": "default"}).json()["data"]
    (function_id,) = (function["id"] for function in listed if function["slug"] == name)
    for method, path in (
        ("DELETE", f"/platform/v1/functions/{function_id}/secrets/%00"),
        ("DELETE", f"/isolet/v1/functions/{function_id}/secrets/a%00"),
        ("GET", "/isolet/v1/projects/default/functions/%00"),
        ("DELETE", "/v1/default/functions/%00"),
        ("GET", "/platform/v1/workflows/%00"),
    ):
        assert odd.client.request(method, path).status_code == 404, path


def test_odd_text_is_kept_by_each_database(odd: SharedAltair, receiver: Receiver) -> None:
    """Of a call that was made at once, and of one that was queued."""
    name = odd.running("stored", STORED)
    headers = {"X-Odd": b"caf\xe9 \xff\xed\xa0\x80"}
    reply = odd.invoke(name, EXTRA, headers=headers, content=b"\x00\xff\xed\xa0\x80")
    assert reply.status_code == 500
    check(odd.client, reply.headers["x-invocation-id"])
    queued = odd.start(name, b"\x00\xff", receiver.url, EXTRA)
    wait_until(lambda: receiver.deliveries, what="the callback")
    check(odd.client, queued)
    (delivery,) = receiver.deliveries
    assert json.loads(delivery.body)["error"]["message"]


def check(client: httpx.Client, call: str) -> None:
    """The record is whole, though a call at once is recorded a moment later."""

    def ended() -> dict[str, Any] | None:
        reply = client.get(f"/isolet/v1/invocations/{call}")
        found = dict(reply.json()) if reply.status_code == 200 else {}
        return found if found.get("status") == "failed" and len(found["console"]) == 2 else None

    found = wait_until(ended, what="the record")
    assert found is not None
    assert found["error"].startswith("a\ufffdb\ufffd c")
    assert [line["message"][:3] for line in found["console"]] == ["a\ufffdb", "Err"]
    listed = client.get("/isolet/v1/invocations", params={"limit": 10}).json()["data"]
    assert call in [item["id"] for item in listed]
