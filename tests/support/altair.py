"""A small client of the Altair API."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx

from tests.support.waiting import wait_until

FLAKY = """export default async function handler(request, env) {
  const n = Number(await env.KV.get("n") ?? 0) + 1;
  await env.KV.put("n", String(n));
  return new Response(String(n), { status: n < 3 ? 503 : 200 });
}"""


class Altair:
    def __init__(self, client: httpx.Client, space: str = "default") -> None:
        self.client = client
        self.base = f"/spaces/{space}/functions"

    def create(self, name: str, code: str, **values: Any) -> httpx.Response:
        source = {"code": base64.b64encode(code.encode()).decode()}
        return self.client.post(self.base, json={"name": name, "source": source, **values})

    def running(self, name: str, code: str, **values: Any) -> str:
        """Create and wait until it runs; its name."""
        reply = self.create(name, code, **values)
        assert reply.status_code == 201, reply.text
        self.wait(name, "Running")
        return name

    def retrying(self, code: str, *, attempts: int) -> str:
        """A running function whose calls are tried so often; its name."""
        name = self.running("flaky", code)
        listed = self.client.get("/isolet/v1/functions").json()["data"]
        (function_id,) = (function["id"] for function in listed if function["name"] == name)
        retry = {"attempts": attempts, "backoff_ms": 10}
        changed = self.client.patch(f"/isolet/v1/functions/{function_id}", json={"retry": retry})
        assert changed.json()["retry"]["attempts"] == attempts
        return name

    def wait(self, name: str, status: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            function = dict(self.client.get(f"{self.base}/{name}").json())
            return function if function["status"] == status else None

        function = wait_until(look, what=f"{name} is {status}", pause_s=0.08)
        assert function is not None
        return function

    def invoke(self, name: str, extra: str = "", *, method: str = "POST", **options: Any) -> httpx.Response:
        return self.client.request(method, f"{self.base}/{name}/invoke{extra}", **options)

    def start(self, name: str, body: bytes = b"", callback: str | None = None, extra: str = "", **headers: str) -> str:
        """An async call that is accepted; its id."""
        reply = self.start_raw(name, body, callback, extra, **headers)
        assert reply.status_code == 202, reply.text
        return reply.headers["x-invocation-id"]

    def start_raw(
        self, name: str, body: bytes = b"", callback: str | None = None, extra: str = "", **headers: str
    ) -> httpx.Response:
        if callback is not None:
            headers["x-callback-url"] = callback
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(f"{self.base}/{name}/async-invoke{extra}", content=body, headers=sent)

    def status(self, invocation_id: str) -> dict[str, Any]:
        reply = self.client.get(f"/isolet/v1/invocations/{invocation_id}")
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def ended(self, invocation_id: str, *, timeout_s: float = 60.0) -> dict[str, Any]:
        """The call's state once it ended."""

        def look() -> dict[str, Any] | None:
            status = self.status(invocation_id)
            return status if status["status"] in ("succeeded", "failed", "cancelled") else None

        status = wait_until(look, timeout_s=timeout_s, what="the end of the call")
        assert status is not None
        return status


class SharedAltair(Altair):
    """Deploys each function once, for tests that only call: a name stands for one function in all of them."""

    def __init__(self, client: httpx.Client, space: str) -> None:
        super().__init__(client, space)
        self._made: dict[str, str] = {}

    def running(self, name: str, code: str, **values: Any) -> str:
        what = json.dumps([code, values], sort_keys=True)
        if name not in self._made:
            super().running(name, code, **values)
            self._made[name] = what
        assert self._made[name] == what, f"{name} stands for another function in this file"
        return name
