"""Brings a project to a server: its migrations, its functions side by side, their schedules, and a probe of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence, Set
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from msgspec import Struct
from msgspec.structs import replace

from isolet.client import ApiError, AsyncClient, DeployFailed, Forbidden, NotFound, Refused, Unauthenticated
from isolet.contract.functions import FunctionReply
from isolet.contract.schedules import ScheduleMembers
from isolet.errors import IsoletError
from isolet.workspace import migrating
from isolet.workspace.collecting import Collected, collect, with_new_texts
from isolet.workspace.comparing import Comparison, compare, definition_of, read_remote
from isolet.workspace.errors import Problem, SourcesFailed, WorkspaceError
from isolet.workspace.model import FunctionConfig, Workspace
from isolet.workspace.state import State

_T = TypeVar("_T")
_PARALLEL = 4
_WAIT_S = 120
_PROBE_S = 30.0
_RECORD_S = 10.0
_RECORD_POLL_S = 0.05


class Outcome(StrEnum):
    MADE = "made"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    FAILED = "failed"


class Deployed(Struct, frozen=True, kw_only=True):
    """What became of a function. `answered` is the version that answered a probe, `answer` its status.

    `problems` are what failed; `collected` is None where its sources could not be read.
    """

    name: str
    outcome: Outcome
    version: int | None = None
    answered: int | None = None
    answer: int | None = None
    problems: tuple[Problem, ...] = ()
    collected: Collected | None = None
    comparison: Comparison | None = None
    function: FunctionReply | None = None


class Server(Struct, frozen=True, kw_only=True):
    """Where to deploy to."""

    client: AsyncClient
    url: str
    key: str
    project: str


Tell = Callable[[str], None]


class Deploys:
    """Deploys functions of a workspace. `tell` gets a line of what was done, `progress` one of each function."""

    def __init__(
        self,
        server: Server,
        workspace: Workspace,
        esbuild: Path,
        *,
        tell: Tell = lambda _: None,
        progress: Tell = lambda _: None,
    ) -> None:
        self._progress = progress
        self._server = server
        self._workspace = workspace
        self._esbuild = esbuild
        self._tell = tell
        self._places = asyncio.Semaphore(_PARALLEL)

    async def compare(self, function: FunctionConfig, state: State) -> Comparison:
        """Raises SourcesFailed, WorkspaceError, ApiError."""
        async with self._places:
            collected = await collect(self._esbuild, self._workspace.root, function)
            remote = await read_remote(self._server.client, self._server.project, function.name)
            forgotten = state.forgotten_variables(function.name, function.variables)
            return await asyncio.to_thread(compare, function, collected, remote, forgotten=forgotten)

    async def compare_all(self, functions: Sequence[FunctionConfig], state: State) -> list[Comparison]:
        """Raises as `compare` does."""
        return await together(self.compare(one, state) for one in functions)

    async def migrate(self) -> None:
        """Apply what is not applied. Raises WorkspaceError, ApiError."""
        client, project, root = self._server.client, self._server.project, self._workspace.root
        for migrations in self._workspace.migrations:
            for name in await migrating.pending(client, project, root, migrations):
                await migrating.apply(client, project, root, migrations, name)
                self._tell(f"{migrations.database}: applied {name}")

    async def pending_migrations(self) -> list[str]:
        client, project, root = self._server.client, self._server.project, self._workspace.root
        return [
            f"{one.database}: {name} is not applied"
            for one in self._workspace.migrations
            for name in await migrating.pending(client, project, root, one)
        ]

    async def deploy(
        self, functions: Sequence[FunctionConfig], state: State, *, force: bool = False, probe: bool = True
    ) -> list[Deployed]:
        """All of them, whatever becomes of one. Raises nothing that is about one function only."""
        await self.migrate()
        ended = 0

        async def one(function: FunctionConfig) -> Deployed:
            nonlocal ended
            done = await self._deploy(function, state, force, probe)
            ended += 1
            self._progress(f"{ended} of {len(functions)}: {done.name} {done.outcome}")
            return done

        return await together(map(one, functions))

    async def again(self, function: FunctionConfig, before: Deployed, changed: Set[Path]) -> Deployed:
        """Deploy a function of which only sources may have changed since it was deployed here.

        It asks the server for nothing that is known, and makes no probe. While esbuild looks which files there are now,
        the server gets those of before with their new text, which mostly are the same.
        """
        try:
            guess = await asyncio.to_thread(_guessed, before, self._workspace.root, changed)
            look = collect(self._esbuild, self._workspace.root, function)
            sent: FunctionReply | BaseException | None = None
            if guess is None:
                collected = await look
            else:
                collected, sent = await _both(look, self._send(function, guess))
            if before.collected is not None and _same(collected, before.collected):
                return replace(before, outcome=Outcome.UNCHANGED, collected=collected)
            if guess is None or not _same(collected, guess):
                sent = await self._send(function, collected)
            if not isinstance(sent, FunctionReply):
                raise sent or WorkspaceError(f"{function.name} was not sent")
        except IsoletError as exc:
            return failed(function.name, exc)
        return replace(
            before, outcome=Outcome.CHANGED, version=sent.version, collected=collected, function=sent, problems=()
        )

    async def _send(self, function: FunctionConfig, collected: Collected) -> FunctionReply:
        definition = await asyncio.to_thread(definition_of, collected)
        put = self._server.client.functions.put_named
        return await put(self._server.project, function.name, definition, wait=_WAIT_S)

    async def _deploy(self, function: FunctionConfig, state: State, force: bool, probe: bool) -> Deployed:
        try:
            comparison = await self.compare(function, state)
            done = await self._put(comparison, force)
            state.deployed(function.name, done.version, comparison.collected, function.variables)
            return await self._probed(done) if probe else done
        except (Unauthenticated, Forbidden, NotFound):
            # About the key or the project, and so about every function.
            raise
        except (SourcesFailed, WorkspaceError, Refused) as exc:
            return failed(function.name, exc)

    async def _put(self, comparison: Comparison, force: bool) -> Deployed:
        name, remote = comparison.function.name, comparison.remote
        if not (comparison.changes or force) and remote is not None:
            return Deployed(
                name=name,
                outcome=Outcome.UNCHANGED,
                version=remote.reply.version,
                collected=comparison.collected,
                comparison=comparison,
                function=remote.reply,
            )
        async with self._places:
            if comparison.deploys or force or remote is None:
                put = self._server.client.functions.put_named
                reply = await put(self._server.project, name, comparison.definition, wait=_WAIT_S)
            else:
                reply = remote.reply
            if reply.status != "deployed":
                raise WorkspaceError(f"the deploy has not ended within {_WAIT_S} s: its status is {reply.status}")
            await self._put_schedules(reply.id, comparison)
        return Deployed(
            name=name,
            outcome=Outcome.MADE if remote is None or remote.reply.version is None else Outcome.CHANGED,
            version=reply.version,
            collected=comparison.collected,
            comparison=comparison,
            function=reply,
        )

    async def _put_schedules(self, function_id: str, comparison: Comparison) -> None:
        schedules = self._server.client.schedules
        for before in comparison.schedules_to_delete:
            await schedules.delete(before.id)
        for wanted, there in comparison.schedules_to_put:
            members = ScheduleMembers(wanted.to_json())
            if there is None:
                await schedules.create(function_id, members)
            else:
                await schedules.update(there.id, members)

    async def _probed(self, done: Deployed) -> Deployed:
        """With the version that answers a HEAD request at the function's public address now."""
        if done.function is None or done.function.access == "none":
            return done
        address = function_url(self._server.url, self._server.project, done.function.slug)
        async with httpx.AsyncClient(timeout=_PROBE_S, trust_env=False) as http:
            try:
                reply = await http.head(address, headers={"X-API-Key": self._server.key})
            except httpx.HTTPError:
                return done
        invocation = reply.headers.get("x-invocation-id")
        if invocation is None:
            return done
        return replace(done, answer=reply.status_code, answered=await self._version_of(invocation))

    async def _version_of(self, invocation_id: str) -> int | None:
        """Records are written a moment after the reply."""
        deadline = time.monotonic() + _RECORD_S
        while time.monotonic() < deadline:
            try:
                return (await self._server.client.invocations.get(invocation_id)).version
            except NotFound:
                await asyncio.sleep(_RECORD_POLL_S)
            except ApiError:
                return None
        return None


def failed(name: str, error: IsoletError) -> Deployed:
    """What an error says about a function."""
    problems: tuple[Problem, ...] = (Problem(message=error.text if isinstance(error, Refused) else error.message),)
    if isinstance(error, SourcesFailed):
        problems = error.problems
    elif isinstance(error, DeployFailed):
        problems = (_problem(error),)
    return Deployed(name=name, outcome=Outcome.FAILED, problems=problems)


def _guessed(before: Deployed, root: Path, changed: Set[Path]) -> Collected | None:
    """What there is to send when only texts changed; None when more did, or nothing."""
    if before.collected is None:
        return None
    try:
        guess = with_new_texts(before.collected, root, changed)
    except OSError:
        return None
    return None if guess is None or _same(guess, before.collected) else guess


async def together(work: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """What each returns. When one fails, its error is raised after the others were cancelled and have ended."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def _both(
    look: Awaitable[Collected], send: Awaitable[FunctionReply]
) -> tuple[Collected, FunctionReply | BaseException]:
    """Side by side. What the first raises counts; what the second raises may be of files that are not meant."""
    collected, sent = await asyncio.gather(look, send, return_exceptions=True)
    if isinstance(collected, BaseException):
        raise collected
    return collected, sent


def _same(one: Collected, other: Collected) -> bool:
    return (one.entry, one.files) == (other.entry, other.files)


def function_url(url: str, project: str, slug: str) -> str:
    return f"{url.rstrip('/')}/f/{quote(project, safe='')}/{quote(slug, safe='')}"


def _problem(error: DeployFailed) -> Problem:
    details: Mapping[str, object] = error.details
    line, column = details.get("line"), details.get("column")
    file, text = details.get("file"), details.get("text")
    return Problem(
        message=error.text,
        file=file if isinstance(file, str) else None,
        line=line if isinstance(line, int) else None,
        column=column if isinstance(column, int) else None,
        text=text if isinstance(text, str) else None,
    )
