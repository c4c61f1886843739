"""A space of its own for each test of asynchronous calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.support.altair import Altair, SharedAltair
from tests.support.projects import new_project
from tests.support.server import Server


@contextmanager
def new_space(server: Server) -> Iterator[httpx.Client]:
    """A client with an admin key of a new space, named in the client's `X-Space` header."""
    with server.client() as root, new_project(server, root) as project:
        project.client.headers["x-space"] = project.slug
        yield project.client


@pytest.fixture
def space(calling_server: Server) -> Iterator[httpx.Client]:
    """The test's own space."""
    with new_space(calling_server) as client:
        yield client


@pytest.fixture
def altair(space: httpx.Client) -> Altair:
    return Altair(space, space.headers["x-space"])


@pytest.fixture(scope="module")
def common_altair(calling_server: Server) -> Iterator[SharedAltair]:
    """A space that the tests of a file share, for functions that they only call."""
    with new_space(calling_server) as client:
        yield SharedAltair(client, client.headers["x-space"])
