"""A small client of the Kapso API, as its scripts use it."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.support.waiting import wait_until

_WAIT_S = 120
# It is live, or why it failed.
_ENDED = (200, 422)


class Kapso:
    """`base` is `/platform/v1` or `/api/v1`."""

    def __init__(self, client: httpx.Client, base: str = "/platform/v1") -> None:
        self.client = client
        self.base = base

    @staticmethod
    def body(**values: Any) -> str:
        """The text of a request that creates or updates."""
        return json.dumps({"function": values})

    def create(self, code: str, name: str = "Test", **values: Any) -> dict[str, Any]:
        reply = self.client.post(f"{self.base}/functions", json={"function": {"name": name, "code": code, **values}})
        assert reply.status_code == 201, reply.text
        return dict(reply.json()["data"])

    def get(self, function_id: str) -> dict[str, Any]:
        reply = self.client.get(f"{self.base}/functions/{function_id}")
        assert reply.status_code == 200, reply.text
        return dict(reply.json()["data"])

    def deploy(self, function_id: str) -> dict[str, Any]:
        """Deploy, and give the function once its status is `deployed` or `error`."""
        reply = self._deploy(function_id)
        assert reply.status_code in _ENDED, reply.text
        return self.get(function_id)

    def _deploy(self, function_id: str) -> httpx.Response:
        """By the platform's own route, which answers at the end: who asks again and again makes the server work."""
        return self.client.post(f"/isolet/v1/functions/{function_id}/deploy", params={"wait": _WAIT_S})

    def deploy_and_poll(self, function_id: str) -> dict[str, Any]:
        """Deploy as Kapso's clients do, and poll until the status is `deployed` or `error`."""
        reply = self.client.post(f"{self.base}/functions/{function_id}/deploy")
        assert reply.status_code == 202, reply.text
        return self.wait_deployed(function_id)

    def wait_deployed(self, function_id: str) -> dict[str, Any]:
        """Poll until the status is `deployed` or `error`."""

        def ended() -> dict[str, Any] | None:
            function = self.get(function_id)
            return function if function["status"] != "draft" else None

        function = wait_until(ended, timeout_s=120, what="the deploy", pause_s=0.08)
        assert function is not None
        return function

    def deployed(self, code: str, name: str = "Test", **values: Any) -> str:
        """Create and deploy; the function's id."""
        function_id = str(self.create(code, name, **values)["id"])
        reply = self._deploy(function_id)
        assert (reply.status_code, reply.json()["status"]) == (200, "deployed"), reply.text
        return function_id

    def invoke(self, function_id: str, body: Any = None, **options: Any) -> httpx.Response:
        if body is not None:
            options["json"] = body
        return self.client.post(f"{self.base}/functions/{function_id}/invoke", **options)

    def invocations(self, function_id: str, **query: Any) -> list[dict[str, Any]]:
        reply = self.client.get(f"{self.base}/functions/{function_id}/invocations", params=query)
        assert reply.status_code == 200, reply.text
        return list(reply.json()["data"]["invocations"])


class SharedKapso(Kapso):
    """Deploys each code once, for tests that do no more than call: what they ask of its records must hold for all.

    `made` is what others of the same project have deployed.
    """

    def __init__(self, client: httpx.Client, base: str = "/platform/v1", made: dict[str, str] | None = None) -> None:
        super().__init__(client, base)
        self._made = {} if made is None else made

    def deployed(self, code: str, name: str = "Test", **values: Any) -> str:
        key = json.dumps([code, name, values], sort_keys=True)
        if key not in self._made:
            self._made[key] = super().deployed(code, name, **values)
        return self._made[key]


def error_of(reply: httpx.Response) -> str:
    """The text of an error in Kapso's shape."""
    assert reply.headers["content-type"] == "application/json"
    error = reply.json()["error"]
    assert isinstance(error, str)
    assert error
    return error
