"""The processes that run functions, and those that hold a project's data and its way to the network."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from socket import socket

from msgspec import Struct

from isolet import datadir
from isolet.api.butterbase.loopback import bind_unix
from isolet.assembly.host import Host
from isolet.assembly.limits import share_of
from isolet.assembly.observation import Observation
from isolet.assembly.registry import Registry
from isolet.domain.invocations import ConsoleLine
from isolet.functions.health import Health
from isolet.ids import InvocationId
from isolet.routing.routes import Routes
from isolet.runtime import cgroups
from isolet.runtime.addresses import Addresses
from isolet.runtime.config import ConfigBuilder
from isolet.runtime.console import Said
from isolet.runtime.egress import Egresses
from isolet.runtime.guard import Guard
from isolet.runtime.instance import Instance
from isolet.runtime.launcher import Launcher
from isolet.runtime.pid_files import PidFiles
from isolet.runtime.places import Budget
from isolet.runtime.pool import Pool
from isolet.runtime.spec import InstanceSpec
from isolet.runtime.storage.local import LocalStorages
from isolet.runtime.storage.port import ProjectStorages
from isolet.settings import Settings
from isolet.telemetry import get_logger

log = get_logger("runtime")

_MB = 1024 * 1024


class Runtime(Struct, frozen=True, kw_only=True):
    """`loopback` is the bound socket by which functions call each other; `instance_of` knows instances by their tokens.

    `is_copy` says that the data directory was copied from that of another server.
    """

    pool: Pool
    guard: Guard
    egresses: Egresses
    storages: ProjectStorages
    addresses: Addresses
    loopback: socket
    instance_of: Callable[[str], Instance | None]
    is_copy: bool


async def open_runtime(host: Host, registry: Registry, observation: Observation, health: Health) -> Runtime:
    """Raises PlatformError when the machine does not let it start a process."""
    routes = registry.routes
    run = datadir.run_folder(host.folder)
    pid_files = PidFiles(run / "pids", data=host.folder / "projects")
    if leftovers := pid_files.kill_leftovers():
        log.warning("ended processes of an earlier run", count=leftovers)
    # Before the first child: one that stayed where the server started would keep it from making groups there.
    groups = cgroups.find()
    configs = ConfigBuilder(host.toolchain.workerd_schema)
    addresses = _open_addresses(host)
    egresses = await _open_egresses(host, routes, configs, pid_files, addresses, run)
    registry.changes.add(egresses.follow)
    loopback_path = run / "loopback" / "socket"
    host.stack.callback(loopback_path.unlink, missing_ok=True)
    loopback = host.stack.enter_context(bind_unix(loopback_path))
    storages = _open_storages(host, routes, configs, pid_files, run)
    registry.changes.add(storages.follow)
    launcher = Launcher(
        configs=configs,
        sandbox=host.sandbox,
        pid_files=pid_files,
        sockets=run / "sockets",
        egresses=egresses,
        storages=storages,
        loopback_socket=loopback_path,
        cgroups=groups,
    )
    pool, guard = _open_pool(host, routes, observation, health, launcher)
    # The last one added is called first: no instance is left when its storage goes.
    registry.cleanup.add(egresses.delete)
    registry.cleanup.add(storages.delete)
    registry.cleanup.add(pool.retire_project)
    return Runtime(
        pool=pool,
        guard=guard,
        egresses=egresses,
        storages=storages,
        addresses=addresses,
        loopback=loopback,
        instance_of=launcher.instance_of,
        is_copy=pid_files.foreign,
    )


def _open_addresses(host: Host) -> Addresses:
    addresses = Addresses()
    host.stack.callback(addresses.close)
    addresses.start()
    return addresses


async def _open_egresses(
    host: Host, routes: Routes, configs: ConfigBuilder, pid_files: PidFiles, addresses: Addresses, run: Path
) -> Egresses:
    egresses = Egresses(
        configs=configs,
        sandbox=host.sandbox,
        pid_files=pid_files,
        folder=run,
        allowed_of=routes.egress_of,
        addresses=addresses,
        limit_of=lambda project_id: routes.limits_of(project_id).connections,
        idle_timeout_s=host.settings.idle_timeout_s,
        start_timeout_s=host.settings.start_timeout_s,
    )
    host.stack.push_async_callback(egresses.close)
    await egresses.check()
    return egresses


def _open_storages(
    host: Host, routes: Routes, configs: ConfigBuilder, pid_files: PidFiles, run: Path
) -> ProjectStorages:
    storages = LocalStorages(
        configs=configs,
        sandbox=host.sandbox,
        pid_files=pid_files,
        data=host.folder / "projects",
        sockets=run / "storage",
        idle_timeout_s=host.settings.idle_timeout_s,
        database_max_bytes=host.settings.database_max_mb * _MB,
        limit_mb=lambda project_id: routes.limits_of(project_id).storage_mb,
    )
    host.stack.push_async_callback(storages.close)
    return storages


def _open_pool(
    host: Host, routes: Routes, observation: Observation, health: Health, launcher: Launcher
) -> tuple[Pool, Guard]:
    settings, recorder, redaction = host.settings, observation.recorder, observation.redaction

    def print_own(spec: InstanceSpec, line: ConsoleLine) -> None:
        if (route := routes.function(spec.function_id)) is not None:
            recorder.print_own((spec.project_id, spec.function_id, route.name), redaction.line(line))

    def hear(call: InvocationId, said: Said) -> None:
        if isinstance(said, ConsoleLine):
            recorder.print(call, redaction.line(said))
        else:
            recorder.requested(call, redaction.outgoing(said))

    pool = Pool(
        launcher,
        on_line=hear,
        on_own_line=print_own,
        start_timeout_s=settings.start_timeout_s,
        on_health=health.report,
        idle_timeout_s=settings.idle_timeout_s,
        queue_timeout_s=settings.queue_timeout_s,
        budget=Budget(instances=settings.max_instances, memory_bytes=_memory_budget(settings)),
        share_of=share_of(settings, routes),
    )
    guard = Guard(watched=lambda: pool.instances, on_busy=pool.busy, clock=host.clock)
    host.loops.loop(guard.run(), name="guard")
    host.stack.push_async_callback(guard.close)
    host.stack.push_async_callback(pool.close, settings.drain_timeout_s)
    return pool, guard


def _memory_budget(settings: Settings) -> int:
    """In bytes: as set, else three quarters of the machine's memory."""
    if settings.memory_budget_mb:
        return settings.memory_budget_mb * _MB
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4
