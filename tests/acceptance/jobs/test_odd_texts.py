"""Whatever text a function makes: its asynchronous calls end, and their callbacks arrive, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.altair import Altair
from tests.support.receiver import Receiver
from tests.support.server import Server

THROWN = {
    "a lone surrogate": "'b\\ud800'",
    "two halves the wrong way round": "'\\udc00\\ud800'",
    "nul": "'a\\0b'",
    "controls": "'a\\r\\n\\x1b[31m\\x7f'",
    "hundred kb": "'\\ud83d\\ude00'.repeat(50_000)",
    "another alphabet": "'日本 \\ud800'",
}
THROWS = "export default () => {{ throw new Error({text}); }}"
# An error's own name is text of the function's, too.
NAMED = """export default () => {
  const error = new Error("x");
  error.name = "N\\ud800\\0"; error.stack = "S\\ud800\\0 at f (function.js:1:1)";
  throw error;
}"""
REPLIES = """export default () => new Response("b\\ud800\\0" + "é".repeat(60_000),
  { status: 599, headers: { "x-own": "caf\\u00e9" } });"""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Altair]:
    settings: dict[str, Any] = {"egress_allow": "127.0.0.0/8"}
    folder: Path = tmp_path_factory.mktemp("odd")
    if request.param == "sqlite":
        with Server(folder / "data", **settings) as server, server.client() as client:
            yield Altair(client)
        return
    with (
        request.getfixturevalue("postgres").temporary() as url,
        Server(folder / "data", database_url=url, **settings) as server,
        server.client() as client,
    ):
        yield Altair(client)


@pytest.mark.parametrize("thrown", THROWN)
def test_a_call_that_throws_it_fails_and_tells_so(odd: Altair, receiver: Receiver, thrown: str) -> None:
    name = odd.running("throws-" + thrown.replace(" ", "-"), THROWS.format(text=THROWN[thrown]))

    call_id = odd.start(name, b"x", receiver.url)

    told = odd.ended(call_id)
    assert (told["status"], told["result"]["status"]) == ("failed", 500)
    assert 0 < len(told["error"]) <= 512
    assert told["attempts"][-1]["error"] == told["error"]
    (delivery,) = receiver.wait()
    assert delivery.headers["x-function-status"] == "500"


@pytest.mark.parametrize(("code", "status"), [(NAMED, 500), (REPLIES, 599)])
def test_names_stacks_headers_and_bodies_are_kept_and_called_back(
    odd: Altair, receiver: Receiver, code: str, status: int
) -> None:
    call_id = odd.start(odd.running(f"odd-{status}", code), b"x", receiver.url)

    told = odd.ended(call_id)
    assert (told["status"], told["result"]["status"]) == ("failed", status), told["error"]
    (delivery,) = receiver.wait()
    assert delivery.headers["x-function-status"] == str(status)
