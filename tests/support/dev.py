"""A real `isolet dev` in a child process, which had the program loaded already, and the lines that it prints."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import httpx

from tests.support.server import NO_CAS
from tests.support.starter import Forked
from tests.support.waiting import wait_until

_TIMEOUT_S = 120


class Dev:
    """Use it as a context manager: it gets SIGINT at the end. With `--json`, standard output is events."""

    def __init__(self, folder: Path, *arguments: str, data_dir: Path | None, **settings: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ISOLET_")}
        environment.update({f"ISOLET_{name.upper()}": value for name, value in settings.items()})
        command = ["dev", "--json", "--port", "0", "--dashboard-port", "off", *arguments]
        command += [] if data_dir is None else ["--data-dir", str(data_dir)]
        reading, writing = os.pipe()
        with contextlib.chdir(folder), os.fdopen(writing, "wb") as stderr:
            self.process = Forked(command, environment, stderr=stderr)
        self.events: list[dict[str, Any]] = []
        self.errors: list[str] = []
        streams = ((self.process.stdout, self._event), (os.fdopen(reading, "rb"), self._complaint))
        self._readers = [threading.Thread(target=self._read, args=arguments) for arguments in streams]
        for reader in self._readers:
            reader.start()
        self.client = httpx.Client(trust_env=False, verify=NO_CAS, timeout=_TIMEOUT_S)

    def url(self, function: str) -> str:
        """Where it says that the function answers."""
        return str(self.event("address", function=function)["url"])

    def event(self, name: str, **members: object) -> dict[str, Any]:
        """The newest event with these members, when there is one."""
        wanted = {"event": name, **members}

        def found() -> dict[str, Any] | None:
            matching = [one for one in list(self.events) if wanted.items() <= one.items()]
            return matching[-1] if matching else None

        self.until(lambda: found() is not None, f"{wanted}")
        event = found()
        assert event is not None
        return event

    def event_now(self, name: str) -> dict[str, Any]:
        """The newest event of the name."""
        return [one for one in self.events if one.get("event") == name][-1]

    def until(self, is_so: Any, what: str) -> None:
        def look() -> bool:
            if is_so():
                return True
            assert self.process.poll() is None, (what, self.process.poll(), self.errors, self.events)
            return False

        wait_until(look, timeout_s=_TIMEOUT_S, what=what)

    def answers(self, function: str, text: str, path: str = "") -> None:
        """Wait until it does."""
        url = self.url(function)
        self.until(lambda: self.client.get(url + path).text == text, f"{function} answers {text!r}")

    def wait(self) -> int:
        """Its exit code."""
        code = self.process.wait(_TIMEOUT_S)
        for reader in self._readers:
            reader.join(_TIMEOUT_S)
        return code

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def _event(self, line: str) -> None:
        self.events.append(json.loads(line))

    def _complaint(self, line: str) -> None:
        self.errors.append(line)

    def _read(self, stream: IO[bytes], add: Callable[[str], None]) -> None:
        with io.TextIOWrapper(io.BufferedReader(stream) if isinstance(stream, io.RawIOBase) else stream) as lines:
            for line in lines:
                add(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.wait()
