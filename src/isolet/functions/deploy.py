"""Deploys: compile, prove, publish. A deploy is on disk once accepted, and goes on after a restart.

Proving means that an instance of the new version has loaded its module; that very instance then takes over, so the new
one is ready before the old one retires. What fails leaves the live version live.

Of a function at most one deploy waits: a newer one takes its place, and whoever waited for the older one hears how the
newer one ended; its version number is passed over. What waits is a row in the store and an id here, not the code.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from isolet.clock import Clock
from isolet.compile import Compiler
from isolet.database import functions as stored_functions
from isolet.database import versions as stored
from isolet.database.code_sizes import Room, no_bound
from isolet.database.connection import Connection, Database
from isolet.domain.changes import Change, FunctionChanged, FunctionDeployed
from isolet.domain.functions import DeployError, Function, FunctionStatus, FunctionType
from isolet.domain.sources import DEFAULT_ENTRY
from isolet.domain.versions import Deployment, Version
from isolet.errors import (
    BuildFailed,
    InvalidInput,
    IsoletError,
    NotFound,
    PlatformError,
    StoreError,
    StoreRefused,
    Unavailable,
)
from isolet.functions.pending_changes import PendingChanges
from isolet.functions.releases import Releases, release_of
from isolet.ids import DeploymentId, FunctionId, ProjectId, new_id
from isolet.listeners import Listeners
from isolet.runtime.instance import Instance
from isolet.runtime.pool import Pool
from isolet.tasks import Tasks
from isolet.telemetry import get_logger
from isolet.turns import Turns

log = get_logger("deploy")

VERSIONS_KEPT = 20
# One project never has all of them.
_PLACES = 4
_AGAIN_MIN_S, _AGAIN_MAX_S = 1.0, 30.0
_FOLLOW_EVERY_S = 60.0
_ABANDONED_MS = 300_000
_OURS = PlatformError("an error of the platform's own; its log says more")


class _Overtaken(Exception):
    """Another server published a version with the number that this one was to have."""


class _Line:
    """The deploys of one function that this server has to do: one at work, and perhaps one that waits."""

    def __init__(self) -> None:
        self.waiting: Deployment | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def put(self, deployment: Deployment) -> asyncio.Future[None]:
        """Let it wait, in place of the one that waits now; what is returned is done when it has ended."""
        if self.waiting is None:
            self.ended = asyncio.get_running_loop().create_future()
        self.waiting = deployment
        return self.ended

    def take(self) -> tuple[Deployment | None, asyncio.Future[None]]:
        deployment, self.waiting = self.waiting, None
        return deployment, self.ended


class Deployer:
    """Deploys of one function happen one after the other; a few functions at a time, shared out between projects."""

    def __init__(
        self,
        *,
        database: Database,
        compiler: Compiler,
        pool: Pool,
        releases: Releases,
        events: Listeners[Change],
        clock: Clock,
        settling: PendingChanges,
        code_room: Room = no_bound,
    ) -> None:
        """`code_room` tells how many bytes the code of a project's functions may take, with their versions."""
        self._code_room = code_room
        self._settling = settling
        self._database = database
        self._compiler = compiler
        self._pool = pool
        self._releases = releases
        self._events = events
        self._clock = clock
        self._turns = Turns(_PLACES, of_one=_PLACES - 1)
        self._locks: weakref.WeakValueDictionary[FunctionId, asyncio.Lock] = weakref.WeakValueDictionary()
        self._accepting: weakref.WeakValueDictionary[FunctionId, asyncio.Lock] = weakref.WeakValueDictionary()
        self._lines: dict[FunctionId, _Line] = {}
        self._tasks = Tasks()

    async def accept(self, function: Function) -> asyncio.Future[None]:
        """Promise a deploy of the function's code as it stands; the future is done when it, or a newer one, has ended.

        Raises InvalidInput for a type that cannot run here, NotFound for a function that was deleted meanwhile.
        """
        if function.function_type is FunctionType.SUPABASE_FUNCTION:
            raise InvalidInput("Supabase project required for Supabase functions")
        deployment = new_deployment(function.project_id, function.id)
        accepted = partial(_accept, deployment=deployment, now_ms=self._clock.now_ms())
        # One at a time, so that the newest in the store is the newest here.
        async with self._accepting.setdefault(function.id, asyncio.Lock()):
            pending = await self._database.write(accepted)
            self._events.publish(FunctionChanged(function=pending))
            # Who gives up waiting ends nothing.
            return asyncio.shield(self._schedule(deployment))

    def start(self, deployment: Deployment) -> None:
        """Do a deploy that is in the store already, in the background."""
        self._schedule(deployment)

    async def rollback(self, function: Function, number: int) -> Function:
        """Make an earlier version live again, proven like a new one. Raises NotFound, BuildFailed."""
        lock = self._locks.setdefault(function.id, asyncio.Lock())
        async with lock, self._turns.take(function.project_id):
            version = await self._database.read(stored.get_version, function.id, number)
            instance = await self._pool.prove(await self._releases.prepare(version))
            return await self._switch(instance, partial(_go_live, version=version, now_ms=self._clock.now_ms()))

    async def follow(self) -> None:
        """The background loop; ends by cancellation. On a shared database go on with what nobody has ended for long:
        the server that accepted it may not come back.
        """
        while self._database.shared:
            await asyncio.sleep(_FOLLOW_EVERY_S)
            try:
                await self.resume(before_ms=self._clock.now_ms() - _ABANDONED_MS)
            except IsoletError as exc:
                log.error("cannot look for deploys that nobody ends", error=exc.message)

    async def resume(self, *, before_ms: int | None = None) -> None:
        """Go on with what was accepted, by that time, and has not ended."""
        newest: dict[FunctionId, Deployment] = {}
        for deployment in await self._database.read(stored.list_deployments, before_ms):
            if (older := newest.get(deployment.function_id)) is not None:
                await self._database.write(stored.delete_deployment, older.id)
            newest[deployment.function_id] = deployment
        for deployment in newest.values():
            if deployment.function_id not in self._lines:
                self.start(deployment)

    async def close(self) -> None:
        await self._tasks.close()

    def _schedule(self, deployment: Deployment) -> asyncio.Future[None]:
        line = self._lines.get(deployment.function_id)
        if line is None:
            line = self._lines[deployment.function_id] = _Line()
            self._tasks.spawn(self._work(line, deployment), name=f"deploy {deployment.function_id}")
        return line.put(deployment)

    async def _work(self, line: _Line, first: Deployment) -> None:
        """Do what waits in the line, until nothing does."""
        lock = self._locks.setdefault(first.function_id, asyncio.Lock())
        ended, again, pause_s = line.ended, False, _AGAIN_MIN_S
        deployment: Deployment | None = None
        try:
            while again or line.waiting is not None:
                async with lock, self._turns.take(first.project_id):
                    if not again:
                        deployment, ended = line.take()
                    again = deployment is not None and not await self._run(deployment)
                if again:
                    # Others have its place meanwhile.
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, _AGAIN_MAX_S)
                    continue
                pause_s = _AGAIN_MIN_S
                if not ended.done():
                    ended.set_result(None)
        finally:
            del self._lines[first.function_id]
            for future in (ended, line.ended):
                future.cancel()

    async def _run(self, deployment: Deployment) -> bool:
        """Whether it has ended. It is to be done again when the store is away, or has another server's version now."""
        try:
            await self._try(deployment)
        except StoreRefused as exc:
            log.error("cannot write how a deploy ended", function_id=deployment.function_id, error=exc.message)
        except (_Overtaken, StoreError) as exc:
            log.warning("a deploy is tried again", function_id=deployment.function_id, error=str(exc))
            return False
        return True

    async def _try(self, deployment: Deployment) -> None:
        """Raises StoreError, _Overtaken."""
        try:
            await self._deploy(deployment)
        except NotFound:
            log.info("function deleted or deployed elsewhere meanwhile", function_id=deployment.function_id)
        except Unavailable:
            log.info("the server stops; the deploy goes on at the next start", function_id=deployment.function_id)
        except StoreRefused as exc:
            log.error("the store refuses a deploy", function_id=deployment.function_id, error=exc.message)
            await self._fail(deployment, _OURS)
        except (_Overtaken, StoreError):
            raise
        except IsoletError as exc:
            await self._fail(deployment, exc)
        except Exception as exc:
            log.error("deploy broke off", function_id=deployment.function_id, exc_info=exc)
            await self._fail(deployment, _OURS)

    async def _deploy(self, deployment: Deployment) -> None:
        started = partial(stored.start_deployment, deployment_id=deployment.id, now_ms=self._clock.now_ms())
        sources = await self._database.write(started)
        function = await self._database.read(stored_functions.get_function, deployment.function_id)
        node = any(flag.startswith("nodejs_compat") for flag in function.compatibility.flags)
        bundle = await self._compiler.compile_sources(sources, deployment.project_id, node=node)
        version = Version(
            function_id=function.id,
            number=await self._database.read(stored.next_number, deployment),
            code=sources.code,
            bundle=bundle.module,
            files=None if sources.single is not None and sources.entry == DEFAULT_ENTRY else sources.to_json(),
            modules=bundle.modules,
            compatibility=function.compatibility,
            language=bundle.language,
            limits=function.limits,
            created_at_ms=self._clock.now_ms(),
        )
        instance = await self._pool.prove(await self._releases.prepare(version))
        publish = partial(
            _publish, deployment=deployment, version=version, now_ms=self._clock.now_ms(), room=self._code_room
        )
        await self._switch(instance, publish)

    async def _switch(self, instance: Instance, publish: Callable[[Connection], tuple[Function, Function]]) -> Function:
        """Publish on disk, let the proven instance take the calls, retire the one before."""
        with self._settling.change(instance.spec.function_id):
            try:
                before, after = await self._database.write(publish)
            except BaseException:
                self._pool.discard(instance)
                raise
            self._pool.adopt(instance)
            self._events.publish(FunctionDeployed(function=after))
        if before.version is not None and before.version != after.version:
            self._pool.retire(release_of(before))
        log.info("deployed", function_id=after.id, version=after.version)
        return after

    async def _fail(self, deployment: Deployment, error: IsoletError) -> None:
        found = error if isinstance(error, BuildFailed) else BuildFailed("The deploy failed: " + error.message)
        failure = DeployError(
            message=found.message,
            line=found.line,
            column=found.column,
            text=found.text,
            file=found.file,
            at_ms=self._clock.now_ms(),
        )
        try:
            function = await self._database.write(partial(_fail, deployment=deployment, failure=failure))
        except NotFound:
            return
        self._events.publish(FunctionChanged(function=function))
        log.info("deploy failed", function_id=function.id, error=failure.message)


def new_deployment(project_id: ProjectId, function_id: FunctionId) -> Deployment:
    return Deployment(id=DeploymentId(new_id()), function_id=function_id, project_id=project_id)


def _accept(connection: Connection, deployment: Deployment, now_ms: int) -> Function:
    """Until the deploy ends the status is no longer `deployed`, so that a client that polls sees the change."""
    pending = stored_functions.modify_function(
        connection, deployment.function_id, lambda function: replace(function, status=FunctionStatus.DRAFT)
    )
    stored.put_deployment(connection, deployment, now_ms)
    return pending


def _publish(
    connection: Connection, deployment: Deployment, version: Version, now_ms: int, room: Room
) -> tuple[Function, Function]:
    # The function may be gone; then nothing of this deploy is to stay.
    stored_functions.get_function(connection, deployment.function_id, for_update=True)
    if not stored.delete_deployment(connection, deployment.id):
        raise NotFound("the deploy has ended: another server went on with it, or with a newer one")
    if stored.newest_number(connection, version.function_id) >= version.number:
        raise _Overtaken("another server published a version meanwhile")
    stored.delete_older_deployments(connection, deployment)
    stored.insert_version(connection, version)
    before, after = _go_live(connection, version, now_ms)
    stored.prune_versions(
        connection,
        version.function_id,
        keep=VERSIONS_KEPT,
        live=version.number,
        project_id=deployment.project_id,
        room=room,
    )
    return before, after


def _go_live(connection: Connection, version: Version, now_ms: int) -> tuple[Function, Function]:
    before = stored_functions.get_function(connection, version.function_id, for_update=True)
    after = replace(
        before,
        status=_status(connection, before, FunctionStatus.DEPLOYED),
        deploy_error=None,
        version=version.number,
        last_deployed_at_ms=now_ms,
    )
    stored_functions.replace_function(connection, after)
    return before, after


def _fail(connection: Connection, deployment: Deployment, failure: DeployError) -> Function:
    if not stored.delete_deployment(connection, deployment.id):
        raise NotFound("the deploy has ended: another server went on with it")
    return stored_functions.modify_function(
        connection,
        deployment.function_id,
        lambda function: replace(
            function, status=_status(connection, function, FunctionStatus.ERROR), deploy_error=failure
        ),
    )


def _status(connection: Connection, function: Function, ended: FunctionStatus) -> FunctionStatus:
    """How the last deploy ended; `draft` while a later one is still to come."""
    return FunctionStatus.DRAFT if stored.has_deployment(connection, function.id) else ended
