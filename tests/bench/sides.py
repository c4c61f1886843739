"""The two sides of a comparison: a real server with one function, and bare workerd with the same one."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import capnp
from msgspec import Struct

from isolet import toolchain
from isolet.domain.compatibility import NEWEST as COMPATIBILITY_DATE
from tests.support.kapso import Kapso
from tests.support.server import Server

FUNCTION = (
    "export default { async fetch(request) { const { n } = await request.json(); return Response.json(n + 1); } }"
)
BODY = b'{"n": 41, "name": "a small body"}'
ANSWER = b"42"
_BACKLOG = 1024


class Target(Struct, frozen=True, kw_only=True):
    """Where a POST of `body` gives `answer`."""

    url: str
    key: str | None = None
    body: bytes = BODY
    answer: bytes = ANSWER

    @property
    def headers(self) -> dict[str, str]:
        own = {} if self.key is None else {"X-API-Key": self.key}
        return {"Content-Type": "application/json", **own}

    def call(self) -> None:
        """One call on a connection of its own. Fails on any other answer than the right one."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
        try:
            connection.request("POST", parts.path or "/", self.body, self.headers)
            reply = connection.getresponse()
            seen = (reply.status, reply.read())
        finally:
            connection.close()
        if seen != (200, self.answer):
            raise AssertionError(f"{self.url} answered {seen}")


@contextmanager
def isolet_server(**settings: object) -> Iterator[Server]:
    """A server on a data directory that goes with it."""
    with (
        tempfile.TemporaryDirectory(prefix="isolet-bench-") as folder,
        Server(Path(folder) / "data", forked=False, **settings) as up,
    ):
        yield up


def deployed(server: Server) -> Target:
    """The function, deployed through the Kapso API."""
    with server.client() as client:
        function_id = Kapso(client).deployed(FUNCTION, name="Bench")
    return Target(url=f"{server.url}/platform/v1/functions/{function_id}/invoke", key=server.root_key)


class BareWorkerd:
    """workerd with the function and nothing else, on a free port of 127.0.0.1 or on the socket that is given.

    It may be called at once: the socket listens before the process is there.
    """

    def __init__(self, listener: socket.socket | None = None) -> None:
        with ExitStack() as stack:
            listener = stack.enter_context(listener or socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG))
            config = stack.enter_context(open(os.memfd_create("config"), "w+b"))
            config.write(_config())
            config.seek(0)
            if listener.family == socket.AF_INET:
                self.target = Target(url=f"http://127.0.0.1:{listener.getsockname()[1]}/")
            self.process = subprocess.Popen(
                [_tools().workerd, "serve", "--binary", "-", f"--socket-fd=http={listener.fileno()}"],
                stdin=config,
                pass_fds=(listener.fileno(),),
                env={},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(10)


@contextmanager
def empty_proxy() -> Iterator[tuple[Target, int]]:
    """`tests.bench.proxy` before bare workerd, and the pid above both."""
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.proxy"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise AssertionError(f"the proxy ended with {process.wait(10)}")
        yield Target(url=url), process.pid
    finally:
        process.terminate()
        process.wait(30)


@cache
def _tools() -> toolchain.Toolchain:
    return toolchain.find()


@cache
def _config() -> bytes:
    capnp.remove_import_hook()
    schema: Any = capnp.load(str(_tools().workerd_schema), imports=[str(Path(capnp.__file__).parent.parent)])
    config = schema.Config.new_message()
    (service,) = config.init("services", 1)
    service.name = "function"
    worker = service.init("worker")
    (module,) = worker.init("modules", 1)
    module.name = "function.js"
    module.esModule = FUNCTION
    worker.compatibilityDate = COMPATIBILITY_DATE
    (listening,) = config.init("sockets", 1)
    listening.name = "http"
    listening.service.name = "function"
    listening.init("http")
    return bytes(config.to_bytes())
