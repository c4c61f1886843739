"""What the command says of itself: all commands as JSON, help, completion."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import starter
from tests.support.isolet_command import Isolet


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Isolet:
    return Isolet(tmp_path_factory.mktemp("alone"))


def commands_of(schema: dict[str, Any], *names: str) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    if "commands" not in schema:
        yield names, schema
    for name, command in schema.get("commands", {}).items():
        yield from commands_of(command, *names, name)


def test_the_schema_has_every_command_with_its_help_arguments_and_options(alone: Isolet) -> None:
    schema = alone("schema").json
    found = dict(commands_of(schema))
    assert len(found) > 50
    assert schema["exit_codes"]["no_server"] == 6
    assert [one["name"] for one in found["kv", "put"]["arguments"]] == ["key", "value"]
    assert [names for names, command in found.items() if not command["help"]] == []
    assert [
        (names, option["name"])
        for names, command in found.items()
        for option in [*command["options"], *command["arguments"]]
        if not option["help"] and names != ("serve",)
    ] == []
    # Each that talks to a server says where that is, and can print JSON.
    wanted = {"--url", "--api-key", "--project", "--profile", "--json"}
    local = {("serve",), ("dev",), ("schema",), ("completion",)}
    for names, command in found.items():
        options = {option["name"] for option in command["options"]}
        assert names in local or wanted <= options or not options & (wanted - {"--json"}), names


def test_every_command_or_its_group_has_an_example(alone: Isolet) -> None:
    for name, command in alone("schema").json["commands"].items():
        assert f"\nisolet {name}" in command["help"], name


def test_every_command_has_help(alone: Isolet) -> None:
    for names, command in commands_of(alone("schema").json):
        assert command["help"].split("\n")[0].strip("\b ") in alone(*names, "--help").text.replace("\n  ", " ")


def test_a_shell_completes_commands_and_options(alone: Isolet, tmp_path: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_ISOLET_COMPLETE" in alone("completion", shell).text
    assert alone.run("completion", "cmd").code == 2
    starter.command(tmp_path / "isolet")
    script = f"""
{alone("completion", "bash").text}
COMP_WORDS=(isolet functions ro) COMP_CWORD=2
_isolet_completion isolet
echo "${{COMPREPLY[@]}}"
"""
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    assert done.stdout.strip() == "rollback"


def test_a_command_loads_no_other(alone: Isolet) -> None:
    program = """
import sys
from isolet.cli.main import app
app(["--help"], standalone_mode=False)
print(sorted(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.splitlines()[-1].strip("[]").replace("'", "").split(", "))
    assert "isolet.cli.lazy" in loaded
    assert loaded & {"isolet.cli.functions", "isolet.cli.serve", "isolet.client", "rich", "httpx", "pydantic"} == set()
