"""The command of the starter is to its caller as the command itself: in what it gets, and in how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.support import starter
from tests.support.server import ROOT_KEY, Server


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return starter.command(tmp_path / "isolet", ISOLET_API_KEY=ROOT_KEY)


@pytest.fixture
def following(program: Path, server: Server) -> subprocess.Popen[str]:
    """A command that goes on, and has printed a line."""
    environment, room = {"PATH": os.environ["PATH"], "ISOLET_URL": server.url}, uuid.uuid4().hex
    subprocess.run([program, "realtime", "publish", room, "said"], env=environment, timeout=60, check=True)
    running = subprocess.Popen(
        [program, "realtime", "tail", room, "--since", "0"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert "said" in running.stdout.readline()
    return running


def test_it_has_the_folder_the_mask_the_input_and_the_exit_code(program: Path, server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    script = f"""
umask 077
{program} init shop --language js > /dev/null
printf 'täke' | {program} kv put starter > /dev/null
{program} kv get starter | cat
{program} kv get none && exit 9
exit $?
"""
    environment = {"PATH": os.environ["PATH"], "ISOLET_URL": server.url}
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (4, "täke".encode()), done.stderr
    assert (folder / "shop/isolet.toml").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_it_hears_signals(following: subprocess.Popen[str], number: int, status: int) -> None:
    following.send_signal(number)
    assert (following.communicate(timeout=60)[0], following.returncode) == ("", status)


def test_it_ends_when_its_caller_is_killed(following: subprocess.Popen[str]) -> None:
    following.kill()
    # The end of its output: nobody has the other end any more.
    assert (following.communicate(timeout=60)[0], following.returncode) == ("", -signal.SIGKILL)
