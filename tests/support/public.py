"""Functions at their public addresses."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.kapso import Kapso
from tests.support.projects import Project


class Public:
    """Deploys functions of a project and calls them at `/f/…`. `client` sends no credentials."""

    def __init__(self, project: Project, client: httpx.Client) -> None:
        self.project = project
        self.client = client
        self._kapso = Kapso(project.client)

    def deploy(self, slug: str, code: str, **settings: Any) -> str:
        """The function's id; `settings` are members of the native API, `access` public where nothing is said."""
        function_id = self._kapso.deployed(code, slug)
        self.change(function_id, slug=slug, **{"access": "public", **settings})
        return function_id

    def change(self, function_id: str, **settings: Any) -> dict[str, Any]:
        reply = self.project.client.patch(f"/isolet/v1/functions/{function_id}", json=settings)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def call(self, path: str, method: str = "GET", **options: Any) -> httpx.Response:
        """`path` begins with the function's slug."""
        return self.client.request(method, f"/f/{self.project.slug}/{path}", **options)

    def at(self, host: str, path: str = "/", method: str = "GET", **options: Any) -> httpx.Response:
        headers = {**options.pop("headers", {}), "Host": host}
        return self.client.request(method, path, headers=headers, **options)
