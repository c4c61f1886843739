"""Projects made for one test, with clients that hold their keys."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from msgspec import Struct

from tests.support.server import Server


class Project(Struct, frozen=True, kw_only=True):
    """`client` holds an admin key."""

    server: Server
    slug: str
    id: str
    client: httpx.Client

    def key(self, role: str = "admin") -> str:
        """The text of a new key."""
        reply = self.client.post(f"/isolet/v1/projects/{self.slug}/keys", json={"name": role, "role": role})
        assert reply.status_code == 201, reply.text
        return str(reply.json()["key"])


@contextmanager
def new_project(server: Server, root: httpx.Client) -> Iterator[Project]:
    """A project that leaves at the end."""
    slug = f"p-{uuid.uuid4().hex[:12]}"
    made = root.post("/isolet/v1/projects", json={"slug": slug})
    assert made.status_code == 201, made.text
    key = root.post(f"/isolet/v1/projects/{slug}/keys", json={"name": "test", "role": "admin"}).json()["key"]
    with server.client(key) as client:
        yield Project(server=server, slug=slug, id=made.json()["id"], client=client)
    assert root.delete(f"/isolet/v1/projects/{slug}").status_code == 204
