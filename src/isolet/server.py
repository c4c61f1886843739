"""The composition root: settings to a running server. The order of starting is written here once; stopping reverses it.

Stopping: refuse new connections, drain the running calls, stop the loops, kill and reap the processes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from isolet import __version__, datadir, keyfile
from isolet.clock import SystemClock
from isolet.compile import Compiler
from isolet.domain.access import new_key
from isolet.domain.functions import Function
from isolet.domain.projects import Plan
from isolet.doors import altair_errors, management
from isolet.doors.altair import AltairDoor
from isolet.doors.altair_functions import AltairFunctions
from isolet.doors.butterbase import ButterbaseDoor
from isolet.doors.butterbase_call import ButterbaseCalls
from isolet.doors.gateway import Gateway
from isolet.doors.kapso import OLDER, PLATFORM, KapsoDoor
from isolet.doors.loopback import Loopback, LoopbackTokens, bind_unix
from isolet.doors.metrics import MetricsDoor
from isolet.doors.native import NativeDoor
from isolet.doors.native_access import NativeAccess
from isolet.doors.native_jobs import NativeJobs
from isolet.doors.native_records import RecordsDoor
from isolet.doors.native_storage import StorageDoor
from isolet.doors.native_tokens import TokenDoor
from isolet.doors.rate_gate import RateGate
from isolet.errors import FunctionCrashed
from isolet.functions.deploy import Deployer
from isolet.functions.environment import Environments
from isolet.functions.example import ensure_example
from isolet.functions.masters import open_vault
from isolet.functions.publisher import Publisher
from isolet.functions.releases import Releases
from isolet.functions.secrets import Secrets
from isolet.functions.service import Functions
from isolet.functions.settling import Settling
from isolet.ids import FunctionId, ProjectId, new_id
from isolet.invoke.follower import Follower
from isolet.invoke.identity import Identities
from isolet.invoke.invoker import Invoker
from isolet.invoke.metrics import Metrics
from isolet.invoke.rates import Rates
from isolet.invoke.recorder import Recorder
from isolet.invoke.recording import Recording
from isolet.invoke.records import Records
from isolet.invoke.replay import Replays
from isolet.invoke.retention import Retention
from isolet.invoke.routes import Route, Routes
from isolet.invoke.tail import Tail
from isolet.invoke.traces import Traces
from isolet.jobs.calls import Calls
from isolet.jobs.deliveries import Deliveries
from isolet.jobs.queue import Jobs
from isolet.jobs.webhook_secrets import WebhookSecrets
from isolet.listener import Listener, bind
from isolet.projects import Projects
from isolet.projects.tokens import Tokens
from isolet.runtime import cgroups
from isolet.runtime.config import ConfigBuilder, InstanceSpec
from isolet.runtime.egress import Egress
from isolet.runtime.guard import Guard
from isolet.runtime.instance import Launcher
from isolet.runtime.pool import Budget, Pool
from isolet.runtime.process import PidFiles
from isolet.runtime.sandbox import Sandbox
from isolet.runtime.storage import Storages
from isolet.settings import Settings
from isolet.storage.backup import Backups
from isolet.storage.kv import Kv
from isolet.storage.sql import Sql
from isolet.store import access as stored_access
from isolet.store import functions as stored_functions
from isolet.store import projects as stored_projects
from isolet.store.database import Database
from isolet.store.engine import sqlite_url
from isolet.tasks import Tasks
from isolet.telemetry import get_logger, open_tracing
from isolet.toolchain import Toolchain, find

log = get_logger("server")

_FLUSH_TIMEOUT_S = 10.0


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
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(datadir.locked(settings.data_dir))
        toolchain = find(workerd=settings.workerd, esbuild=settings.esbuild)
        sandbox = Sandbox(toolchain, enabled=settings.sandbox == "on")
        sandbox.check()
        bound = stack.enter_context(bind(settings.host, settings.port))
        root_key, made, key_file = _root_key(settings, folder)
        host, port = bound.getsockname()[:2]
        url = (settings.public_url or "").rstrip("/") or f"http://{'[' + host + ']' if ':' in host else host}:{port}"
        house = _House(settings, toolchain, sandbox, folder, stack, url)
        await house.build(root_key)
        await house.start_jobs()
        listener = Listener(house.app, bound, drain_timeout_s=settings.drain_timeout_s)

        def stop() -> None:
            house.tail.close()
            listener.stop()

        house.stop = stop
        started = Started(
            url=url,
            root_key_file=key_file,
            new_key=root_key if made else None,
            example=await house.example() if example else None,
        )
        listener.on_started = lambda: on_started(started)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
            stack.callback(loop.remove_signal_handler, number)
        _raise_open_files()
        _settle_memory()
        await listener.run_until_stopped()
        log.info("draining")


def _raise_open_files() -> None:
    """Each instance takes some descriptors: use as many as this user may, not the few that a shell starts with."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _settle_memory() -> None:
    """What is loaded now stays: the collector need not look at it again, nor look often at what calls leave."""
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


def _memory_budget(settings: Settings) -> int:
    """In bytes: as set, else three quarters of the machine's memory."""
    if settings.memory_budget_mb:
        return settings.memory_budget_mb * 1024 * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4


class _House:
    """Builds the layers from below; what must be closed goes on the stack as it is opened."""

    app: RateGate

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
        self._settings = settings
        self._toolchain = toolchain
        self._sandbox = sandbox
        self._folder = folder
        self._stack = stack
        self._clock = SystemClock()
        self.tail = Tail()
        self._health = Tasks()
        self._loops = Tasks(on_fatal=lambda: self.stop())

    async def build(self, root_key: str) -> None:
        self._routes = Routes(root_key)
        self._recording = Recording(root_key)
        await self._open_store()
        await self._start_runtime()
        await self._build_core()
        self._build_doors()
        await self._deployer.resume()

    async def start_jobs(self) -> None:
        await self._jobs.start(self._loops)
        self._stack.push_async_callback(self._jobs.drain, self._settings.drain_timeout_s)

    async def example(self) -> Function:
        """The example function, deployed."""
        return await ensure_example(self._functions, self._deployer, self._routes.default_project.id)

    async def _open_store(self) -> None:
        url = self._settings.database_url
        self._database = Database(url.reveal() if url else sqlite_url(self._folder / "isolet.db"))
        self._stack.push_async_callback(self._database.close)
        self._stack.push_async_callback(self._health.close)
        await self._database.open()
        self._vault, self._masters = await open_vault(self._settings, self._database, self._folder)
        self._stack.push_async_callback(self._loops.close)
        tracing = open_tracing(os.environ)
        if tracing is not None:
            self._stack.push_async_callback(asyncio.to_thread, tracing.close)
        self._recorder = Recorder(self._database, self.tail, Traces(tracing).add if tracing is not None else None)
        self._routes.on_drop = self._recorder.figures.forget
        self._recorder.figures.exists = self._routes.has_function
        retention = Retention(
            self._database, self._clock, days=self._settings.retention_days, rows=self._settings.retention_rows
        )
        self._loops.loop(retention.run(), name="retention")
        self._loops.loop(self._recorder.run(), name="recorder")
        self._stack.push_async_callback(self._recorder.flush, _FLUSH_TIMEOUT_S)

    async def _start_runtime(self) -> None:
        settings, run = self._settings, datadir.run_folder(self._folder)
        pid_files = PidFiles(run / "pids", data=self._folder)
        leftovers = pid_files.kill_leftovers()
        if leftovers:
            log.warning("ended processes of an earlier run", count=leftovers)
        configs = ConfigBuilder(self._toolchain.workerd_schema)
        egress = self._egress = Egress(
            configs=configs,
            sandbox=self._sandbox,
            pid_files=pid_files,
            socket=run / "egress" / "socket",
            allowed=settings.egress_networks,
            start_timeout_s=settings.start_timeout_s,
        )
        self._stack.push_async_callback(egress.close)
        await egress.start()
        self._loops.loop(egress.supervise(), name="egress")
        self._egress_socket = egress.socket
        loopback_socket = run / "loopback" / "socket"
        self._stack.callback(loopback_socket.unlink, missing_ok=True)
        self._loopback_socket = self._stack.enter_context(bind_unix(loopback_socket))
        self._storages = Storages(
            configs=configs,
            sandbox=self._sandbox,
            pid_files=pid_files,
            data=self._folder / "projects",
            sockets=run / "storage",
            idle_timeout_s=settings.idle_timeout_s,
            database_max_bytes=settings.database_max_mb * 1024 * 1024,
        )
        self._stack.push_async_callback(self._storages.close)
        launcher = Launcher(
            configs=configs,
            sandbox=self._sandbox,
            pid_files=pid_files,
            sockets=run / "sockets",
            egress_socket=egress.socket,
            storages=self._storages,
            loopback_socket=loopback_socket,
            cgroups=cgroups.find(),
        )
        self._pool = Pool(
            launcher,
            on_line=self._recorder.print,
            start_timeout_s=settings.start_timeout_s,
            on_health=self._on_health,
            idle_timeout_s=settings.idle_timeout_s,
            queue_timeout_s=settings.queue_timeout_s,
            budget=Budget(instances=settings.max_instances, memory_bytes=_memory_budget(settings)),
        )
        self._guard = Guard(watched=lambda: self._pool.instances, on_busy=self._pool.busy, clock=self._clock)
        self._loops.loop(self._guard.run(), name="guard")
        self._stack.push_async_callback(self._guard.close)
        self._stack.push_async_callback(self._pool.close, settings.drain_timeout_s)

    def _on_health(self, function_id: FunctionId, reason: str | None) -> None:
        self._health.spawn(self._functions.set_health(function_id, reason), name=f"health {function_id}")

    async def _build_core(self) -> None:
        database, routes, clock, pool = self._database, self._routes, self._clock, self._pool
        tokens = LoopbackTokens()
        releases = Releases(database, self._vault, api_url=self._url, token=tokens.issue)
        self._identities = Identities(
            database=database, vault=self._vault, clock=clock, egress_socket=self._egress_socket
        )
        self._stack.callback(self._identities.close)
        await self._identities.load()

        async def forget(project_id: ProjectId) -> None:
            pool.retire_project(project_id)
            self._vault.forget(project_id)
            self._identities.forget(project_id)
            await self._jobs.delete_project(project_id)
            await self._storages.delete(project_id)

        async def load_spec(route: Route) -> InstanceSpec:
            if route.version is None:
                raise FunctionCrashed("the function has no live version")
            return await releases.load(route.function_id, route.version)

        self._projects = Projects(database=database, events=routes, clock=clock, on_delete=forget)
        await self._projects.ensure_default()
        self._tokens = Tokens(database=database, clock=clock)
        self._follower = Follower(
            database=database,
            routes=routes,
            pool=pool,
            vault=self._vault,
            identities=self._identities,
            tokens=self._tokens,
            on_project_gone=forget,
        )
        await self._follower.begin()
        routes.load(
            functions=await database.read(stored_functions.list_functions),
            projects=await database.read(stored_projects.list_projects),
            keys=await database.read(stored_access.list_keys),
        )
        self._invoker = Invoker(
            pool=pool,
            recorder=self._recorder,
            clock=clock,
            load_spec=load_spec,
            on_call=self._guard.wake,
            recording=self._recording,
        )
        self._stack.push_async_callback(self._invoker.close)
        await self._start_loopback(tokens)
        settling = Settling()
        self._functions = Functions(database=database, pool=pool, events=routes, clock=clock, settling=settling)
        self._secrets = Secrets(database=database, vault=self._vault, pool=pool, events=routes, clock=clock)
        compiler = Compiler(self._toolchain.esbuild)
        self._deployer = Deployer(
            database=database,
            compiler=compiler,
            pool=pool,
            releases=releases,
            events=routes,
            clock=clock,
            settling=settling,
        )
        self._stack.push_async_callback(self._deployer.close)
        self._environments = Environments(database=database, vault=self._vault, pool=pool, events=routes, clock=clock)
        self._publisher = Publisher(
            database=database,
            compiler=compiler,
            functions=self._functions,
            deployer=self._deployer,
            environments=self._environments,
            clock=clock,
        )
        await self._tokens.load()
        self._loops.loop(self._follower.run(), name="follower")
        self._build_jobs()

    async def _start_loopback(self, tokens: LoopbackTokens) -> None:
        """Where functions call other functions; it stops before the instances do."""
        app = Loopback(routes=self._routes, invoker=self._invoker, tokens=tokens, settings=self._settings)
        listener = Listener(app, self._loopback_socket, drain_timeout_s=1)
        task = self._health.spawn(listener.run_until_stopped(), name="loopback")

        async def stop() -> None:
            listener.stop()
            listener.stop()
            await task

        self._stack.push_async_callback(stop)

    def _build_jobs(self) -> None:
        database, clock, settings = self._database, self._clock, self._settings
        owner, _ = keyfile.load_or_create(self._folder / "server-id", new_id)
        self._webhook_secrets = WebhookSecrets(database=database, vault=self._vault, clock=clock)
        self._jobs = Jobs(
            database=database,
            clock=clock,
            owner=owner,
            calls=Calls(
                routes=self._routes,
                find=self._follower.find,
                invoker=self._invoker,
                clock=clock,
                tell=altair_errors.failure,
            ),
            deliveries=Deliveries(
                egress_socket=self._egress.socket,
                secrets=self._webhook_secrets,
                clock=clock,
                schedule_s=settings.callback_schedule,
                timeout_s=settings.callback_timeout_s,
                host_limit=settings.callback_host_concurrency,
            ),
            call_capacity=settings.job_concurrency,
            delivery_capacity=settings.callback_concurrency,
            retention_ms=round(settings.result_retention_h * 3_600_000),
        )

    def _build_doors(self) -> None:
        settings, access = self._settings, NativeAccess(self._routes)
        records = Records(self._database, self._recorder)
        kapso = KapsoDoor(
            routes=self._routes,
            invoker=self._invoker,
            functions=self._functions,
            deployer=self._deployer,
            secrets=self._secrets,
            records=records,
            settings=settings,
        )
        calls = ButterbaseCalls(
            routes=self._routes, invoker=self._invoker, identities=self._identities, settings=settings
        )
        butterbase = ButterbaseDoor(
            routes=self._routes,
            functions=self._functions,
            publisher=self._publisher,
            environments=self._environments,
            records=records,
            settings=settings,
            clock=self._clock,
        )
        tokens = TokenDoor(access=access, identities=self._identities)
        native = NativeDoor(
            access=access,
            projects=self._projects,
            functions=self._functions,
            deployer=self._deployer,
            masters=self._masters,
        )
        storage = StorageDoor(
            access=access,
            kv=Kv(self._storages),
            sql=Sql(self._storages),
            backups=Backups(self._storages),
            settings=settings,
        )
        altair = AltairDoor(
            routes=self._routes, tokens=self._tokens, invoker=self._invoker, jobs=self._jobs, settings=settings
        )
        spaces = AltairFunctions(
            routes=self._routes,
            tokens=self._tokens,
            functions=self._functions,
            deployer=self._deployer,
            records=records,
            settings=settings,
        )
        jobs = NativeJobs(access=access, jobs=self._jobs, secrets=self._webhook_secrets)
        watched = RecordsDoor(
            access=access,
            functions=self._functions,
            records=records,
            jobs=jobs,
            replays=Replays(self._routes, self._invoker),
            tail=self.tail,
            metrics=Metrics(self._database, self._recorder, self._clock, self._storages.data),
        )
        metrics = MetricsDoor(
            access=access,
            routes=self._routes,
            recorder=self._recorder,
            tail=self.tail,
            jobs=self._jobs,
            instances=lambda: self._pool.instances,
            public=settings.metrics_public,
        )
        routers = [kapso.router(PLATFORM), kapso.router(OLDER), native.router(), storage.router()]
        application = management.build(
            [
                *routers,
                butterbase.router(),
                spaces.router(),
                tokens.router(),
                watched.router(),
                jobs.router(),
                metrics.router(),
            ],
            health=lambda: {
                "status": "ok",
                "version": __version__,
                "sandbox": settings.sandbox,
                "records": {"lost": self._recorder.lost, "waiting": self._recorder.waiting},
            },
            docs_assets=self._toolchain.docs_assets,
        )
        limits = {Plan(name): limit for name, limit in settings.requests_a_minute.items()}
        rates = Rates(self._routes, limits, clock=time.monotonic)
        gateway = Gateway(kapso=kapso, butterbase=calls, altair=altair, management=application)
        self.app = RateGate(gateway, routes=self._routes, rates=rates)
