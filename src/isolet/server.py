"""The composition root: settings to a running server. The order of starting is written here once; stopping reverses it.

Stopping: refuse new connections, drain the running calls, stop the loops, kill and reap the processes.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from isolet import __version__
from isolet.clock import SystemClock
from isolet.compile import Compiler
from isolet.domain.access import new_key
from isolet.domain.functions import Function
from isolet.doors import management
from isolet.doors.gateway import Gateway
from isolet.doors.kapso import OLDER, PLATFORM, KapsoDoor
from isolet.doors.native import NativeDoor
from isolet.errors import FunctionCrashed, SettingsError
from isolet.functions.deploy import Deployer
from isolet.functions.example import ensure_example
from isolet.functions.releases import Releases
from isolet.functions.service import Functions
from isolet.invoke.invoker import Invoker
from isolet.invoke.recorder import Recorder
from isolet.invoke.records import Records
from isolet.invoke.routes import Route, Routes
from isolet.keyfile import load_or_create
from isolet.listener import Listener, bind
from isolet.projects import Projects
from isolet.runtime.config import ConfigBuilder, InstanceSpec
from isolet.runtime.egress import Egress
from isolet.runtime.instance import Launcher
from isolet.runtime.pool import Pool
from isolet.runtime.process import PidFiles
from isolet.runtime.sandbox import Sandbox
from isolet.runtime.storage import Storages
from isolet.settings import Settings
from isolet.store import access as stored_access
from isolet.store import functions as stored_functions
from isolet.store import projects as stored_projects
from isolet.store.database import Database
from isolet.store.engine import sqlite_url
from isolet.tasks import Tasks
from isolet.telemetry import get_logger
from isolet.toolchain import Toolchain, find

log = get_logger("server")

_SOCKET_PATH_MAX = 100
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
        folder = stack.enter_context(_data_folder(settings.data_dir))
        toolchain = find(workerd=settings.workerd, esbuild=settings.esbuild)
        sandbox = Sandbox(toolchain, enabled=settings.sandbox == "on")
        sandbox.check()
        bound = stack.enter_context(bind(settings.host, settings.port))
        root_key, made, key_file = _root_key(settings)
        house = await stack.enter_async_context(_house(settings, toolchain, sandbox, folder, root_key))
        shown = await house.example() if example else None
        listener = Listener(house.app, bound, drain_timeout_s=settings.drain_timeout_s)
        house.on_fatal(listener.stop)
        host, port = bound.getsockname()[:2]
        started = Started(
            url=settings.public_url or f"http://{'[' + host + ']' if ':' in host else host}:{port}",
            root_key_file=key_file,
            new_key=root_key if made else None,
            example=shown,
        )
        listener.on_started = lambda: on_started(started)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, listener.stop)
            stack.callback(loop.remove_signal_handler, number)
        await listener.run_until_stopped()
        log.info("draining")


class House:
    """The parts that the listener needs of a running house."""

    def __init__(
        self,
        *,
        app: Gateway,
        functions: Functions,
        deployer: Deployer,
        routes: Routes,
        fatal: list[Callable[[], None]],
    ) -> None:
        self.app = app
        self._functions = functions
        self._deployer = deployer
        self._routes = routes
        self._fatal = fatal

    async def example(self) -> Function:
        return await ensure_example(self._functions, self._deployer, self._routes.default_project.id)

    def on_fatal(self, stop: Callable[[], None]) -> None:
        """What to do when a background loop dies."""
        self._fatal.append(stop)


@asynccontextmanager
async def _house(
    settings: Settings, toolchain: Toolchain, sandbox: Sandbox, folder: Path, root_key: str
) -> AsyncIterator[House]:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        url = settings.database_url.reveal() if settings.database_url else sqlite_url(folder / "isolet.db")
        database = Database(url)
        stack.push_async_callback(database.close)
        await database.open()

        fatal: list[Callable[[], None]] = []

        def stop_all() -> None:
            for stop in fatal:
                stop()

        loops = Tasks(on_fatal=stop_all)
        stack.push_async_callback(loops.close)

        recorder = Recorder(database)
        loops.loop(recorder.run(), name="recorder")
        stack.push_async_callback(recorder.flush, _FLUSH_TIMEOUT_S)

        run = _run_folder(folder)
        pid_files = PidFiles(run / "pids")
        leftovers = pid_files.kill_leftovers()
        if leftovers:
            log.warning("ended processes of an earlier run", count=leftovers)
        sockets = run / "sockets"
        sockets.mkdir(exist_ok=True)
        for stale in sockets.iterdir():
            stale.unlink()
        configs = ConfigBuilder(toolchain.workerd_schema)
        egress = Egress(
            configs=configs,
            sandbox=sandbox,
            pid_files=pid_files,
            socket=run / "egress" / "socket",
            allowed=settings.egress_networks,
            start_timeout_s=settings.start_timeout_s,
        )
        stack.push_async_callback(egress.close)
        await egress.start()
        loops.loop(egress.supervise(), name="egress")

        storages = Storages(
            configs=configs,
            sandbox=sandbox,
            pid_files=pid_files,
            data=folder / "projects",
            sockets=run / "storage",
            idle_timeout_s=settings.idle_timeout_s,
            database_max_bytes=settings.database_max_mb * 1024 * 1024,
        )
        stack.push_async_callback(storages.close)

        pool = Pool(
            Launcher(
                configs=configs,
                sandbox=sandbox,
                pid_files=pid_files,
                sockets=sockets,
                egress_socket=egress.socket,
                storages=storages,
            ),
            on_line=recorder.print,
            start_timeout_s=settings.start_timeout_s,
            idle_timeout_s=settings.idle_timeout_s,
        )
        stack.push_async_callback(pool.close, settings.drain_timeout_s)

        routes = Routes(root_key)
        projects = Projects(database=database, events=routes, clock=clock)
        await projects.ensure_default()
        routes.load(
            functions=await database.read(stored_functions.list_functions),
            projects=await database.read(stored_projects.list_projects),
            keys=await database.read(stored_access.list_keys),
        )
        releases = Releases(database)

        async def load_spec(route: Route) -> InstanceSpec:
            if route.version is None:
                raise FunctionCrashed("the function has no live version")
            return await releases.load(route.function_id, route.version)

        invoker = Invoker(pool=pool, recorder=recorder, clock=clock, load_spec=load_spec)
        stack.push_async_callback(invoker.close)
        functions = Functions(database=database, pool=pool, events=routes, clock=clock)
        deployer = Deployer(
            database=database,
            compiler=Compiler(toolchain.esbuild),
            pool=pool,
            releases=releases,
            events=routes,
            clock=clock,
        )
        stack.push_async_callback(deployer.close)
        await deployer.resume()

        kapso = KapsoDoor(
            routes=routes,
            invoker=invoker,
            functions=functions,
            deployer=deployer,
            records=Records(database, recorder),
            settings=settings,
        )
        native = NativeDoor(routes=routes, projects=projects, functions=functions, deployer=deployer)
        app = management.build(
            [kapso.router(PLATFORM), kapso.router(OLDER), native.router()],
            health=lambda: {"status": "ok", "version": __version__, "sandbox": settings.sandbox},
            docs_assets=toolchain.docs_assets,
        )
        yield House(
            app=Gateway(kapso=kapso, management=app),
            functions=functions,
            deployer=deployer,
            routes=routes,
            fatal=fatal,
        )


def _root_key(settings: Settings) -> tuple[str, bool, Path | None]:
    """The root key, whether it is new, and the file it is in unless a variable gave it."""
    if settings.api_key is not None:
        return settings.api_key.reveal(), False, None
    path = settings.data_dir.absolute() / "root-key"
    key, made = load_or_create(path, new_key)
    return key, made, path


class _data_folder:
    """The data directory, made when missing and locked against a second server."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._lock = -1

    def __enter__(self) -> Path:
        try:
            self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SettingsError(f"cannot use {self._path}: another Isolet server runs on it") from None
        except OSError as exc:
            raise SettingsError(f"cannot use {self._path} as data directory: {exc.strerror}") from exc
        return self._path

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)


def _run_folder(data: Path) -> Path:
    """Where sockets and pids live: in the data directory, unless its path is too long for a socket's address."""
    run = data / "run"
    if len(str(run)) > _SOCKET_PATH_MAX - 30:
        run = Path(tempfile.gettempdir()) / f"isolet-{hashlib.sha256(str(data).encode()).hexdigest()[:16]}"
    run.mkdir(mode=0o700, exist_ok=True)
    owner = run.stat()
    if owner.st_uid != os.getuid() or owner.st_mode & 0o077:
        raise SettingsError(f"cannot use {run}: it must belong to this user and be closed to others")
    return run
