"""Text that a database could refuse, on each of them: in everything that is kept of a call, made at once or queued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.altair import Altair
from tests.support.postgres import Postgres
from tests.support.receiver import Receiver
from tests.support.server import Server
from tests.support.waiting import wait_until

# Lone halves of surrogate pairs, NUL, controls, an alphabet, and more of it than anything keeps.
ODD = r"""
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


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_odd_text_is_kept_by_each_database(tmp_path: Path, kind: str, postgres: Postgres, receiver: Receiver) -> None:
    with postgres.temporary() as url:
        settings: dict[str, Any] = {"egress_allow": "127.0.0.0/8", "drain_timeout_s": 0}
        if kind == "postgresql":
            settings["database_url"] = url
        with Server(tmp_path / "data", **settings) as server, server.client() as client:
            altair = Altair(client)
            name = altair.running("odd", ODD)
            headers = {"X-Odd": b"caf\xe9 \xff\xed\xa0\x80"}
            reply = altair.invoke(name, EXTRA, headers=headers, content=b"\x00\xff\xed\xa0\x80")
            assert reply.status_code == 500
            check(client, reply.headers["x-invocation-id"])
            queued = altair.start(name, b"\x00\xff", receiver.url, EXTRA)
            wait_until(lambda: receiver.deliveries, what="the callback")
            check(client, queued)
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
