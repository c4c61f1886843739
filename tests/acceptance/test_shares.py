"""Two projects on a server with few places: what one holds for minutes does not keep the other out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.support.kapso import Kapso
from tests.support.server import Server
from tests.support.waiting import wait_until

WAITS = """export default { async fetch(request) {
  if ((await request.json()).wait) await scheduler.wait(120_000);
  return new Response("done");
} }"""


def key_of(root: httpx.Client, slug: str) -> str:
    """Of a project that is made for it, and goes with its server."""
    assert root.post("/isolet/v1/projects", json={"slug": slug}).status_code == 201
    made = root.post(f"/isolet/v1/projects/{slug}/keys", json={"name": "test", "role": "admin"})
    return str(made.json()["key"])


def test_calls_that_hold_every_place_they_may_keep_no_call_and_no_deploy_of_another_out(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "data", max_instances=6, queue_timeout_s=1, idle_timeout_s=1, drain_timeout_s=0) as server,
        server.client() as root,
        server.client(key_of(root, "a")) as a,
        server.client(key_of(root, "b")) as b,
        ThreadPoolExecutor(6) as threads,
    ):
        theirs, ours = Kapso(a), Kapso(b)
        ids = [theirs.deployed(WAITS, f"f{number}") for number in range(5)]
        for one in ids:
            root.patch(f"/isolet/v1/functions/{one}", json={"timeout_ms": 300_000, "max_instances": 1})
        called = ours.deployed(WAITS, "called")

        def hold(one: str) -> httpx.Response:
            with server.client(a.headers["X-API-Key"]) as client:
                return client.post(f"/platform/v1/functions/{one}/invoke", json={"wait": True}, timeout=200)

        held = [threads.submit(hold, one) for one in ids]
        refused = wait_until(
            lambda: next((one for one in held if one.done()), None), timeout_s=30, what="the refusal of one"
        )
        assert refused is not None
        assert refused.result().status_code == 429
        assert "holds its share" in refused.result().json()["error"]
        assert "retry-after" in refused.result().headers

        assert ours.invoke(called, {}).text == "done"
        ours.deployed(WAITS, "deployed")
        assert sum(one.done() for one in held) == 1
        # Its calls would run on for minutes.
        server.kill()
