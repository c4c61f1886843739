"""The `isolet` command in a folder of the test's own, with a key of a project that the tests of a file share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.isolet_command import Isolet
from tests.support.projects import Project, new_project
from tests.support.server import Server


@pytest.fixture(scope="module")
def own_project(server: Server, root: httpx.Client) -> Iterator[Project]:
    with new_project(server, root) as project:
        yield project


@pytest.fixture
def isolet(own_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Isolet:
    key = own_project.key("admin")
    return Isolet(tmp_path_factory.mktemp("isolet"), ISOLET_URL=own_project.server.url, ISOLET_API_KEY=key)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of the command."""
    place = tmp_path / "project"
    place.mkdir()
    monkeypatch.chdir(place)
    return place
