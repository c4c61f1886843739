"""A space of its own for each test of asynchronous calls."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.support.altair import Altair
from tests.support.server import Server


@pytest.fixture
def space(calling_server: Server) -> Iterator[httpx.Client]:
    """A client with an admin key of a space of its own, named in the client's `X-Space` header."""
    slug = f"s-{uuid.uuid4().hex[:12]}"
    with calling_server.client() as root:
        assert root.post("/isolet/v1/projects", json={"slug": slug}).status_code == 201
        key = root.post(f"/isolet/v1/projects/{slug}/keys", json={"name": "test", "role": "admin"}).json()["key"]
        with calling_server.client(key) as client:
            client.headers["x-space"] = slug
            yield client
        assert root.delete(f"/isolet/v1/projects/{slug}").status_code == 204


@pytest.fixture
def altair(space: httpx.Client) -> Altair:
    return Altair(space, space.headers["x-space"])
