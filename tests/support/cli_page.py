"""Writes the reference page of the command from what it says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isolet.cli.schema import described

PAGE = Path(__file__).parents[2] / "docs/reference/cli.md"
_HEAD = """\
# Commands

`isolet COMMAND --help` shows the same. The [guide](../guide/cli.md) explains how commands find a server, what they
print, and their exit codes. The flags of `isolet serve` are [settings](settings.md).

This page is made from the commands in `src/isolet/cli` by `scripts/cli-page`.
"""
_SERVER = """
Every command that talks to a server also has these options. They may stand before the command's name, too.
"""
_SHARED = ("--url", "--api-key", "--project", "--profile", "--data-dir", "--json")


def cli_page() -> str:
    schema = described()
    commands = schema["commands"]
    shared = {option["name"]: option for option in commands["invoke"]["options"] if option["name"] in _SHARED}
    parts = [_HEAD, _SERVER, _table(list(shared.values()))]
    for name, command in commands.items():
        if "commands" not in command:
            parts.append(_command(f"isolet {name}", command, "##"))
            continue
        parts.append(f"\n## isolet {name}\n\n{_paragraphs(command['help'])}")
        parts += [_command(f"isolet {name} {sub}", one, "###") for sub, one in command["commands"].items()]
    return "".join(parts)


def _command(name: str, command: dict[str, Any], heading: str) -> str:
    # The settings have a page of their own.
    options = [] if name == "isolet serve" else [one for one in command["options"] if one["name"] not in _SHARED]
    used = " ".join(_argument(one) for one in command["arguments"])
    return f"\n{heading} {name}{' `' + used + '`' if used else ''}\n\n{_paragraphs(command['help'])}" + _table(
        [*command["arguments"], *options]
    )


def _argument(argument: dict[str, Any]) -> str:
    name = argument["name"].upper()
    return name if argument["required"] else f"[{name}]"


def _paragraphs(help_: str) -> str:
    """Examples, which begin with a backspace in Typer's help, become a block of text."""
    return "".join(_paragraph(text) for text in re.split(r"\n\s*\n", help_.strip()))


def _paragraph(text: str) -> str:
    if text.lstrip().startswith("\b"):
        return "```text\n" + text.replace("\b", "").strip("\n") + "\n```\n"
    return text.strip() + "\n\n"


def _table(parameters: list[dict[str, Any]]) -> str:
    rows = list(_rows(parameters))
    return "\n| option | what |\n|---|---|\n" + "".join(rows) if rows else ""


def _rows(parameters: list[dict[str, Any]]) -> Iterator[str]:
    for one in parameters:
        names = ", ".join(f"`{name}`" for name in one["names"]) or f"`{one['name'].upper()}`"
        what = [one["help"]]
        if one["choices"]:
            what.append("One of " + ", ".join(f"`{choice}`" for choice in one["choices"]) + ".")
        if one["default"] not in (None, "", False):
            what.append(f"Default: `{one['default']}`.")
        if one["required"] and one["names"]:
            what.append("Required.")
        if one["multiple"]:
            what.append("May be given several times.")
        yield f"| {names} | {' '.join(what).replace('|', chr(92) + '|')} |\n"


if __name__ == "__main__":
    PAGE.write_text(cli_page())
