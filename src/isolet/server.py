"""A running server: what it takes of the machine, how it starts, and how it stops.

Stopping: refuse new connections, drain the running calls, stop the loops, kill and reap the processes. Told a second
time, it waits for no call any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from isolet import datadir, keyfile
from isolet.api.deferred import Asgi, Deferred
from isolet.assembly.calls import Calls, build_calls, management_of
from isolet.assembly.core import Core, cut, make_example, open_core, start_core
from isolet.assembly.dashboard import Dashboard, open_dashboard
from isolet.assembly.features import FEATURES
from isolet.assembly.host import Host, serve_beside
from isolet.clock import SystemClock
from isolet.domain.access import new_key
from isolet.domain.functions import Function
from isolet.domain.platform_pages import PlatformPages
from isolet.errors import SettingsError
from isolet.runtime.sandbox import Sandbox
from isolet.settings import Settings
from isolet.tasks import Tasks
from isolet.telemetry import get_logger
from isolet.threads import share_default_threads
from isolet.toolchain import find
from isolet.wire.server import Listener, bind

if TYPE_CHECKING:
    from fastapi import FastAPI

log = get_logger("server")
_PORT_MAX = 65_535
_M_ARENA_MAX, _ARENAS = -8, 2
_PAGES_CONNECTIONS = 500
# A thread that calculates gives way to the loop after this time, each time that the loop has something to do; Python's
# own 5 ms are several in a call, and as many as make callers wait in line.
_SWITCH_INTERVAL_S = 0.0005


class Started(Struct, frozen=True, kw_only=True):
    """What the operator is told. `new_key` is the root key when it was made now; `sign_in_url` is good once."""

    url: str
    pages_url: str | None
    sign_in_url: str | None
    root_key_file: Path | None
    new_key: str | None
    example: Function | None


class StopRequests:
    """Signals, and loops that failed, ask the server to stop."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()

    def add(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


async def serve(
    settings: Settings,
    *,
    example: bool = False,
    on_started: Callable[[Started], None] = lambda _: None,
    stopping: StopRequests | None = None,
    around: Callable[[Core, Asgi], Asgi] = lambda _, app: app,
) -> None:
    """Run until SIGINT, SIGTERM, or a request of `stopping`. `around` may put something before all doors.

    Raises SettingsError, StoreError or PlatformError when it cannot start.
    """
    # What any part of it writes is this user's alone, and its memory, which holds keys, goes to no file.
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    share_default_threads(asyncio.get_running_loop())
    async with AsyncExitStack() as stack:
        stopping = stopping or StopRequests()
        machine = _take_machine(settings, stack, stopping)
        host = machine.host
        core = await open_core(host)
        features = [open_feature(core) for open_feature in FEATURES]
        await start_core(core)
        for feature in features:
            await feature.start()
        management = management_of(core, features, machine.pages)
        calls = build_calls(core, features, management, machine.pages)
        dashboard = _serve_pages(machine, core, management, calls, stack)
        started = _started(machine, dashboard, await make_example(core) if example else None)

        def serving() -> None:
            on_started(started)
            host.loops.loop(_complete(management), name="management")

        listener = Listener(
            around(core, calls.served),
            machine.port,
            drain_timeout_s=settings.drain_timeout_s,
            connections_max=host.connections_max,
            trusted_proxies=settings.trusted_networks,
            on_started=serving,
        )
        machine.tasks.spawn(_stop_when_asked(stopping, core, listener), name="stop")
        _hear_signals(stopping)
        await listener.run_until_stopped()
        log.info("draining")


def _serve_pages(
    machine: Machine, core: Core, management: Deferred[FastAPI], calls: Calls, stack: AsyncExitStack
) -> Dashboard | None:
    """On a listener of their own, where there are any."""
    if machine.pages is None or machine.pages_port is None:
        return None
    dashboard = open_dashboard(core, machine.pages, management, calls, connections_max=_PAGES_CONNECTIONS)
    serve_beside(dashboard.app, machine.pages_port, name="pages", stack=stack, connections_max=_PAGES_CONNECTIONS)
    return dashboard


def _started(machine: Machine, dashboard: Dashboard | None, example: Function | None) -> Started:
    return Started(
        url=machine.host.url,
        pages_url=machine.pages.base("") if machine.pages is not None else None,
        sign_in_url=dashboard.sign_in_url if dashboard is not None else None,
        root_key_file=machine.root_key_file,
        new_key=machine.host.root_key if machine.root_key_is_new else None,
        example=example,
    )


def _hear_signals(stopping: StopRequests) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Until the loop ends: the second one counts while running calls are waited for, too.
        loop.add_signal_handler(number, stopping.add)


class Machine(Struct, frozen=True, kw_only=True):
    """What a server takes of the machine. `port` and `pages_port` are bound; `tasks` ends last of all."""

    host: Host
    port: socket.socket
    pages_port: socket.socket | None
    pages: PlatformPages | None
    root_key_file: Path | None
    root_key_is_new: bool
    tasks: Tasks


def _take_machine(settings: Settings, stack: AsyncExitStack, stopping: StopRequests) -> Machine:
    """Raises SettingsError for what cannot be had."""
    _share_free_memory()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    tasks = Tasks()
    stack.push_async_callback(tasks.close)
    folder = stack.enter_context(datadir.locked(settings.data_dir))
    toolchain = find(workerd=settings.workerd, esbuild=settings.esbuild)
    sandbox = Sandbox(toolchain, enabled=settings.sandbox == "on")
    sandbox.check()
    port = stack.enter_context(bind(settings.host, settings.port))
    pages_port = stack.enter_context(_bind_pages(settings, port)) if settings.shows_pages else None
    root_key, is_new, key_file = _root_key(settings, folder)
    address, number = _address(port)
    host = Host(
        settings=settings,
        toolchain=toolchain,
        sandbox=sandbox,
        folder=folder,
        url=(settings.public_url or "").rstrip("/") or f"http://{address}:{number}",
        connections_max=_raise_open_files() // 2,
        root_key=root_key,
        clock=SystemClock(),
        stack=stack,
        loops=Tasks(on_fatal=stopping.add),
    )
    return Machine(
        host=host,
        port=port,
        pages_port=pages_port,
        pages=_pages(settings, port, pages_port) if pages_port is not None else None,
        root_key_file=key_file,
        root_key_is_new=is_new,
        tasks=tasks,
    )


async def _stop_when_asked(requests: StopRequests, core: Core, listener: Listener) -> None:
    """The first request drains; the second ends what is waited for."""
    await requests.first.wait()
    core.observation.tail.close()
    listener.stop()
    await requests.second.wait()
    cut(core)
    listener.stop()


def _bind_pages(settings: Settings, api: socket.socket) -> socket.socket:
    """The port that was asked for, else the one after the API's, else a free one. Raises SettingsError."""
    _, api_port = _address(api)
    wanted = settings.pages_port
    if wanted is not None:
        if wanted == api_port:
            raise SettingsError(f"cannot show the pages on port {wanted}: the API is there (ISOLET_DASHBOARD_PORT)")
        return bind(settings.host, wanted, listen=True)
    if settings.port != 0 and api_port < _PORT_MAX:
        with contextlib.suppress(SettingsError):
            return bind(settings.host, api_port + 1, listen=True)
    return bind(settings.host, 0, listen=True)


def _pages(settings: Settings, api: socket.socket, pages: socket.socket) -> PlatformPages:
    host, port = _address(pages)
    return PlatformPages(
        host=host,
        port=port,
        api_port=_address(api)[1],
        url=(settings.dashboard_url or "").rstrip("/") or None,
        api_url=(settings.public_url or "").rstrip("/") or None,
    )


def _address(bound: socket.socket) -> tuple[str, int]:
    """Host, as it stands in a URL, and port."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]" if ":" in host else host, port


def _raise_open_files() -> int:
    """Each instance takes some descriptors: use as many as this user may, not the few that a shell starts with.

    The number; callers get half of them, so that those who only keep connections open stop nothing else.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _share_free_memory() -> None:
    """Let all threads have two pools of free memory. Each had its own, which stayed as large as its largest work."""
    with contextlib.suppress(AttributeError, OSError):
        # Of the C library of most Linux systems; others have no such pools.
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


async def _complete(management: Deferred[Any]) -> None:
    """Calls are served by now. Whatever else there is need not wait for its first request to be made."""
    await management.ready()
    _settle_memory()


def _settle_memory() -> None:
    """What is loaded now stays: the collector need not look at it again, nor look often at what calls leave.

    What loading left as garbage stays as well, two MiB or so: to look for it would hold every call up for 200 ms. What
    refers to itself later goes ten thousand objects at a time, where a hundred thousand would take 80 ms.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(4_000, 2, 1_000)


def _root_key(settings: Settings, folder: Path) -> tuple[str, bool, Path | None]:
    """The root key, whether it is new, and the file it is in unless a variable gave it."""
    if settings.api_key is not None:
        return settings.api_key.reveal(), False, None
    path = folder / "root-key"
    key, made = keyfile.load_or_create(path, new_key)
    return key, made, path
