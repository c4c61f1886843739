"""What the kernel holds real processes to."""

import os
import resource
import subprocess
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from isolet.runtime import kernel_limits
from isolet.toolchain import Toolchain
from tests.support.runtime import Lines, Runtime, a_spec, acquire

NPROC = resource.RLIMIT_NPROC
# Processes and threads are counted alike. The shell ends at the first that it may not start.
_STARTS_MANY = """echo here; read line; count=0
while [ $count -lt 40 ]; do sleep 60 > /dev/null 2>&1 & count=$((count + 1)); echo $count; done"""
# The kernel exempts root's processes, whatever their user is called inside.
_ANYBODY = 54_321
_WHO: dict[str, Any] = {"user": _ANYBODY, "group": _ANYBODY, "extra_groups": []} if os.geteuid() == 0 else {}


@pytest.fixture
def programs(toolchain: Toolchain) -> Iterator[list[subprocess.Popen[str]]]:
    """Two sandboxed programs of one user that is not root, each in a user namespace of its own."""
    command = [str(toolchain.bubblewrap), "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent"]
    command += ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--uid", "65534", "--gid", "65534"]
    command += ["--", "/bin/sh", "-c", _STARTS_MANY]
    who = {"user": _ANYBODY, "group": _ANYBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    started = [
        subprocess.Popen(command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **who)
        for _ in range(2)
    ]
    try:
        yield started
    finally:
        for one in started:
            one.kill()
            one.wait(60)
            for pipe in (one.stdin, one.stdout):
                if pipe is not None:
                    pipe.close()


@pytest.mark.skipif(
    kernel_limits.kernel_version(os.uname().release) < (5, 14),
    reason="counts the threads of a user, not of a namespace",
)
def test_each_sandbox_has_its_own_number_of_threads(programs: list[subprocess.Popen[str]]) -> None:
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "here\n"
        inner = psutil.Process(program.pid).children(recursive=True)[-1]
        # As `kernel_limits` does, by the user that started it.
        subprocess.run(["prlimit", f"--pid={inner.pid}", "--nproc=12:12"], check=True, timeout=60, **_WHO)
    counts = [int(program.communicate("go\n", timeout=60)[0].split()[-1]) for program in programs]
    # The shell and bubblewrap are of the namespace, too.
    assert all(8 <= count < 12 for count in counts)


async def test_an_instance_in_a_sandbox_is_bounded(runtime: Runtime, lines: Lines) -> None:
    async with runtime.pool(lines) as pool:
        instance = await acquire(pool, a_spec("export default () => new Response('hello');"))
        assert resource.prlimit(instance.pid, NPROC) == (64, 64)
        assert psutil.Process(instance.pid).num_threads() < 32


def test_a_process_that_is_gone_is_passed_over() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    kernel_limits.apply(ended.pid, open_files_max=100, threads_max=12)


def test_without_a_number_threads_stay_as_they_are() -> None:
    ours = resource.getrlimit(NPROC)
    with subprocess.Popen(["sleep", "60"]) as program:
        try:
            kernel_limits.apply(program.pid, open_files_max=100)
            assert resource.prlimit(program.pid, NPROC) == ours
            assert resource.prlimit(program.pid, resource.RLIMIT_NOFILE) == (100, 100)
        finally:
            program.kill()


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.18.44-fc-v595", (6, 18)), ("5.4.0-150-generic", (5, 4)), ("5.15", (5, 15)), ("odd", (0, 0)), ("", (0, 0))],
)
def test_the_version_of_a_kernel_is_read(release: str, version: tuple[int, int]) -> None:
    assert kernel_limits.kernel_version(release) == version
