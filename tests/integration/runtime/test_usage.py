"""What the kernel counts of another process."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from isolet.runtime.usage import MemoryGauge, anonymous_bytes, cpu_seconds

_MB = 1024 * 1024
# For each line it reads it takes 32 MB more, and says so; then it ends.
_PROGRAM = """
import sys
kept = []
for line in sys.stdin:
    kept.append(bytearray(b"x" * (32 << 20)))
    print("taken", flush=True)
"""


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        yield running
        running.kill()


def grow(program: subprocess.Popen[str]) -> None:
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write("more\n")
    program.stdin.flush()
    assert program.stdout.readline() == "taken\n"


def test_a_gauge_follows_what_a_process_takes(program: subprocess.Popen[str]) -> None:
    grow(program)
    with MemoryGauge(program.pid) as gauge:
        before = gauge.anonymous_bytes
        grow(program)
        assert 30 * _MB < gauge.anonymous_bytes - before < 70 * _MB
        assert abs(gauge.anonymous_bytes - anonymous_bytes(program.pid)) < _MB
    assert cpu_seconds(program.pid) > 0


def test_a_process_that_is_gone_holds_nothing(program: subprocess.Popen[str]) -> None:
    grow(program)
    gauge = MemoryGauge(program.pid)
    program.kill()
    program.wait(60)
    assert (gauge.anonymous_bytes, anonymous_bytes(program.pid), cpu_seconds(program.pid)) == (0, 0, 0.0)
    gauge.close()
    assert gauge.anonymous_bytes == 0


def test_a_closed_gauge_leaves_no_descriptor(program: subprocess.Popen[str]) -> None:
    before = os.listdir("/proc/self/fd")
    with MemoryGauge(program.pid) as gauge:
        assert gauge.anonymous_bytes > 0
    assert os.listdir("/proc/self/fd") == before
