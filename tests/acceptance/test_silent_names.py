"""A project whose names nobody answers for delays no other project's."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.support.kapso import Kapso
from tests.support.names import Names, asking
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.world import World, serving

FETCHES = """async function handler(request) {
  const reply = await fetch(await request.json());
  return new Response(await reply.text());
}"""
# More than a process looks up at once.
LOOKS_UP = """async function handler(request) {
  await Promise.allSettled(Array.from({ length: 900 }, (_, i) => fetch(`http://n${i}.silent.example/`)));
  return new Response("done");
}"""
_AT_ONCE = 400
# Resolvers wait so long, a round of names: much longer than the other project takes.
_SILENCE_S = 30


@pytest.fixture
def names() -> Iterator[Names]:
    try:
        with Names(lambda name: None if name.endswith(".silent.example") else ["127.0.0.1"]) as served:
            yield served
    except PermissionError:
        pytest.skip("only root may listen on port 53, where resolvers ask")


def test_names_without_an_answer_delay_their_own_project_only(
    names: Names, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("names")
    with ExitStack() as stack:
        world = stack.enter_context(World())
        stack.enter_context(serving(world))
        server = stack.enter_context(
            Server(folder / "data", wrapper=asking(names, folder, timeout_s=_SILENCE_S), egress_allow="127.0.0.1/32")
        )
        root = stack.enter_context(server.client())
        noisy, quiet = (stack.enter_context(server.client(_new_key(root, slug))) for slug in ("noisy", "quiet"))
        floods = Kapso(noisy).deployed(LOOKS_UP)
        limits = {"timeout_ms": 120_000, "memory_limit_mb": 512}
        assert noisy.patch(f"/isolet/v1/functions/{floods}", json=limits).status_code == 200
        fetches = Kapso(quiet).deployed(FETCHES)
        flood = threading.Thread(target=_ignore_its_end, args=(noisy, floods))
        flood.start()
        try:
            wait_until(lambda: len(names.asked) > _AT_ONCE, timeout_s=60, what="the look-ups")
            reply = Kapso(quiet).invoke(
                fetches, content=f'"http://other.example:{world.port}/"', headers={"content-type": "application/json"}
            )
            assert reply.text == "hello from outside"
            assert flood.is_alive(), "the other project still waits for its names"
        finally:
            # Not to wait for all the names: the server itself is below what its files are bound with.
            for process in server.children():
                process.kill()
            server.kill()
            flood.join(60)


def _new_key(root: httpx.Client, slug: str) -> str:
    assert root.post("/isolet/v1/projects", json={"slug": slug}).status_code == 201
    made = root.post(f"/isolet/v1/projects/{slug}/keys", json={"name": "test", "role": "admin"})
    return str(made.json()["key"])


def _ignore_its_end(client: httpx.Client, function_id: str) -> None:
    with contextlib.suppress(httpx.HTTPError):
        client.post(f"/platform/v1/functions/{function_id}/invoke", timeout=150)
