"""What a server is built on: settings, programs, folders, and the stack on which its parts are opened."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from socket import socket
from typing import Any

from msgspec import Struct

from isolet.clock import Clock
from isolet.runtime.sandbox import Sandbox
from isolet.settings import Settings
from isolet.tasks import Tasks
from isolet.toolchain import Toolchain
from isolet.wire.server import Listener


class Host(Struct, frozen=True, kw_only=True):
    """`folder` is the data directory, `url` is where clients reach the API; they may have `connections_max` open.

    Each part pushes its end on `stack` as it is opened. `loops` owns background loops; when one of them fails, the
    server stops.
    """

    settings: Settings
    toolchain: Toolchain
    sandbox: Sandbox
    folder: Path
    url: str
    connections_max: int
    root_key: str
    clock: Clock
    stack: AsyncExitStack
    loops: Tasks


def serve_beside(
    app: Any, bound: socket, *, name: str, stack: AsyncExitStack, connections_max: int | None = None
) -> None:
    """Serve an application on a socket of its own until the stack closes. Its running requests are not waited for."""
    listener = Listener(app, bound, drain_timeout_s=1, connections_max=connections_max)
    task = Tasks().spawn(listener.run_until_stopped(), name=name)

    async def stop() -> None:
        listener.stop()
        listener.stop()
        await task

    stack.push_async_callback(stop)
