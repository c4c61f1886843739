"""Starts servers and commands as children of a process that has loaded the program: most of the time of a start.

Each is a process of its own all the same, with its own arguments, environment and descriptors. What it does not show is
how the program loads, and a terminal of its own: tests of those start `python -m isolet` (`Server(forked=False)`).
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import marshal
import os
import pkgutil
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import IO, Any, NoReturn

import typer

from isolet.cli.main import app, main
from tests.support import clock, starter_client, statements

_MESSAGE_MAX_BYTES = 200_000
_PATIENCE_S = 60.0
# Not a variable that the program would take for one of its own.
_SHARED = "STARTER_OF_TESTS"
# With all that is in them.
_PACKAGES = "api cli client contract dashboard domain workspace"
# What is loaded when it is first needed.
_LATE = (
    "isolet.assembly.management isolet.database.schema isolet.server anyio._backends._asyncio certifi encodings.idna "
    "httpcore._async.http11 httpcore._sync.http11 importlib.resources.readers pydantic.v1 typer._click.decorators "
    "uvicorn.lifespan.off uvloop"
)
_ROOT = Path(__file__).parents[2]


def command(path: Path, **defaults: str) -> Path:
    """Writes the `isolet` command as a program; `defaults` are variables that it has where its caller has none."""
    variables = "".join(f'export {name}="${{{name}-{value}}}"\n' for name, value in defaults.items())
    words = [sys.executable, "-IS", starter_client.__file__, _address()]
    path.write_text(f'#!/bin/sh\n{variables}exec {shlex.join(words)} "$@"\n')
    path.chmod(0o755)
    return path


class Forked:
    """A server, with those parts of `subprocess.Popen` that tests use."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], *, stderr: IO[bytes]) -> None:
        reading, writing = os.pipe()
        self.stdout = os.fdopen(reading, "rb", buffering=0)
        self.returncode: int | None = None
        variables = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
        with open(os.devnull) as nothing, os.fdopen(writing, "wb") as stdout:
            descriptors = (nothing.fileno(), stdout.fileno(), stderr.fileno())
            self._asked = starter_client.Asked(_address(), arguments, variables, descriptors=descriptors)
        self.pid = self._asked.pid

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = _PATIENCE_S) -> int:
        if self.returncode is None:
            self._asked.connection.settimeout(timeout)
            try:
                self.returncode = self._asked.status()
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(f"server {self.pid}", timeout or 0) from None
            self._asked.connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Starter:
    """The starter of this process, which ends with it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="isolet-starter-")
        self.address = f"{self._folder.name}/socket"
        with _socket() as listener:
            listener.bind(self.address)
            listener.listen(64)
            words = [sys.executable, "-m", "tests.support.starter", str(listener.fileno())]
            # A test may be in another folder by now.
            self._process = subprocess.Popen(words, pass_fds=[listener.fileno()], stdin=subprocess.PIPE, cwd=_ROOT)


@cache
def _starter() -> _Starter:
    return _Starter()


def share() -> None:
    """Let the processes that this one starts ask its starter, and not start one each."""
    os.environ[_SHARED] = _starter().address


def _address() -> str:
    return os.environ.get(_SHARED) or _starter().address


def _socket(descriptor: int | None = None) -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=descriptor)


class _Children:
    """The other end: it starts what it is asked for, and tells those who asked of the end. One event at a time."""

    def __init__(self, listener: socket.socket, owner: IO[Any]) -> None:
        self._listener, self._owner = listener, owner
        self._selector = selectors.DefaultSelector()
        for source in (listener, owner):
            self._selector.register(source, selectors.EVENT_READ)

    def next(self) -> tuple[Any, list[int]] | None:
        """What was asked, and descriptors, in the new process that is for it. None when all is over."""
        while self._selector.get_map():
            key, _ = self._selector.select()[0]
            if key.fileobj is self._listener:
                if (asked := self._start()) is not None:
                    return asked
            elif key.fileobj is self._owner:
                # Those who asked end as well: they were started by it.
                self._selector.unregister(self._listener)
                self._selector.unregister(self._owner)
            else:
                key.data()
        return None

    def _start(self) -> tuple[Any, list[int]] | None:
        connection, _ = self._listener.accept()
        text, descriptors, _, _ = socket.recv_fds(connection, _MESSAGE_MAX_BYTES, 3)
        if not (pid := os.fork()):
            connection.close()
            for key in self._selector.get_map().values():
                key.fileobj.close()  # type: ignore[union-attr]
            self._selector.close()
            return marshal.loads(text), descriptors  # noqa: S302 - the tests' own
        for descriptor in descriptors:
            os.close(descriptor)
        running = os.fdopen(os.pidfd_open(pid), "rb", buffering=0)
        self._selector.register(connection, selectors.EVENT_READ, partial(self._kill, pid, connection))
        self._selector.register(running, selectors.EVENT_READ, partial(self._reap, pid, running, connection))
        connection.send(str(pid).encode())
        return None

    def _kill(self, pid: int, connection: socket.socket) -> None:
        """Nobody waits for it any more."""
        self._selector.unregister(connection)
        os.kill(pid, signal.SIGKILL)

    def _reap(self, pid: int, running: IO[bytes], connection: socket.socket) -> None:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._selector.unregister(running)
        with running, connection, contextlib.suppress(KeyError, BrokenPipeError):
            self._selector.unregister(connection)
            connection.send(str(status).encode())


def _prepare(asked: Any, descriptors: Sequence[int]) -> None:
    """Make this process what the asker would have started."""
    arguments, environment, folder, umask, ignored = asked
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", 1 if os.isatty(1) else -1, encoding="utf-8", closefd=False)
    os.environ.clear()
    os.environb.update(environment)
    time.tzset()
    if (path := os.environ.pop(clock.VARIABLE, None)) is not None:
        clock.install(path)
    if (path := os.environ.pop(statements.VARIABLE, None)) is not None:
        statements.install(path)
    os.chdir(folder)
    if umask is not None:
        os.umask(umask)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    sys.argv = ["isolet", *arguments]


def _load() -> None:
    """All that servers and commands load, now or when they first need it."""
    gc.disable()
    for name in _LATE.split():
        importlib.import_module(name)
    for name in _PACKAGES.split():
        package = importlib.import_module(f"isolet.{name}")
        for module in pkgutil.walk_packages(package.__path__, f"isolet.{name}."):
            importlib.import_module(module.name)
    _make_commands()
    gc.enable()
    gc.collect()
    gc.freeze()


def _make_commands() -> None:
    """Typer makes commands of their declarations at each call, which takes 30 ms. Here they are made once."""
    make = typer.main.get_command = cache(typer.main.get_command)
    commands: list[Any] = [make(app)]
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        for parameter in command.params:
            parameter.get_runtime_param()


def _run(main: Callable[[], None]) -> NoReturn:
    """As Python runs a program, but nothing of what is loaded is taken apart at the end: that takes 70 ms."""
    code: object = 0
    try:
        main()
    except SystemExit as exit_:
        code = exit_.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    # What a server left behind complains now.
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    assert isinstance(code, int), code
    os._exit(code)


if __name__ == "__main__":
    _load()
    if (asked := _Children(_socket(int(sys.argv[1])), sys.stdin).next()) is not None:
        _prepare(*asked)
        _run(main)
