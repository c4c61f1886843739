"""A small client of the Butterbase API, as its clients use it."""

from __future__ import annotations

import json
from typing import Any

import httpx


class Butterbase:
    """`client` holds an admin key of the project `app`; `public` sends no key."""

    def __init__(self, client: httpx.Client, public: httpx.Client) -> None:
        self.client = client
        self.public = public
        (project,) = client.get("/isolet/v1/projects").json()["data"]
        self.app = str(project["slug"])
        self.project_id = str(project["id"])
        self.base = f"/v1/{self.app}/functions"
        self.key = client.headers["X-API-Key"]

    def post(self, name: str, code: str, **values: Any) -> httpx.Response:
        return self.client.post(self.base, json={"name": name, "code": code, **values})

    def deploy(self, name: str, code: str, *, auth: str | None = "none", **values: Any) -> dict[str, Any]:
        if auth is not None:
            values.setdefault("triggers", [{"type": "http", "config": {"auth": auth}}])
        reply = self.post(name, code, **values)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def get(self, name: str) -> dict[str, Any]:
        reply = self.client.get(f"{self.base}/{name}")
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def call(self, name: str, method: str = "GET", **options: Any) -> httpx.Response:
        """Through the public route, without a key unless `headers` hold one."""
        return self.public.request(method, f"/v1/{self.app}/fn/{name}", **options)

    def logs(self, name: str, **query: Any) -> list[dict[str, Any]]:
        reply = self.client.get(f"{self.base}/{name}/logs", params=query)
        assert reply.status_code == 200, reply.text
        return list(reply.json()["logs"])


class SharedButterbase(Butterbase):
    """Deploys each function once, for tests that only call: a name stands for one function in all of them."""

    def __init__(self, client: httpx.Client, public: httpx.Client) -> None:
        super().__init__(client, public)
        self._made: dict[str, tuple[str, dict[str, Any]]] = {}

    def deploy(self, name: str, code: str, *, auth: str | None = "none", **values: Any) -> dict[str, Any]:
        what = json.dumps([code, auth, values], sort_keys=True)
        if name not in self._made:
            self._made[name] = what, super().deploy(name, code, auth=auth, **values)
        known, reply = self._made[name]
        assert known == what, f"{name} stands for another function in this file"
        return reply
