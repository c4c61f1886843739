"""What a child learns from bubblewrap's report of the program's pid."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from isolet.runtime.process import Child, ChildSpec, PidFiles, listen
from isolet.runtime.sandbox import Command, Sandbox

# Writes the report as bubblewrap does, in parts, and says that it listens when all of it is out.
_SLOW_REPORT = """
import os, sys, time
info, ready = int(sys.argv[1]), int(sys.argv[2])
os.write(info, b'{\\n    "child-pid": %d' % os.getpid())
time.sleep(0.05)
os.write(info, b',\\n    "cgroup-namespace": 4026531835')
os.write(info, b'\\n}\\n')
os.close(info)
os.write(ready, b"{}")
time.sleep(60)
"""


class _ReportingSlowly(Sandbox):
    def __init__(self) -> None:
        self.enabled = True

    def command(self, *, info_fd: int, arguments: Sequence[str], **_: object) -> Command:
        ready_fd = next(item for item in arguments if item.startswith("--control-fd=")).partition("=")[2]
        return Command(arguments=(sys.executable, "-c", _SLOW_REPORT, str(info_fd), ready_fd), sandboxed=True)


def test_a_report_that_comes_in_parts_is_read_to_its_end(tmp_path: Path) -> None:
    async def run() -> tuple[bool, str, int]:
        with listen(tmp_path / "socket") as listener:
            spec = ChildSpec(name="reporting", config=b"", listener=listener)
            child = Child(spec, _ReportingSlowly(), PidFiles(tmp_path / "pids"))
        listening = await child.started(10)
        program = os.readlink(f"/proc/{child.pid}/exe")
        child.kill()
        return listening, program, await child.exited

    listening, program, status = asyncio.run(asyncio.wait_for(run(), 20))

    assert (listening, program, status) == (True, os.path.realpath(sys.executable), -signal.SIGKILL)
