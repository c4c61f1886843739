"""DNS rebinding: a name that leads to an allowed address when it is checked and inside when it is connected to.

127.0.0.2, which the operator allowed, stands for the public address; 127.0.0.1 is inside.
"""

from __future__ import annotations

import errno
import http.server
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.altair import Altair
from tests.support.kapso import Kapso
from tests.support.names import Names, asking
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.world import serving

OUTSIDE, INSIDE = "127.0.0.2", "127.0.0.1"
FETCHES = """async function handler(request) {
  const reply = await fetch(await request.json());
  return Response.json({ status: reply.status, text: await reply.text() });
}"""
CONNECTS = """import { connect } from "cloudflare:sockets";
export default { async fetch(request) {
  try {
    const socket = connect(await request.json());
    const writer = socket.writable.getWriter();
    await writer.write(new TextEncoder().encode("GET / HTTP/1.0\\r\\n\\r\\n"));
    return new Response(await new Response(socket.readable).text());
  } catch (error) {
    return new Response(String(error));
  }
} }"""
ECHO = "export default async (request) => new Response(await request.text());"


class Site(http.server.ThreadingHTTPServer):
    """Answers with its own address; a POST with 503, so that a callback is tried again. `seen` counts requests."""

    daemon_threads = True

    def __init__(self, address: str, port: int) -> None:
        super().__init__((address, port), _Handler)
        self.seen = 0


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self._answer(200)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(503)

    def _answer(self, status: int) -> None:
        self.server.seen += 1
        body = self.server.server_address[0].encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


def _sites() -> tuple[Site, Site]:
    """Outside and inside, on a port that is free on both."""
    while True:
        outside = Site(OUTSIDE, 0)
        try:
            return outside, Site(INSIDE, outside.server_port)
        except OSError as exc:
            outside.server_close()
            if exc.errno != errno.EADDRINUSE:
                raise


class Rebinder:
    """A server, the two sites on one port, and what the next questions for a name are answered with."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.answers: dict[str, Iterator[Sequence[str]]] = {}
        try:
            self.names = stack.enter_context(Names(lambda name: next(self.answers[name], ())))
        except PermissionError:
            pytest.skip("only root may listen on port 53, where resolvers ask")
        self.outside, self.inside = _sites()
        self.port = self.outside.server_port
        stack.enter_context(serving(self.outside))
        stack.enter_context(serving(self.inside))
        self.server = stack.enter_context(
            Server(
                folder / "data",
                wrapper=asking(self.names, folder),
                egress_allow=f"{OUTSIDE}/32",
                callback_http="true",
                callback_schedule_s="0,0.1",
            )
        )
        self.client = stack.enter_context(self.server.client())

    def name(self, label: str, *answers: Sequence[str]) -> str:
        """The URL of a new name that has these answers, one after the other."""
        self.answers[f"{label}.example"] = iter(answers)
        return f"http://{label}.example:{self.port}/"


@pytest.fixture(scope="module")
def rebinder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rebinder]:
    with ExitStack() as stack:
        made = Rebinder(tmp_path_factory.mktemp("rebinding"), stack)
        yield made
        left = made.server.children()
    assert left
    assert not [process for process in left if process.is_running()]


@pytest.fixture(scope="module")
def fetch(rebinder: Rebinder) -> Callable[[str], dict[str, Any]]:
    kapso = Kapso(rebinder.client)
    function_id = kapso.deployed(FETCHES)
    return lambda url: dict(kapso.invoke(function_id, url).json())


def test_the_address_that_was_checked_is_the_one_connected_to(
    rebinder: Rebinder, fetch: Callable[[str], dict[str, Any]]
) -> None:
    """Were the name asked for again to connect, the second answer would be used."""
    url = rebinder.name("turns", [OUTSIDE], [INSIDE])
    before = rebinder.names.asked.count("turns.example")

    reply = fetch(url)

    assert reply == {"status": 200, "text": OUTSIDE}
    assert rebinder.names.asked.count("turns.example") == before + 1
    assert rebinder.inside.seen == 0


def test_a_name_that_has_turned_inside_is_refused(rebinder: Rebinder, fetch: Callable[[str], dict[str, Any]]) -> None:
    url = rebinder.name("turned", [INSIDE], [INSIDE])

    reply = fetch(url)

    assert reply["status"] == 403
    assert f"it leads to {INSIDE}, the address is refused" in reply["text"]
    assert rebinder.inside.seen == 0


def test_a_second_address_of_a_name_is_checked_when_the_first_does_not_answer(
    rebinder: Rebinder, fetch: Callable[[str], dict[str, Any]]
) -> None:
    site = Site(INSIDE, 0)
    with serving(site):
        url = rebinder.name("both", [OUTSIDE, INSIDE], [OUTSIDE, INSIDE])
        reply = fetch(url.replace(f":{rebinder.port}/", f":{site.server_port}/"))

    assert reply["status"] == 502
    assert reply["text"].startswith("cannot fetch both.example:")
    assert site.seen == 0


def test_a_tcp_connection_goes_to_the_address_that_was_checked(rebinder: Rebinder) -> None:
    kapso = Kapso(rebinder.client)
    function_id = kapso.deployed(CONNECTS)
    rebinder.name("tcp", [OUTSIDE], [INSIDE])

    told = [kapso.invoke(function_id, f"tcp.example:{rebinder.port}").text for _ in range(2)]

    assert told[0].endswith(OUTSIDE)
    assert "cannot connect to the specified address" in told[1]
    assert rebinder.inside.seen == 0


def test_a_callback_whose_name_turns_inside_between_attempts_is_refused(rebinder: Rebinder) -> None:
    altair = Altair(rebinder.client)
    name = altair.running("echo", ECHO)
    url = rebinder.name("hook", [OUTSIDE], [INSIDE], [INSIDE])
    seen = rebinder.outside.seen

    call_id = altair.start(name, b"result", url)

    def ended() -> dict[str, Any] | None:
        callback = altair.status(call_id)["callback"]
        return callback if callback and callback["status"] == "failed" else None

    callback = wait_until(ended, what="the end of the delivery")
    assert callback is not None
    first, second = callback["attempts"]
    assert (first["status"], first["error"]) == (503, "the receiver answered 503")
    assert (second["status"], second["error"]) == (
        None,
        f"cannot fetch hook.example:{rebinder.port}: it leads to {INSIDE}, the address is refused, functions may "
        "reach public addresses only",
    )
    assert rebinder.outside.seen == seen + 1
    assert rebinder.inside.seen == 0
