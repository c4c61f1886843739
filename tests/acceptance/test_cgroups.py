"""A server that may make cgroups of its own: the kernel ends an instance that grows faster than anyone looks.

Runs where the tests may make a group at the top of a tree of version 2: as root, on most machines with systemd.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from isolet.runtime.usage import anonymous_bytes
from tests.support.kapso import Kapso
from tests.support.limits import instances, limited, record_of
from tests.support.server import Server
from tests.support.waiting import wait_until

MOUNT = Path("/sys/fs/cgroup")
MB = 1024 * 1024
# Takes a little, so that it is seen to run, and a second later more than its cgroup gives: 256 MB. With 384 MB
# the kernel would refuse it the memory before.
GREEDY = """async function handler(request) {
    if (request.headers.get("x-good")) return new Response("good");
    const held = [new Uint8Array(20 << 20).fill(1)];
    await scheduler.wait(1000);
    while (held.length < 20) held.push(new Uint8Array(16 << 20).fill(1));
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
def group() -> Iterator[Path]:
    """Gone at the end, with the groups below it: a process that lives on there fails the test."""
    group = MOUNT / f"isolet-test-{os.getpid()}"
    group.mkdir()
    try:
        yield group
    finally:
        for folder in sorted(group.rglob("*/"), reverse=True):
            folder.rmdir()
        group.rmdir()


@pytest.fixture
def own_server(group: Path, tmp_path: Path) -> Iterator[Server]:
    """In a cgroup of its own, as systemd starts a service with `Delegate=yes`."""
    server = Server(tmp_path / "data")
    (group / "cgroup.procs").write_text(str(server.process.pid))
    with server:
        yield server


def test_the_kernel_ends_what_grows_too_fast_and_nothing_else(own_server: Server, group: Path) -> None:
    with own_server.client() as client, ThreadPoolExecutor(1) as aside:
        kapso = Kapso(client)
        good, bad = kapso.deployed(GREEDY), limited(kapso, GREEDY, memory_limit_mb=64)
        before = instances(own_server)
        folders = {pid: cgroup_of(pid) for pid in before}
        of_instances = {pid for pid, folder in folders.items() if folder != group / "isolet-server"}
        assert len({folders[pid] for pid in of_instances}) == 2
        (greedy,) = (pid for pid in of_instances if (folders[pid] / "memory.max").read_text() == f"{256 * MB}\n")
        idle_bytes = anonymous_bytes(greedy)

        call = aside.submit(kapso.invoke, bad)
        wait_until(lambda: anonymous_bytes(greedy) > idle_bytes + 16 * MB, what="the start of the call")
        # Nobody looks from here on.
        own_server.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: "\noom_kill 0\n" not in (folders[greedy] / "memory.events").read_text(), what="the kill")
        finally:
            own_server.process.send_signal(signal.SIGCONT)

        reply = call.result(60)
        assert reply.status_code == 500
        assert re.search(r"exceeded its memory limit: it used \d+ MB of 64 MB", reply.json()["detail"])
        report = record_of(own_server, reply).report
        assert report is not None
        assert report["limit"] == "memory"
        assert before - instances(own_server) == {greedy}
        assert not folders[greedy].exists()
        for function_id in (good, bad):
            assert kapso.invoke(function_id, headers={"x-good": "1"}).text == "good"


def cgroup_of(pid: int) -> Path:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return MOUNT / next(line for line in lines if line.startswith("0::")).removeprefix("0::/")
