"""A running server: what it takes of the machine, how it starts, and how it stops.

Stopping: refuse new connections, drain the running calls, stop the loops, kill and reap the processes. Told a second
time, it waits for no call any more.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from isolet import datadir, keyfile
from isolet.domain.access import new_key
from isolet.domain.functions import Function
from isolet.doors.deferred import Deferred
from isolet.front import build_front, management_of
from isolet.house import House
from isolet.listener import Listener, bind
from isolet.runtime.sandbox import Sandbox
from isolet.settings import Settings
from isolet.telemetry import get_logger
from isolet.toolchain import find

log = get_logger("server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What the operator is told. `new_key` is the root key when it was made at this start."""

    url: str
    root_key_file: Path | None
    new_key: str | None
    example: Function | None


async def serve(
    settings: Settings, *, example: bool = False, on_started: Callable[[Started], None] = lambda _: None
) -> None:
    """Run until SIGINT or SIGTERM. Raises SettingsError, StoreError or PlatformError when it cannot start."""
    # What any part of it writes is this user's alone.
    os.umask(0o077)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(datadir.locked(settings.data_dir))
        toolchain = find(workerd=settings.workerd, esbuild=settings.esbuild)
        sandbox = Sandbox(toolchain, enabled=settings.sandbox == "on")
        sandbox.check()
        bound = stack.enter_context(bind(settings.host, settings.port))
        root_key, made, key_file = _root_key(settings, folder)
        host, port = bound.getsockname()[:2]
        url = (settings.public_url or "").rstrip("/") or f"http://{'[' + host + ']' if ':' in host else host}:{port}"
        house = House(settings, toolchain, sandbox, folder, stack, url)
        await house.build(root_key)
        await house.start_jobs()
        management = management_of(house)
        listener = Listener(
            build_front(house, management),
            bound,
            drain_timeout_s=settings.drain_timeout_s,
            connections_max=_raise_open_files() // 2,
            trusted_proxies=settings.trusted_networks,
        )

        def stop() -> None:
            house.tail.close()
            if listener.should_exit:
                house.cut()
            listener.stop()

        house.stop = stop
        started = Started(
            url=url,
            root_key_file=key_file,
            new_key=root_key if made else None,
            example=await house.example() if example else None,
        )

        def tell() -> None:
            on_started(started)
            house.run(_complete(management), name="management")

        listener.on_started = tell
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            # Until the loop ends: the second one counts while running calls are waited for, too.
            loop.add_signal_handler(number, stop)
        _settle_memory()
        await listener.run_until_stopped()
        log.info("draining")


def _raise_open_files() -> int:
    """Each instance takes some descriptors: use as many as this user may, not the few that a shell starts with.

    The number; callers get half of them, so that those who only keep connections open stop nothing else.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


async def _complete(management: Deferred) -> None:
    """Calls are served by now. Whatever else there is need not wait for its first request to be made."""
    await management.prepare()
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
