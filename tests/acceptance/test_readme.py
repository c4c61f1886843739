"""What the README has a new user type."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.support import starter
from tests.support.server import Server

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_a_function_of_ones_own(tmp_path: Path) -> None:
    """`make run` is a server in the folder, with a key that it made itself."""
    section = README.partition("## A function of your own\n")[2].partition("\n## ")[0]
    (commands,) = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    (printed,) = re.findall(r"The last command prints `(.*?)`", section)
    program = tmp_path / ".venv/bin/isolet"
    program.parent.mkdir(parents=True)
    starter.command(program)
    # With the example of `make run`, which has the same name.
    with Server(tmp_path / ".isolet", "--example", root_key=None) as server:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ISOLET_URL": server.url}
        script = commands.replace("http://127.0.0.1:7878", server.url).replace("curl ", "curl -sS ")
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == printed
