"""While one project does its worst, the server stays as quick for all others, and as small."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.support.hostile import EXPERIMENTS
from tests.support.kapso import Kapso
from tests.support.projects import Project, new_project
from tests.support.pulse import Pulse
from tests.support.server import Server

_MB = 1024 * 1024
_BODY_MEMORY_MB = 64
# What the server may take beside its budget of bodies: pieces under way, records that wait, what the allocator keeps.
_GROWTH_MAX_MB = _BODY_MEMORY_MB + 128
_HEALTH_MAX_MS = 100
_LOOK_EVERY_S = 0.02
HELLO = "export default { fetch() { return new Response('hello'); } }"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("tenants") / "data", body_memory_mb=_BODY_MEMORY_MB) as server:
        yield server


@pytest.fixture
def hostile(fresh: Server) -> Iterator[Project]:
    with fresh.client() as root, new_project(fresh, root) as project:
        yield project


class Memory:
    """A context manager that looks at what a process holds all the while; `growth_mb` is the most of it."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._before = self._most = self._process.memory_info().rss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    @property
    def growth_mb(self) -> float:
        return (self._most - self._before) / _MB

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            self._most = max(self._most, self._process.memory_info().rss)


@pytest.mark.serial
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_neighbours_of_a_hostile_project_notice_nothing(fresh: Server, hostile: Project, name: str) -> None:
    act = EXPERIMENTS[name](hostile)
    with fresh.client() as root, new_project(fresh, root) as neighbour:
        kapso = Kapso(neighbour.client)
        function_id = kapso.deployed(HELLO)
        # What the server does to its neighbours, it does each time; what the machine does to it shows once.
        for _ in range(2):
            began = time.monotonic()
            with Memory(fresh.process.pid) as memory, Pulse(fresh.url + "/healthz", fresh.process.pid) as pulse:
                act()
                assert kapso.invoke(function_id, {}).text == "hello"
                while time.monotonic() - began < 1:
                    assert kapso.invoke(function_id, {}).text == "hello"
            assert memory.growth_mb < _GROWTH_MAX_MB
            if pulse.p99_ms < _HEALTH_MAX_MS:
                break
    assert pulse.p99_ms < _HEALTH_MAX_MS
