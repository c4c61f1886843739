"""Starts servers as children of a process that has loaded the program already: most of the time of a start.

The server is a process of its own all the same, with its own arguments, environment and descriptors. What it does not
show is how the program loads: tests of that start it by its command (`Server(forked=False)`).
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from tests.support import clock, statements

_MESSAGE_MAX_BYTES = 65_536
_PATIENCE_S = 60.0


class Forked:
    """A server, with those parts of `subprocess.Popen` that tests use."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], *, stderr: IO[bytes]) -> None:
        reading, writing = os.pipe()
        self.stdout = os.fdopen(reading, "rb", buffering=0)
        self.returncode: int | None = None
        self._starter = _starter()
        try:
            self.pid = self._starter.start(arguments, environment, [writing, stderr.fileno()])
        finally:
            os.close(writing)

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._starter.status(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (_PATIENCE_S if timeout is None else timeout)
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"server {self.pid}", timeout or _PATIENCE_S)
            time.sleep(0.005)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Starter:
    """The other end: it is asked for a start or a status at a time, and answers each."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(_PATIENCE_S)
        with theirs:
            # It ends with its socket, which this process has for as long as it lives.
            command = [sys.executable, "-m", "tests.support.starter", str(theirs.fileno())]
            # A test may be in another folder by now.
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, cwd=Path(__file__).parents[2]
            )

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], descriptors: list[int]) -> int:
        asked = {"arguments": list(arguments), "environment": dict(environment), "folder": os.getcwd()}
        socket.send_fds(self._socket, [json.dumps(asked).encode()], descriptors)
        return int(self._socket.recv(_MESSAGE_MAX_BYTES))

    def status(self, pid: int) -> int | None:
        """As `Popen.returncode` has it; it is told once."""
        self._socket.send(json.dumps({"status": pid}).encode())
        status: int | None = json.loads(self._socket.recv(_MESSAGE_MAX_BYTES))
        return status


@cache
def _starter() -> _Starter:
    return _Starter()


def _main(control: socket.socket, run: Callable[[], None]) -> None:
    """Serve requests until the other end is closed. In a child this runs the command, and returns by its exit."""
    while True:
        text, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_MAX_BYTES, 2)
        if not text:
            return
        asked = json.loads(text)
        if "status" in asked:
            pid, status = os.waitpid(asked["status"], os.WNOHANG)
            control.send(json.dumps(os.waitstatus_to_exitcode(status) if pid else None).encode())
            continue
        pid = os.fork()
        if not pid:
            control.close()
            _prepare(asked, *descriptors)
            run()
            return
        for descriptor in descriptors:
            os.close(descriptor)
        control.send(str(pid).encode())


def _prepare(asked: Mapping[str, Any], stdout: int, stderr: int) -> None:
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    for descriptor in (stdout, stderr):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(asked["environment"])
    if (path := os.environ.pop(clock.VARIABLE, None)) is not None:
        clock.install(path)
    if (path := os.environ.pop(statements.VARIABLE, None)) is not None:
        statements.install(path)
    os.chdir(asked["folder"])
    sys.argv = ["isolet", *asked["arguments"]]


def _load() -> None:
    """All that a server loads, and what it loads when it makes its first route."""
    for name in ("isolet.assembly.management", "isolet.server", "isolet.database.schema", "pydantic.v1"):
        importlib.import_module(name)
    for name in ("isolet.api", "isolet.contract", "isolet.dashboard", "isolet.domain"):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(module.name)


if __name__ == "__main__":
    from isolet.cli.main import main

    _load()
    _main(socket.socket(fileno=int(sys.argv[1])), main)
