"""The `isolet` command in this process: what it printed, and its exit code. Or beside it, while it runs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import typer.testing

from isolet.cli.main import app
from tests.support import starter


class Result:
    def __init__(self, result: typer.testing.Result) -> None:
        self.code = result.exit_code
        self.out = result.stdout_bytes
        self.text = result.stdout_bytes.decode(errors="replace")
        self.err = result.stderr_bytes.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Isolet:
    """`variables` are its ISOLET_* variables; its home is `folder`."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.variables: dict[str, str | None] = {
            "ISOLET_URL": None,
            "ISOLET_API_KEY": None,
            "ISOLET_PROJECT": None,
            "ISOLET_PROFILE": None,
            "ISOLET_DATA_DIR": str(folder / "no-data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "DBUS_SESSION_BUS_ADDRESS": None,
            **variables,
        }

    def run(self, *arguments: str, given: str | bytes = b"") -> Result:
        """Any exit code. Fails with what escaped as an exception."""
        assert arguments[:1] != ("serve",) or "--help" in arguments, (
            "it changes its process, its umask for one: `Server` starts another"
        )
        runner = typer.testing.CliRunner(env=self.variables)
        result = runner.invoke(app, list(arguments), input=given, prog_name="isolet")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Result(result)

    def __call__(self, *arguments: str, given: str | bytes = b"") -> Result:
        """It has to succeed."""
        result = self.run(*arguments, given=given)
        assert result.code == 0, (arguments, result.code, result.text, result.err)
        return result

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """In a process of its own, whose output is read while it runs."""
        program = starter.command(self.folder / "isolet")
        environment = {name: value for name, value in self.variables.items() if value}
        return subprocess.Popen([program, *arguments], env=environment, stdout=subprocess.PIPE, text=True)
