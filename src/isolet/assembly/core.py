"""The composition root: settings to services, from the lowest layer up. What is opened first is closed last."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from isolet import datadir
from isolet.access.credentials import Credentials
from isolet.api.altair import errors as altair_errors
from isolet.api.loopback import Loopback, bind_unix
from isolet.clock import SystemClock
from isolet.compile import Compiler
from isolet.database import access as stored_access
from isolet.database import functions as stored_functions
from isolet.database import projects as stored_projects
from isolet.database.connection import Database
from isolet.database.engine import sqlite_url
from isolet.domain.changes import Change
from isolet.domain.functions import Function
from isolet.domain.invocations import ConsoleLine
from isolet.domain.own_keys import OwnKeys
from isolet.domain.project_limits import NAMES, ProjectLimits
from isolet.domain.public_routes import HostNames, host_of
from isolet.errors import FunctionCrashed, NotFound
from isolet.functions.deploy import Deployer
from isolet.functions.environment import Environments
from isolet.functions.example import ensure_example
from isolet.functions.master_keys import open_vault
from isolet.functions.pending_changes import PendingChanges
from isolet.functions.private_settings import seal_stored
from isolet.functions.publisher import Publisher
from isolet.functions.releases import Releases
from isolet.functions.secrets import Secrets
from isolet.functions.service import Functions
from isolet.identity.identity import Identities
from isolet.ids import FunctionId, ProjectId
from isolet.invoke.bodies import Bodies
from isolet.invoke.invoker import Invoker
from isolet.jobs.calls import Calls
from isolet.jobs.deliveries import Deliveries
from isolet.jobs.queue import Jobs
from isolet.jobs.webhook_secrets import WebhookSecrets
from isolet.listeners import Listeners
from isolet.observe.recorder import Recorder
from isolet.observe.redaction import Redaction
from isolet.observe.retention import Retention
from isolet.observe.tail import Tail
from isolet.observe.traces import Traces
from isolet.project_data.backup import Backups
from isolet.project_data.soundness import Soundness
from isolet.projects import Projects
from isolet.projects.tokens import Tokens
from isolet.routing.follower import Follower
from isolet.routing.routes import Route, Routes
from isolet.runtime import cgroups
from isolet.runtime.addresses import Addresses
from isolet.runtime.config import ConfigBuilder, InstanceSpec
from isolet.runtime.egress import Egresses
from isolet.runtime.guard import Guard
from isolet.runtime.instance import Launcher
from isolet.runtime.places import Budget, Share
from isolet.runtime.pool import Pool
from isolet.runtime.process import PidFiles
from isolet.runtime.sandbox import Sandbox
from isolet.runtime.storage import Storages
from isolet.settings import Settings
from isolet.tasks import Tasks
from isolet.telemetry import get_logger, open_tracing
from isolet.toolchain import Toolchain
from isolet.wire.server import Listener

log = get_logger("core")

_FLUSH_TIMEOUT_S = 10.0
_MB = 1024 * 1024


def host_names(settings: Settings) -> HostNames:
    """Which host names are functions', and which are the server's own."""
    own = {host_of(settings.public_url), host_of(settings.dashboard_url)}
    return HostNames(domain=settings.domain_of_functions, reserved=frozenset(host for host in own if host is not None))


class Core:
    """Builds the layers from below; what must be closed goes on the stack as it is opened."""

    def __init__(
        self,
        settings: Settings,
        toolchain: Toolchain,
        sandbox: Sandbox,
        folder: Path,
        stack: AsyncExitStack,
        url: str,
    ) -> None:
        self._url = url
        self.stop: Callable[[], None] = lambda: None
        self.settings = settings
        self.toolchain = toolchain
        self._sandbox = sandbox
        self._folder = folder
        self._stack = stack
        self.clock = SystemClock()
        self.tail = Tail()
        self._health = Tasks()
        self._loops = Tasks(on_fatal=lambda: self.stop())

    async def build(self, root_key: str) -> None:
        self.routes = Routes(root_key, _project_limits(self.settings))
        # The routes first, so that the others find in them what changed.
        self.changes: Listeners[Change] = Listeners(self.routes.follow)
        self._own_keys = OwnKeys(root_key)
        self._recording = Redaction(root_key)
        self.bodies = Bodies(
            memory_bytes=self.settings.body_memory_mb * _MB,
            disk_bytes=self.settings.body_disk_mb * _MB,
            folder=self._folder / "spool",
        )
        self._stack.callback(self.bodies.close)
        await self._open_store()
        await self._start_runtime()
        await self._build_core()
        await self.deployer.resume()

    async def start_jobs(self) -> None:
        await self.jobs.start(self._loops)
        self._stack.push_async_callback(self.jobs.drain, self.settings.drain_timeout_s)

    def run(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Run in the background until the server stops. When it fails, the server stops."""
        self._loops.loop(work, name=name)

    def cut(self) -> None:
        """Wait for no call any more: jobs are handed back first, so that they go on at the next start."""
        self.jobs.cut()
        self.pool.cut()

    async def example(self) -> Function:
        """The example function, deployed."""
        return await ensure_example(self.functions, self.deployer, self.routes.default_project.id)

    async def _open_store(self) -> None:
        url = self.settings.database_url
        self.database = Database(url.reveal() if url else sqlite_url(self._folder / "isolet.db"))
        self._stack.push_async_callback(self.database.close)
        self._stack.push_async_callback(self._health.close)
        await self.database.open()
        self._vault, self.masters = await open_vault(self.settings, self.database, self._folder)
        await seal_stored(self.database, self._vault)
        self._stack.push_async_callback(self._loops.close)
        tracing = open_tracing(os.environ)
        if tracing is not None:
            self._stack.push_async_callback(asyncio.to_thread, tracing.close)
        retention = Retention(
            self.database,
            self.clock,
            days=self.settings.retention_days,
            rows=self.settings.retention_rows,
            max_bytes=lambda project_id: self.routes.limits_of(project_id).records_mb * 1024 * 1024,
        )
        self.recorder = Recorder(
            self.database,
            self.tail,
            Traces(tracing).add if tracing is not None else None,
            on_written=retention.written,
        )
        self.routes.on_drop = self.recorder.figures.forget
        self.recorder.figures.exists = self.routes.has_function
        self._loops.loop(retention.run(), name="retention")
        self._loops.loop(self.recorder.run(), name="recorder")
        self._stack.push_async_callback(self.recorder.drain, _FLUSH_TIMEOUT_S)

    async def _start_runtime(self) -> None:
        settings, run = self.settings, datadir.run_folder(self._folder)
        pid_files = PidFiles(run / "pids", data=self._folder / "projects")
        leftovers = pid_files.kill_leftovers()
        self._copied = pid_files.foreign
        if leftovers:
            log.warning("ended processes of an earlier run", count=leftovers)
        # Before the first child: one that stayed where the server started would keep it from making groups there.
        groups = cgroups.find()
        configs = ConfigBuilder(self.toolchain.workerd_schema)
        self.addresses = Addresses()
        self._stack.callback(self.addresses.close)
        self.addresses.start()
        self.egresses = Egresses(
            configs=configs,
            sandbox=self._sandbox,
            pid_files=pid_files,
            folder=run,
            allowed=settings.egress_networks,
            addresses=self.addresses,
            limit_of=lambda project_id: self.routes.limits_of(project_id).connections,
            idle_timeout_s=settings.idle_timeout_s,
            start_timeout_s=settings.start_timeout_s,
        )
        self._stack.push_async_callback(self.egresses.close)
        await self.egresses.check()
        loopback_socket = run / "loopback" / "socket"
        self._stack.callback(loopback_socket.unlink, missing_ok=True)
        self._loopback_socket = self._stack.enter_context(bind_unix(loopback_socket))
        self.storages = Storages(
            configs=configs,
            sandbox=self._sandbox,
            pid_files=pid_files,
            data=self._folder / "projects",
            sockets=run / "storage",
            idle_timeout_s=settings.idle_timeout_s,
            database_max_bytes=settings.database_max_mb * 1024 * 1024,
            limit_mb=lambda project_id: self.routes.limits_of(project_id).storage_mb,
        )
        self._stack.push_async_callback(self.storages.close)
        # Before anything runs: it puts right what a killed server left.
        self.backups = Backups(
            self.storages,
            Soundness(self._sandbox),
            room=lambda project_id: self.routes.limits_of(project_id).storage_mb * 1024 * 1024,
        )
        launcher = Launcher(
            configs=configs,
            sandbox=self._sandbox,
            pid_files=pid_files,
            sockets=run / "sockets",
            egresses=self.egresses,
            storages=self.storages,
            loopback_socket=loopback_socket,
            cgroups=groups,
        )
        self._instance_of = launcher.instance_of
        self.pool = Pool(
            launcher,
            on_line=lambda call, line: self.recorder.print(call, self._recording.line(line)),
            on_own_line=self._print_own,
            start_timeout_s=settings.start_timeout_s,
            on_health=self._on_health,
            idle_timeout_s=settings.idle_timeout_s,
            queue_timeout_s=settings.queue_timeout_s,
            budget=Budget(instances=settings.max_instances, memory_bytes=_memory_budget(settings)),
            share_of=self._share_of,
        )
        self._guard = Guard(watched=lambda: self.pool.instances, on_busy=self.pool.busy, clock=self.clock)
        self._loops.loop(self._guard.run(), name="guard")
        self._stack.push_async_callback(self._guard.close)
        self._stack.push_async_callback(self.pool.close, settings.drain_timeout_s)

    def _print_own(self, spec: InstanceSpec, line: ConsoleLine) -> None:
        if (route := self.routes.function(spec.function_id)) is not None:
            owner = (spec.project_id, spec.function_id, route.name)
            self.recorder.print_own(owner, self._recording.line(line))

    def _share_of(self, project_id: ProjectId) -> Share:
        """A number that the operator chose is a limit; the usual half is all while nobody else wants room."""
        chosen = self.routes.limits_of(project_id).max_instances
        is_limit = self.settings.project_max_instances > 0 or chosen != _project_limits(self.settings).max_instances
        return Share(instances=chosen, is_limit=is_limit)

    def _on_health(self, function_id: FunctionId, reason: str | None) -> None:
        self._health.spawn(self.functions.set_health(function_id, reason), name=f"health {function_id}")

    async def _build_core(self) -> None:
        database, routes, clock, pool = self.database, self.routes, self.clock, self.pool
        releases = Releases(database, self._vault, api_url=self._url)
        self.identities = Identities(database=database, vault=self._vault, clock=clock, egresses=self.egresses)
        self._stack.callback(self.identities.close)
        await self.identities.load()

        async def forget(project_id: ProjectId) -> None:
            pool.retire_project(project_id)
            self._vault.forget(project_id)
            self.identities.forget(project_id)
            await self.jobs.delete_project(project_id)
            await self.storages.delete(project_id)
            await self.egresses.delete(project_id)

        async def empty(project_id: ProjectId) -> None:
            for _, function_id in await self.functions.names(project_id):
                with contextlib.suppress(NotFound):
                    await self.functions.delete(project_id, function_id)

        async def load_spec(route: Route) -> InstanceSpec:
            if route.version is None:
                raise FunctionCrashed("the function has no live version")
            return await releases.load(route.function_id, route.version)

        self.projects = Projects(database=database, events=self.changes, clock=clock, on_delete=forget, empty=empty)
        await self.projects.ensure_default()
        self.tokens = Tokens(database=database, clock=clock)
        self.credentials = Credentials(routes, self.tokens)
        self._own_keys.is_known = self.credentials.is_known
        self._follower = Follower(
            database=database,
            routes=routes,
            events=self.changes,
            pool=pool,
            vault=self._vault,
            identities=self.identities,
            tokens=self.tokens,
            on_project_gone=forget,
        )
        await self._follower.begin()
        routes.load(
            functions=await database.read(stored_functions.list_for_routes),
            projects=await database.read(stored_projects.list_projects),
            keys=await database.read(stored_access.list_keys),
        )
        self.invoker = Invoker(
            pool=pool,
            recorder=self.recorder,
            clock=clock,
            load_spec=load_spec,
            on_call=self._guard.wake,
            recording=self._recording,
            own_keys=self._own_keys,
            sandbox_pages=self.settings.shared_pages == "sandboxed",
        )
        self._stack.push_async_callback(self.invoker.close)
        await self._start_loopback()
        settling = PendingChanges()
        self.functions = Functions(
            database=database,
            pool=pool,
            events=self.changes,
            clock=clock,
            settling=settling,
            vault=self._vault,
            most=lambda project_id: routes.limits_of(project_id).functions,
            hosts=host_names(self.settings),
        )
        self.secrets = Secrets(database=database, vault=self._vault, pool=pool, events=self.changes, clock=clock)
        compiler = Compiler(self.toolchain.esbuild, wrap=self._sandbox.tool)
        self.deployer = Deployer(
            database=database,
            compiler=compiler,
            pool=pool,
            releases=releases,
            events=self.changes,
            clock=clock,
            settling=settling,
        )
        self._stack.push_async_callback(self.deployer.close)
        self.environments = Environments(
            database=database, vault=self._vault, pool=pool, events=self.changes, clock=clock
        )
        self.publisher = Publisher(
            database=database,
            compiler=compiler,
            functions=self.functions,
            deployer=self.deployer,
            environments=self.environments,
            clock=clock,
        )
        await self.tokens.load()
        self._loops.loop(self._follower.run(), name="follower")
        self._build_jobs()

    async def _start_loopback(self) -> None:
        """Where functions call other functions; it stops before the instances do."""
        app = Loopback(
            routes=self.routes,
            invoker=self.invoker,
            instance_of=self._instance_of,
            bodies=self.bodies,
            settings=self.settings,
        )
        listener = Listener(app, self._loopback_socket, drain_timeout_s=1)
        task = self._health.spawn(listener.run_until_stopped(), name="loopback")

        async def stop() -> None:
            listener.stop()
            listener.stop()
            await task

        self._stack.push_async_callback(stop)

    def _build_jobs(self) -> None:
        database, clock, settings = self.database, self.clock, self.settings
        server = datadir.server_name(self._folder)
        if server.copied:
            log.warning("this data directory is a copy, or was moved: the server takes a name of its own")
        self.webhook_secrets = WebhookSecrets(database=database, vault=self._vault, clock=clock)
        self.jobs = Jobs(
            database=database,
            clock=clock,
            owner=server.name,
            calls=Calls(
                routes=self.routes,
                find=self._follower.find,
                invoker=self.invoker,
                clock=clock,
                tell=altair_errors.failure,
            ),
            deliveries=Deliveries(
                egresses=self.egresses,
                secrets=self.webhook_secrets,
                clock=clock,
                schedule_s=settings.callback_schedule,
                timeout_s=settings.callback_timeout_s,
                host_limit=settings.callback_host_concurrency,
            ),
            call_capacity=settings.job_concurrency,
            delivery_capacity=settings.callback_concurrency,
            retention_ms=round(settings.result_retention_h * 3_600_000),
            limits_of=self.routes.limits_of,
            memory_bytes=max(settings.job_memory_mb, 2 * settings.max_body_mb) * 1024 * 1024,
            crash_limit=settings.job_crash_limit,
            copied=self._copied,
            adopt=settings.adopt,
        )


def _project_limits(settings: Settings) -> ProjectLimits:
    """Of a project without its own: as set, else half of the server's instances."""
    given = {name: getattr(settings, f"project_{name}") for name in NAMES}
    given["max_instances"] = given["max_instances"] or max(settings.max_instances // 2, 1)
    return ProjectLimits(**given)


def _memory_budget(settings: Settings) -> int:
    """In bytes: as set, else three quarters of the machine's memory."""
    if settings.memory_budget_mb:
        return settings.memory_budget_mb * 1024 * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4
