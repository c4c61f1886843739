"""A real `isolet serve` in a child process, on a free port of 127.0.0.1 and a data directory of its own."""

from __future__ import annotations

import os
import re
import selectors
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil

from tests.support import clock as clocks
from tests.support import statements as noted
from tests.support.clock import SetClock
from tests.support.starter import Forked
from tests.support.statements import Statements

ROOT_KEY = "root-key-of-the-tests"
# Of clients: reading the CAs of the machine or of `certifi` takes 30 ms, and the servers of tests speak plain HTTP.
NO_CAS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_PAGES = re.compile(r"^Docs: (\S+)/docs$", re.MULTILINE)
_READY = re.compile(r"Isolet is ready at (\S+)")


class Server:
    """Use it as a context manager: it is stopped gracefully at the end, and what it printed is kept.

    `settings` become ISOLET_* variables; `arguments` are added to the command line, `wrapper` goes before it. `forked`
    leaves the loading of the program out (`starter.py`), can have a `clock` that is set, and tell its `statements`.
    """

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        root_key: str | None = ROOT_KEY,
        wrapper: Sequence[str] = (),
        forked: bool = True,
        clock: SetClock | None = None,
        statements: Statements | None = None,
        **settings: object,
    ) -> None:
        self.data_dir = data_dir
        self.output = ""
        self._wrapped = bool(wrapper)
        self.url = ""
        self.pages_url = ""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ISOLET_")}
        environment.update({f"ISOLET_{name.upper()}": str(value) for name, value in settings.items()})
        if root_key is not None:
            environment["ISOLET_API_KEY"] = root_key
        if clock is not None:
            environment[clocks.VARIABLE] = str(clock.path)
        if statements is not None:
            environment[noted.VARIABLE] = str(statements.path)
        self._log = data_dir.with_name(data_dir.name + ".log")
        with self._log.open("ab") as log:
            command = ["serve", "--port", "0", "--data-dir", str(data_dir), *arguments]
            self.process: subprocess.Popen[bytes] | Forked
            if forked and not wrapper:
                self.process = Forked(command, environment, stderr=log)
            else:
                self.process = subprocess.Popen(
                    [*wrapper, sys.executable, "-m", "isolet", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environment,
                )
        self.root_key = root_key or ""

    def wait_ready(self, timeout_s: float = 60.0) -> Self:
        """Wait for the line that says where it listens. Fails with its log when it ends instead."""
        stdout = self.process.stdout
        assert stdout is not None
        os.set_blocking(stdout.fileno(), False)
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while not self.output.endswith("\n\n"):
                if not selector.select(deadline - time.monotonic()):
                    raise AssertionError(f"the server was not ready within {timeout_s} s: {self.log}")
                chunk = os.read(stdout.fileno(), 65_536)
                if not chunk:
                    raise AssertionError(f"the server ended with {self.process.wait(60)}: {self.log}")
                self.output += chunk.decode()
        found = _READY.search(self.output)
        assert found is not None, self.output
        self.url = found[1]
        if (pages := _PAGES.search(self.output)) is not None:
            self.pages_url = pages[1]
        return self

    @property
    def log(self) -> str:
        """What it wrote to standard error."""
        return self._log.read_text(errors="replace")

    def client(self, key: str | None = None, **options: object) -> httpx.Client:
        """A client with the root key, another key, or (empty text) none."""
        key = self.root_key if key is None else key
        headers = {"X-API-Key": key} if key else {}
        known = {"timeout": 240, "trust_env": False, "verify": NO_CAS, **options}
        return httpx.Client(base_url=self.url, headers=headers, **known)  # type: ignore[arg-type]

    def children(self) -> list[psutil.Process]:
        """Every process below the server."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, timeout_s: float = 60.0) -> int:
        """SIGTERM and wait; its exit status. A wrapper that only waits for the server ends with it."""
        wrapped = psutil.Process(self.process.pid).children() if self._wrapped else []
        for process in wrapped or [self.process]:
            process.send_signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL to the server alone."""
        self.process.kill()
        self.wait(60)

    def wait(self, timeout_s: float) -> int:
        status = self.process.wait(timeout_s)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status

    def __enter__(self) -> Self:
        try:
            return self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()
        else:
            self.wait(60)
