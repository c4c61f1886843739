from __future__ import annotations

import os
import pty
import subprocess
import sys

_PROGRAM = """
import sys
from isolet.cli.progress import waiting
with waiting("Waiting\\x1b[2J"):
    sys.stdin.readline()
"""


def test_a_terminal_is_told_of_what_takes_long_and_a_pipe_is_not() -> None:
    ours, theirs = pty.openpty()
    program = [sys.executable, "-c", _PROGRAM]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stderr=theirs) as running:
        os.close(theirs)
        shown = b""
        while b"1 s" not in shown:
            shown += os.read(ours, 1000)
        assert running.stdin is not None
        running.stdin.write(b"\n")
        running.stdin.close()
        assert running.wait(60) == 0
    shown += os.read(ours, 1000)
    os.close(ours)
    assert b"Waiting\\u001b[2J \xe2\x80\xa6 1 s" in shown
    assert shown.endswith(b"\r\x1b[K")
    quiet = (
        "from isolet.cli.progress import waiting; import threading\nwith waiting('x'): print(threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", quiet], capture_output=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == (b"1\n", b"")
