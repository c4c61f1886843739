"""`isolet dev`: a server of this machine that has a project's functions as they are on disk, with every save."""

from __future__ import annotations

import asyncio
import inspect
import os
import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isolet import settings
from isolet.cli.commands import Commands
from isolet.cli.deploy import AllowUnmapped, Config, Environment, Paths, check_mapped
from isolet.cli.failures import ExitCode, Usage
from isolet.cli.serve import setting_options
from isolet.cli.session import Session
from isolet.telemetry import configure_logging

if TYPE_CHECKING:
    from isolet.api.deferred import Asgi
    from isolet.assembly.core import Core
    from isolet.cli.dev_loop import Wanted
    from isolet.server import Started
    from isolet.settings import Settings

app = Commands()

# What a developer reads are the functions' lines.
_LOG_LEVEL = "warning"
_DATA_DIR = ".isolet"


def dev(
    session: Session,
    paths: Paths = None,
    env: Environment = None,
    config: Config = None,
    once: Annotated[bool, typer.Option("--once", help="Deploy, and end: with 1 when a deploy failed.")] = False,
    until_success: Annotated[bool, typer.Option("--until-success", help="End after the first good deploy.")] = False,
    run: Annotated[
        str | None, typer.Option("--run", metavar="NAME", help="Call this function after each good deploy.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", metavar="CMD", help="Run a command beside, and end when it ends.")
    ] = None,
    temporary: Annotated[bool, typer.Option("--temporary", help="Keep no data: start with an empty server.")] = False,
    allow_unmapped: AllowUnmapped = False,
    **flags: Any,
) -> None:
    """Run a project on this machine, and deploy what changes with every save.

    It is a whole server with the settings of isolet serve, which keeps its data in .isolet unless it is told otherwise.
    Functions answer on this machine without a key; schedules run when they are due, and GET /cdn-cgi/handler/scheduled
    runs one now. Variables come from .dev.vars or .env as well.

    \\b
    isolet dev
    isolet dev --once --run hello        deploy, call, end
    isolet dev --start 'npm run web'     a command that finds the server by ISOLET_URL
    """
    from isolet.cli.dev_loop import Wanted

    if temporary and flags.get("data_dir"):
        raise Usage("--temporary and --data-dir exclude each other")
    wanted = Wanted(
        paths=tuple(paths or ()),
        environment=env,
        config=config,
        once=once,
        until_success=until_success,
        run=run,
        start=start,
        allow_unmapped=allow_unmapped,
        # As it is before the server makes everything its own.
        umask=_umask(),
    )
    workspace, _ = wanted.open()
    check_mapped(workspace, allow=allow_unmapped)
    with ExitStack() as stack:
        if temporary:
            flags["data_dir"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="isolet-dev-"))
        elif not flags.get("data_dir") and not os.environ.get("ISOLET_DATA_DIR"):
            # Of the project, whichever folder of it the command is called in.
            flags["data_dir"] = workspace.root / _DATA_DIR
        chosen = settings.load(os.environ, {"log_level": _LOG_LEVEL, **_given(flags)})
        configure_logging(form=chosen.log_format, level=chosen.log_level)
        code = asyncio.run(_serve(session, wanted, chosen, workspace.project or "default"))
    if code:
        raise typer.Exit(code)


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in flags.items() if value is not None}
    if os.environ.get("ISOLET_LOG_LEVEL"):
        given.setdefault("log_level", os.environ["ISOLET_LOG_LEVEL"])
    return given


def _umask() -> int:
    before = os.umask(0o077)
    os.umask(before)
    return before


async def _serve(session: Session, wanted: Wanted, chosen: Settings, project: str) -> int:
    """Serve until the loop ends or a signal comes; the exit code."""
    from isolet.cli.dev_loop import Development
    from isolet.errors import IsoletError
    from isolet.server import StopRequests, serve
    from isolet.tasks import Tasks

    stopping, tasks, keys = StopRequests(), Tasks(), list[str]()
    ended: list[int | IsoletError] = []

    def around(core: Core, doors: Asgi) -> Asgi:
        keys.append(core.host.root_key)
        return _with_local(core, doors, project)

    async def develop(started: Started) -> None:
        try:
            async with Development(wanted, started, session.output, keys[0], project) as development:
                ended.append(await development.run())
        except IsoletError as exc:
            ended.append(exc)
        except Exception:
            # It is logged by the owner of the task.
            ended.append(ExitCode.FAILED)
            raise
        finally:
            stopping.add()

    try:
        await serve(
            chosen,
            on_started=lambda started: _ignored(tasks.spawn(develop(started), name="dev")),
            stopping=stopping,
            around=around,
        )
    finally:
        await tasks.close()
    if ended and isinstance(ended[0], IsoletError):
        raise ended[0]
    return int(ended[0]) if ended and isinstance(ended[0], int) else 0


def _ignored(_: object) -> None:
    """Of a task: its owner keeps it."""


def _with_local(core: Core, doors: Asgi, project: str) -> Asgi:
    from isolet.api.local import LocalRequests
    from isolet.domain.public_routes import plain_host
    from isolet.wire.headers import get

    routes, hosts = core.registry.routes, core.registry.hosts

    def is_own_host(headers: list[tuple[bytes, bytes]]) -> bool:
        host = plain_host(get(headers, b"host") or b"")
        return routes.at_host(host) is not None or hosts.label_of(host) is not None

    return LocalRequests(
        app=doors,
        routes=routes,
        invoker=core.invoker,
        clock=core.host.clock,
        key=core.host.root_key,
        project=project,
        is_own_host=is_own_host,
    )


def _signature() -> inspect.Signature:
    """Its own options, and those of all settings."""
    own = [one for one in inspect.signature(dev, eval_str=True).parameters.values() if one.name != "flags"]
    names = {one.name for one in own}
    return inspect.Signature([*own, *(one for one in setting_options() if one.name not in names)])


dev.__signature__ = _signature()  # type: ignore[attr-defined]
app.local()(dev)
