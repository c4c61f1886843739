"""A group of commands of which each module is loaded when its command is called."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import typer
from msgspec import Struct
from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter


class Entry(Struct, frozen=True):
    """`module` of `isolet.cli` has the command as `app`; `summary` is what the list of all commands says."""

    module: str
    summary: str


class LazyCommands(MutableMapping[str, "Command"]):
    def __init__(self, entries: dict[str, Entry]) -> None:
        self.entries = entries
        self._loaded: dict[str, Command] = {}

    def __getitem__(self, name: str) -> Command:
        if name not in self._loaded:
            app = import_module(f"isolet.cli.{self.entries[name].module}").app
            command = typer.main.get_command(app)
            command.name = name
            self._loaded[name] = command
        return self._loaded[name]

    def __setitem__(self, name: str, command: Command) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class LazyGroup(TyperGroup):
    entries: ClassVar[dict[str, Entry]]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = LazyCommands(self.entries)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Loads none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.entries.items()])
