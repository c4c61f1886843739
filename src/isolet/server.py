"""A running server: what it takes of the machine, how it starts, and how it stops.

Stopping: refuse new connections, drain the running calls, stop the loops, kill and reap the processes. Told a second
time, it waits for no call any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isolet import datadir, keyfile
from isolet.api.deferred import Deferred
from isolet.assembly.calls import build_calls, management_of, pages_of
from isolet.assembly.core import Core
from isolet.domain.access import new_key
from isolet.domain.functions import Function
from isolet.domain.platform_pages import PlatformPages
from isolet.errors import SettingsError
from isolet.runtime.sandbox import Sandbox
from isolet.settings import Settings
from isolet.tasks import Tasks
from isolet.telemetry import get_logger
from isolet.toolchain import find
from isolet.wire.server import Listener, bind

log = get_logger("server")
_PORT_MAX = 65_535
_PAGES_CONNECTIONS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What the operator is told. `new_key` is the root key when it was made at this start."""

    url: str
    pages_url: str | None
    root_key_file: Path | None
    new_key: str | None
    example: Function | None


async def serve(
    settings: Settings, *, example: bool = False, on_started: Callable[[Started], None] = lambda _: None
) -> None:
    """Run until SIGINT or SIGTERM. Raises SettingsError, StoreError or PlatformError when it cannot start."""
    # What any part of it writes is this user's alone, and its memory, which holds keys, goes to no file.
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(datadir.locked(settings.data_dir))
        toolchain = find(workerd=settings.workerd, esbuild=settings.esbuild)
        sandbox = Sandbox(toolchain, enabled=settings.sandbox == "on")
        sandbox.check()
        bound = stack.enter_context(bind(settings.host, settings.port))
        pages_bound = stack.enter_context(_bind_pages(settings, bound)) if settings.shows_pages else None
        root_key, made, key_file = _root_key(settings, folder)
        pages = _pages(settings, bound, pages_bound) if pages_bound is not None else None
        host, port = _address(bound)
        url = (settings.public_url or "").rstrip("/") or f"http://{host}:{port}"
        core = Core(settings, toolchain, sandbox, folder, stack, url)
        await core.build(root_key)
        await core.start_jobs()
        management = management_of(core, pages)
        if pages is not None and pages_bound is not None:
            await _serve_pages(pages_of(core, pages, management), pages_bound, stack)
        listener = Listener(
            build_calls(core, management, pages),
            bound,
            drain_timeout_s=settings.drain_timeout_s,
            connections_max=_raise_open_files() // 2,
            trusted_proxies=settings.trusted_networks,
        )

        def stop() -> None:
            core.tail.close()
            if listener.should_exit:
                core.cut()
            listener.stop()

        core.stop = stop
        started = Started(
            url=url,
            pages_url=pages.base("") if pages is not None else None,
            root_key_file=key_file,
            new_key=root_key if made else None,
            example=await core.example() if example else None,
        )

        def tell() -> None:
            on_started(started)
            core.run(_complete(management), name="management")

        listener.on_started = tell
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            # Until the loop ends: the second one counts while running calls are waited for, too.
            loop.add_signal_handler(number, stop)
        await listener.run_until_stopped()
        log.info("draining")


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


async def _serve_pages(app: Any, bound: socket.socket, stack: AsyncExitStack) -> None:
    """Until the stack closes. Nothing that takes long happens there, so nothing is waited for."""
    tasks = Tasks()
    listener = Listener(app, bound, drain_timeout_s=1, connections_max=_PAGES_CONNECTIONS)
    task = tasks.spawn(listener.run_until_stopped(), name="pages")

    async def stop() -> None:
        listener.stop()
        listener.stop()
        await task

    stack.push_async_callback(stop)


def _raise_open_files() -> int:
    """Each instance takes some descriptors: use as many as this user may, not the few that a shell starts with.

    The number; callers get half of them, so that those who only keep connections open stop nothing else.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


async def _complete(management: Deferred[Any]) -> None:
    """Calls are served by now. Whatever else there is need not wait for its first request to be made."""
    await management.ready()
    _settle_memory()


def _settle_memory() -> None:
    """What is loaded now stays: the collector need not look at it again, nor look often at what calls leave."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _root_key(settings: Settings, folder: Path) -> tuple[str, bool, Path | None]:
    """The root key, whether it is new, and the file it is in unless a variable gave it."""
    if settings.api_key is not None:
        return settings.api_key.reveal(), False, None
    path = folder / "root-key"
    key, made = keyfile.load_or_create(path, new_key)
    return key, made, path
