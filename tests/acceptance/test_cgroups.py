"""A server that may make cgroups of its own: the kernel ends an instance that grows faster than anyone looks.

Runs where the tests may make a group at the top of a tree of version 2: as root, on most machines with systemd.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kapso import Kapso
from tests.support.limits import instances, limited, record_of
from tests.support.server import Server

MOUNT = Path("/sys/fs/cgroup")
# Takes a gigabyte within one turn, faster than the guard looks.
GREEDY = """async function handler(request) {
    if (request.headers.get("x-good")) return new Response("good");
    new Uint8Array(1 << 30).fill(1);
    return new Response("end");
}"""


def unusable() -> str | None:
    """Why no cgroups can be made here."""
    try:
        controllers = (MOUNT / "cgroup.subtree_control").read_text().split()
    except OSError:
        return f"no cgroups of version 2 at {MOUNT}"
    if "memory" not in controllers:
        return f"no memory controller below {MOUNT}"
    return None if os.access(MOUNT, os.W_OK) else f"{MOUNT} cannot be written"


pytestmark = pytest.mark.skipif(unusable() is not None, reason=unusable() or "")


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """In a cgroup of its own, as systemd starts a service with `Delegate=yes`."""
    group = MOUNT / f"isolet-test-{os.getpid()}"
    group.mkdir()
    server = Server(tmp_path / "data")
    (group / "cgroup.procs").write_text(str(server.process.pid))
    try:
        with server:
            yield server
    finally:
        for folder in sorted(group.rglob("*/"), reverse=True):
            if folder.is_dir():
                folder.rmdir()
        group.rmdir()


def test_the_kernel_ends_what_grows_too_fast_and_nothing_else(own_server: Server) -> None:
    with own_server.client() as client:
        kapso = Kapso(client)
        good, bad = kapso.deployed(GREEDY), limited(kapso, GREEDY, memory_limit_mb=64)
        before = instances(own_server)
        group = [cgroup_of(pid) for pid in before if "isolet-" in cgroup_of(pid)]
        assert len(group) == 2
        began = time.monotonic()
        reply = kapso.invoke(bad)
        assert time.monotonic() - began < 2
        assert re.search(r"exceeded its memory limit: it used \d+ MB of 64 MB", reply.json()["detail"])
        report = record_of(own_server, reply).report
        assert report is not None
        assert report["limit"] == "memory"
        assert len(before - instances(own_server)) == 1
        for function_id in (good, bad):
            assert kapso.invoke(function_id, headers={"x-good": "1"}).text == "good"


def cgroup_of(pid: int) -> str:
    return next(line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
