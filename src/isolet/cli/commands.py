"""How commands are made: each has the options that say which server, and tells its errors in the same way.

app = Commands("Functions.")

@app.of_server("list")
def list_functions(session: Session, limit: Limit = 50) -> None:
    ...
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from isolet.cli.failures import told
from isolet.cli.session import Session, connect
from isolet.cli.target import Options

if TYPE_CHECKING:
    from typer._click import Context

Command = Callable[..., None]

Function = Annotated[str, typer.Argument(metavar="NAME", help="The function, by slug, name or id.", show_default=False)]
OfFunction = Annotated[
    str, typer.Option("--function", metavar="NAME", help="The function, by slug, name or id.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many at most.")]
All = Annotated[bool, typer.Option("--all", help="All of them.", show_default=False)]

_OPTIONS: dict[str, Any] = {
    "url": Annotated[str | None, typer.Option("--url", help="The server's address, else ISOLET_URL.")],
    "api_key": Annotated[str | None, typer.Option("--api-key", metavar="KEY", help="The key, else ISOLET_API_KEY.")],
    "project": Annotated[
        str | None, typer.Option("--project", metavar="SLUG", help="The project, else ISOLET_PROJECT.")
    ],
    "profile": Annotated[str | None, typer.Option("--profile", metavar="NAME", help="A server of isolet login.")],
    "data_dir": Annotated[
        Path | None, typer.Option("--data-dir", help="Where the root key of a server on this machine is.")
    ],
    "json": Annotated[bool, typer.Option("--json", help="Print JSON.")],
}


class Commands(typer.Typer):
    """A group, or without a summary one command, which has no name here.

    In a group with `default`, that command runs when what is given names none.
    """

    def __init__(self, summary: str = "", *, default: str | None = None) -> None:
        options: dict[str, Any] = {} if default is None else {"cls": _with_default(default)}
        # Help is plain text: in markup, the brackets of examples would be something else.
        super().__init__(
            help=summary or None,
            no_args_is_help=bool(summary) and default is None,
            add_completion=False,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
            **options,
        )
        if summary:
            self.callback()(root(_group))

    def of_server(self, name: str | None = None, **options: Any) -> Callable[[Command], Command]:
        """A command whose first parameter is the session."""

        def add(function: Command) -> Command:
            self.command(name, **options)(_with_session(function))
            return function

        return add

    def local(self, name: str | None = None, **options: Any) -> Callable[[Command], Command]:
        """A command that talks to no server. Its first parameter are the options, of which only `--json` is shown."""

        def add(function: Command) -> Command:
            self.command(name, **options)(_with_json(function))
            return function

        return add


def _with_default(default: str) -> type[TyperGroup]:
    class DefaultGroup(TyperGroup):
        def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
            is_named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
            return super().parse_args(ctx, args if is_named else [default, *args])

    return DefaultGroup


def _group() -> None:
    """Typer makes a group of a Typer that has a callback, however few commands it has."""


def _with_session(function: Command) -> Command:
    def run(options: Options, arguments: dict[str, Any]) -> None:
        with connect(options) as session:
            function(session, **arguments)

    return _wrapped(function, run, _OPTIONS)


def _with_json(function: Command) -> Command:
    def run(options: Options, arguments: dict[str, Any]) -> None:
        function(Session(options), **arguments)

    return _wrapped(function, run, {"json": _OPTIONS["json"]})


def _wrapped(function: Command, run: Callable[[Options, dict[str, Any]], None], added: dict[str, Any]) -> Command:
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    names = {parameter.name for parameter in own}
    added = {name: hint for name, hint in added.items() if name not in names}

    @functools.wraps(function)
    def command(ctx: typer.Context, **arguments: Any) -> None:
        given = Options(**{name: arguments.pop(name) for name in added})
        options = given.over(ctx.obj) if isinstance(ctx.obj, Options) else given
        with told(as_json=options.json):
            run(options, arguments)

    return _signed(command, own, added)


def root(function: Command) -> Command:
    """The same options before the command's name: `isolet --json functions list`, `isolet functions --json list`."""
    added = {name: hint for name, hint in _OPTIONS.items() if name != "data_dir"}

    @functools.wraps(function)
    def callback(ctx: typer.Context, **arguments: Any) -> None:
        given = Options(**{name: arguments.pop(name) for name in added})
        ctx.obj = given.over(ctx.obj) if isinstance(ctx.obj, Options) else given
        function(**arguments)

    return _signed(callback, list(inspect.signature(function, eval_str=True).parameters.values()), added)


def _signed(command: Command, own: list[inspect.Parameter], added: dict[str, Any]) -> Command:
    """The command with the signature that Typer reads: its own parameters and the added options."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("ctx", keyword, annotation=typer.Context),
        *(parameter.replace(kind=keyword) for parameter in own),
        *(
            inspect.Parameter(name, keyword, default=False if name == "json" else None, annotation=hint)
            for name, hint in added.items()
        ),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command
