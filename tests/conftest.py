"""Fixtures of all tests: one shared server, and a project of its own for each test that wants one."""

from __future__ import annotations

import gc
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings

from tests.support import starter
from tests.support.browser import Browser
from tests.support.butterbase import Butterbase
from tests.support.kapso import Kapso
from tests.support.memory import memory_folder
from tests.support.postgres import Postgres
from tests.support.server import Server

_TESTS = Path(__file__).parent
# By default an example may take 200 ms: nothing that a machine with other work holds.
settings.register_profile("isolet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("isolet")


# The files that take longest, by `--durations`: a worker that got one of them last would leave the others idle.
_LONGEST = (
    "acceptance/test_secrets.py",
    "acceptance/test_operation.py",
    "acceptance/jobs/test_two_servers.py",
    "acceptance/test_flow_crash.py",
    "acceptance/test_schedule_clock.py",
    "acceptance/test_silent_names.py",
    "acceptance/test_kapso_deploy.py",
    "acceptance/test_kapso_invoke.py",
    "acceptance/test_docs.py",
    "acceptance/test_request_examples.py",
    "acceptance/test_examples.py",
    "acceptance/install/test_wheel.py",
    "acceptance/test_bodies.py",
    "acceptance/test_browser.py",
    "acceptance/test_dashboard.py",
    "acceptance/test_dashboard_story.py",
    "acceptance/test_dashboard_attacks.py",
    "acceptance/test_limits.py",
    "integration/runtime/test_pool.py",
    "acceptance/test_storage_process.py",
    "acceptance/test_scaling.py",
    "integration/invoke/test_invoker.py",
    "acceptance/jobs/test_copied_data.py",
    "acceptance/test_many.py",
    "acceptance/workspace/test_dev.py",
    "acceptance/workspace/test_terminal.py",
    "acceptance/workspace/test_init.py",
)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is read of the tests stays to the end: to look for garbage in it takes seconds of each worker."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The pass of the serial tests reads only the files that have some."""
    if config.option.markexpr == "serial" and collection_path.name.startswith("test_"):
        return b"mark.serial" not in collection_path.read_bytes() or None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then what starts servers, then the rest; within a file as it is written."""
    ranks = {name: rank for rank, name in enumerate(_LONGEST)}

    def rank(item: pytest.Item) -> tuple[int, bool]:
        name = item.path.relative_to(_TESTS).as_posix()
        return ranks.get(name, len(ranks)), not name.startswith("acceptance/")

    items.sort(key=rank)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """What tests write goes to memory where there is room, unless the command line says where.

    Programs that tests start hear Ctrl-C: shells start what runs beside them with that signal ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        starter.share()
    memory = memory_folder()
    if config.option.basetemp is None and memory is not None:
        config.option.basetemp = tempfile.mkdtemp(prefix="isolet-tests-", dir=memory)
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Async tests run on the loop that the server runs on."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL that all tests share, in memory where there is room. `nobody` may not enter the tests' folder."""
    with (
        tempfile.TemporaryDirectory(prefix="isolet-postgres-", dir=memory_folder()) as folder,
        Postgres(Path(folder)) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that all tests share; a test that stops it, or needs other settings, starts its own."""
    with Server(tmp_path_factory.mktemp("isolet") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A real browser that all tests share; each opens a page with a profile of its own."""
    with Browser(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture(scope="session")
def root(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def project(server: Server, root: httpx.Client) -> Iterator[httpx.Client]:
    """A client with an admin key of a new project, which leaves with the test."""
    slug = f"p-{uuid.uuid4().hex[:12]}"
    assert root.post("/isolet/v1/projects", json={"slug": slug}).status_code == 201
    key = root.post(f"/isolet/v1/projects/{slug}/keys", json={"name": "test", "role": "admin"}).json()["key"]
    with server.client(key) as client:
        yield client
    assert root.delete(f"/isolet/v1/projects/{slug}").status_code == 204


@pytest.fixture
def kapso(project: httpx.Client) -> Kapso:
    return Kapso(project)


@pytest.fixture
def butterbase(server: Server, project: httpx.Client) -> Iterator[Butterbase]:
    with server.client("") as public:
        yield Butterbase(project, public)
