"""What `isolet dev` does beside its server: deploys with every save, shows what functions print, runs commands."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx
from msgspec import Struct
from msgspec.structs import replace

from isolet.cli import log_lines, shown
from isolet.cli.deploy import check_mapped, line_of, problem_text
from isolet.cli.failures import ExitCode, tell
from isolet.cli.output import Output, note
from isolet.client import ApiError, AsyncClient, Conflict
from isolet.contract.logs import CallEnd
from isolet.contract.projects import ProjectCreate
from isolet.errors import IsoletError
from isolet.tasks import Tasks
from isolet.toolchain import find_esbuild
from isolet.workspace import env_files, type_files
from isolet.workspace.deploying import Deployed, Deploys, Outcome, Server, function_url
from isolet.workspace.loading import NAMES
from isolet.workspace.model import FunctionConfig, Workspace
from isolet.workspace.selecting import open_workspace
from isolet.workspace.state import State
from isolet.workspace.watching import Watch, folders_of

if TYPE_CHECKING:
    from types import TracebackType

    from isolet.server import Started

_LAST_LINES_S = 5.0
_STOP_S = 5.0
_CALL_S = 300.0
# Files beside the sources after which everything is looked at again.
_SHARED = (*NAMES, "package.json", "package-lock.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock", "tsconfig.json")


class Wanted(Struct, frozen=True, kw_only=True):
    """What the command's options say."""

    paths: tuple[str, ...]
    environment: str | None
    config: str | None
    once: bool
    until_success: bool
    run: str | None
    start: str | None
    allow_unmapped: bool
    umask: int

    def open(self) -> tuple[Workspace, tuple[FunctionConfig, ...]]:
        """The project with the variables of development. Raises WorkspaceError."""
        workspace, chosen = open_workspace(Path.cwd(), self.paths, environment=self.environment, config=self.config)
        own = env_files.read_env_files(workspace.root, self.environment)
        functions = tuple(replace(one, variables={**one.variables, **own}) for one in chosen)
        return workspace, functions


class Development:
    """Use it as a context manager. `key` is the server's root key."""

    def __init__(self, wanted: Wanted, started: Started, output: Output, key: str, project: str) -> None:
        self._wanted = wanted
        self._started = started
        self._output = output
        self._project = project
        self._key = key
        self._tasks = Tasks()
        self._watch = Watch(self._tasks)
        self._stack = AsyncExitStack()
        self._workspace, self._functions = wanted.open()
        self._client = AsyncClient(started.url, key)
        self._state = State(self._workspace.root, "dev", project)
        self._done: dict[str, Deployed] = {}
        self._failed: set[str] = set()
        self._ended_calls: dict[str, None] = {}
        self._call_ended = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._client)
        self._stack.push_async_callback(self._tasks.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._state.save()
        await self._stack.aclose()

    async def run(self) -> int:
        """Until there is nothing more to do; the exit code. Raises ApiError, WorkspaceError."""
        await self._make_project()
        self._tasks.spawn(self._show_logs(), name="logs")
        if not self._wanted.once:
            self._watch.follow(await asyncio.to_thread(folders_of, self._workspace.root))
        with self._telling():
            await self._deploy_all()
        self._show_addresses()
        while not self._is_good and not self._wanted.once:
            await self._after_changes()
        if not self._is_good:
            return ExitCode.FAILED
        if not await self._call() and self._wanted.once:
            return ExitCode.FAILED
        command = await self._start_command()
        if self._wanted.once or self._wanted.until_success:
            return await command.wait() if command else ExitCode.DONE
        following = self._tasks.spawn(self._follow_changes(), name="changes")
        if command is None:
            await following
            return ExitCode.DONE
        return await command.wait()

    async def _follow_changes(self) -> None:
        while True:
            if await self._after_changes():
                await self._call()

    async def _after_changes(self) -> bool:
        """Wait for a change and deploy what it is of; whether something was deployed, and all is well."""
        changed = await self._watch.changed()
        news = False
        with self._telling():
            if self._concerns_all(changed):
                news = await self._deploy_all(again=True)
            else:
                news = await self._deploy_changed(changed)
        return news and self._is_good

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Shows an error, and goes on: the next save may mend it."""
        try:
            yield
        except IsoletError as exc:
            tell(exc, as_json=self._output.as_json)

    @property
    def _is_good(self) -> bool:
        """Whether every function is deployed as it is on disk."""
        return not self._failed and all(function.name in self._done for function in self._functions)

    def _concerns_all(self, changed: set[Path]) -> bool:
        """Whether a file of these is no source, but says what the project is."""
        env_names = {name for group in env_files.names(self._wanted.environment) for name in group}
        folders = {(self._workspace.root / one.folder).resolve() for one in self._workspace.migrations}
        config = {Path(self._wanted.config).name} if self._wanted.config else set()
        names = {*_SHARED, *env_names, *config}
        return any(path.name in names or path.parent.resolve() in folders for path in changed)

    async def _deploy_all(self, *, again: bool = False) -> bool:
        if again:
            self._workspace, self._functions = await asyncio.to_thread(self._wanted.open)
            check_mapped(self._workspace, allow=self._wanted.allow_unmapped)
        await asyncio.to_thread(self._write_types)
        done = await self._deploys().deploy(self._functions, self._state, probe=False)
        return await self._finished(done)

    def _write_types(self) -> None:
        """Where the project has a file of them."""
        if not (self._workspace.root / type_files.file_name(self._workspace)).is_file():
            return
        own = env_files.read_env_files(self._workspace.root, self._wanted.environment)
        known = type_files.recorded_secrets(self._workspace)
        secrets = {one.name: sorted({*own, *known.get(one.name, ())}) for one in self._workspace.functions}
        with suppress(OSError):
            type_files.write_types(self._workspace, secrets, mode=0o666 & ~self._wanted.umask)

    async def _deploy_changed(self, changed: set[Path]) -> bool:
        real = {path.resolve() for path in changed}
        # A file that nobody knows may be one that an import waits for, or a link that leads elsewhere now.
        known = set().union(*(one.collected.watched for one in self._done.values() if one.collected))
        everyone = not real <= known
        deploys = self._deploys()
        work = []
        for function in self._functions:
            before = self._done.get(function.name)
            if before is None or before.collected is None:
                work.append(self._whole(deploys, function))
            elif function.name in self._failed:
                # Files that changed before the failure have been sent by nobody.
                work.append(deploys.again(function, before, frozenset()))
            elif everyone or real & before.collected.watched:
                work.append(deploys.again(function, before, real))
        return await self._finished(await asyncio.gather(*work))

    async def _whole(self, deploys: Deploys, function: FunctionConfig) -> Deployed:
        return (await deploys.deploy([function], self._state, probe=False))[0]

    async def _finished(self, done: Sequence[Deployed]) -> bool:
        """Show what became of functions; whether there is something new."""
        news = False
        for one in done:
            was_failed = one.name in self._failed
            if one.problems:
                self._failed.add(one.name)
                self._show_failure(one)
                continue
            self._failed.discard(one.name)
            self._done[one.name] = one
            if one.outcome is not Outcome.UNCHANGED or was_failed:
                news = True
                self._output.event({"event": "deployed", "function": one.name, "version": one.version}, line_of(one))
        if not self._wanted.once:
            await self._watch_all()
        return news

    def _show_failure(self, one: Deployed) -> None:
        text = "\n".join([f"{one.name}: failed", *map(problem_text, one.problems)])
        if self._output.as_json:
            errors = [{"message": p.message, "file": p.file, "line": p.line, "column": p.column} for p in one.problems]
            self._output.event({"event": "failed", "function": one.name, "errors": errors}, "")
        else:
            note(text)

    async def _watch_all(self) -> None:
        folders = await asyncio.to_thread(folders_of, self._workspace.root)
        for one in self._done.values():
            for path in one.collected.watched if one.collected else ():
                if "node_modules" not in path.parts:
                    folders.add(path.parent)
        if self._watch.follow(folders):
            # What changed before it was watched.
            self._watch.poke(self._workspace.root / self._workspace.file)

    def _deploys(self) -> Deploys:
        server = Server(client=self._client, url=self._started.url, key=self._key, project=self._project)
        return Deploys(server, self._workspace, find_esbuild(), tell=note)

    async def _make_project(self) -> None:
        if self._project != "default":
            with suppress(Conflict):
                await self._client.projects.create(ProjectCreate(slug=self._project))

    def _show_addresses(self) -> None:
        for function in self._functions:
            done = self._done.get(function.name)
            slug = done.function.slug if done and done.function else function.name
            url = function_url(self._started.url, self._project, slug)
            told = {"event": "address", "function": function.name, "url": url}
            self._output.event(told, f"{shown.line(function.name)}  {url}")
        if self._started.sign_in_url is not None and not self._wanted.once:
            note(f"Dashboard: {self._started.sign_in_url}")

    async def _show_logs(self) -> None:
        """What functions print, until the server ends the stream; a slow terminal holds up nothing but itself."""
        with suppress(ApiError):
            async with self._client.logs.follow(project=self._project) as events:
                async for event in events:
                    text = log_lines.text(event.data, colour=self._output.has_colour)
                    await asyncio.to_thread(self._output.event, event.data.to_json(), text)
                    if isinstance(event.data, CallEnd):
                        async with self._call_ended:
                            self._ended_calls[event.data.invocation_id] = None
                            while len(self._ended_calls) > 100:
                                del self._ended_calls[next(iter(self._ended_calls))]
                            self._call_ended.notify_all()

    async def _call(self) -> bool:
        """Call the function of `--run`, and print its reply; whether it went well."""
        name = self._wanted.run
        if name is None:
            return True
        done = self._done.get(name) or self._done.get(f"{name}-{self._wanted.environment}")
        url = function_url(self._started.url, self._project, done.function.slug if done and done.function else name)
        async with httpx.AsyncClient(timeout=_CALL_S, trust_env=False) as http:
            try:
                reply = await http.get(url, headers={"X-API-Key": self._key})
            except httpx.HTTPError as exc:
                note(f"{name}: {exc}")
                return False
        invocation = reply.headers.get("x-invocation-id", "")
        await self._lines_of(invocation)
        told = {"event": "reply", "function": name, "status": reply.status_code, "body": reply.text}
        self._output.event(told, shown.lines(reply.text))
        return reply.is_success

    async def _lines_of(self, invocation_id: str) -> None:
        """Wait until what a call printed has been shown."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_LINES_S), self._call_ended:
                await self._call_ended.wait_for(lambda: invocation_id in self._ended_calls)

    async def _start_command(self) -> _Command | None:
        if self._wanted.start is None:
            return None
        variables = {"ISOLET_URL": self._started.url, "ISOLET_API_KEY": self._key, "ISOLET_PROJECT": self._project}
        command = _Command(shlex.split(self._wanted.start), variables, self._wanted.umask)
        await command.start()
        self._stack.push_async_callback(command.stop)
        return command


class _Command:
    """A command in a group of its own, so that all that it starts ends with it."""

    def __init__(self, words: Sequence[str], variables: dict[str, str], umask: int) -> None:
        self._words = words
        self._environment = {**os.environ, **variables}
        self._umask = umask
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Raises IsoletError when it cannot be started."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._words, env=self._environment, umask=self._umask, start_new_session=True
            )
        except (OSError, IndexError, ValueError) as exc:
            raise IsoletError(f"cannot run {' '.join(self._words)!r}: {exc}") from exc

    async def wait(self) -> int:
        """Its exit code; 1 for one that a signal ended."""
        status = await self._process.wait() if self._process else 0
        return status if status >= 0 else ExitCode.FAILED

    async def stop(self) -> None:
        process = self._process
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
                    break
