"""Fixtures of the acceptance tests: the Kapso API on each of its bases, a second project, a server that calls back."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.butterbase import SharedButterbase
from tests.support.kapso import Kapso, SharedKapso
from tests.support.projects import Project, new_project
from tests.support.receiver import Receiver
from tests.support.server import Server


@pytest.fixture
def home(server: Server, root: httpx.Client) -> Iterator[Project]:
    """The test's own project, with its slug and the means to make keys."""
    with new_project(server, root) as project:
        yield project


@pytest.fixture
def stranger(server: Server, root: httpx.Client) -> Iterator[Project]:
    """Another project, with nothing in it."""
    with new_project(server, root) as project:
        yield project


@pytest.fixture
def anonymous(server: Server) -> Iterator[httpx.Client]:
    """A client without any key."""
    with server.client("") as client:
        yield client


@pytest.fixture(params=["/platform/v1", "/api/v1"])
def api(request: pytest.FixtureRequest, home: Project) -> Kapso:
    """The Kapso API of the test's project, on each of its bases in turn."""
    return Kapso(home.client, request.param)


@pytest.fixture(scope="module")
def common_home(server: Server, root: httpx.Client) -> Iterator[Project]:
    """A project that the tests of a file share, for functions that they only call."""
    with new_project(server, root) as project:
        yield project


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """The functions of that project by their code, whichever base deployed them."""
    return {}


@pytest.fixture(scope="module", params=["/platform/v1", "/api/v1"])
def common(request: pytest.FixtureRequest, common_home: Project, made: dict[str, str]) -> SharedKapso:
    """The Kapso API of that project, on each of its bases in turn."""
    return SharedKapso(common_home.client, request.param, made)


@pytest.fixture(scope="module")
def common_platform(common_home: Project, made: dict[str, str]) -> SharedKapso:
    return SharedKapso(common_home.client, made=made)


@pytest.fixture(scope="module")
def common_older(common_home: Project, made: dict[str, str]) -> SharedKapso:
    return SharedKapso(common_home.client, "/api/v1", made)


@pytest.fixture(scope="module")
def shared(server: Server, common_home: Project) -> Iterator[SharedButterbase]:
    """The Butterbase API of that project."""
    with server.client("") as public:
        yield SharedButterbase(common_home.client, public)


@pytest.fixture
def platform(home: Project) -> Kapso:
    return Kapso(home.client)


@pytest.fixture
def older(home: Project) -> Kapso:
    return Kapso(home.client, "/api/v1")


@pytest.fixture
def server_url(server: Server) -> str:
    return server.url


@pytest.fixture(scope="session")
def calling_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose callbacks may reach this machine, shared by the tests of asynchronous calls."""
    with Server(
        tmp_path_factory.mktemp("calling") / "data",
        egress_allow="127.0.0.0/8",
        callback_schedule_s="0,0.1,0.1",
        callback_timeout_s="60",
        drain_timeout_s="2",
    ) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running
