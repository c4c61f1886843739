"""`isolet doctor` on machines that lack something."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.isolet_command import Isolet
from tests.support.server import Server


@pytest.fixture
def isolet(tmp_path: Path) -> Isolet:
    return Isolet(tmp_path, ISOLET_SANDBOX="", ISOLET_WORKERD="", ISOLET_ESBUILD="", ISOLET_PORT="0")


@pytest.fixture
def taken() -> Iterator[str]:
    """The port of a program that is no server."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield str(other.getsockname()[1])


def results(isolet: Isolet, *arguments: str) -> dict[str, tuple[str, str]]:
    found = isolet.run("doctor", "--json", *arguments)
    shown = {one["name"]: (one["result"], one["text"]) for one in found.json}
    assert found.code == (1 if "failed" in {result for result, _ in shown.values()} else 0)
    return shown


def test_a_machine_that_runs_these_tests_passes(isolet: Isolet, server: Server, tmp_path: Path) -> None:
    shown = results(isolet, "--data-dir", str(tmp_path / "new"), "--port", server.url.rpartition(":")[2])
    assert {name for name, (result, _) in shown.items() if result == "failed"} == set()
    assert "an Isolet server runs on" in shown["port"][1]
    assert not (tmp_path / "new").exists()
    assert "user namespaces\tok\t" in isolet("doctor", "--data-dir", str(tmp_path)).text


def test_what_is_missing_is_named(isolet: Isolet, tmp_path: Path, taken: str) -> None:
    broken = tmp_path / "workerd"
    broken.write_text("#!/bin/sh\necho 'no such \x1b[2J thing' >&2\nexit 3\n")
    broken.chmod(0o755)
    isolet.variables |= {"ISOLET_WORKERD": str(broken), "ISOLET_ESBUILD": str(tmp_path / "none")}
    shown = results(isolet, "--port", taken)
    assert shown["esbuild"] == ("failed", f"cannot use {tmp_path}/none as esbuild: there is no program of that name")
    assert shown["port"] == ("failed", f"another program listens on {taken}. Choose another with --port")
    isolet.variables |= {"ISOLET_ESBUILD": "", "ISOLET_SANDBOX": "off"}
    shown = results(isolet)
    assert (shown["workerd"][0], "ends with 3" in shown["workerd"][1]) == ("failed", True)
    assert shown["user namespaces"][0] == "warning"
    assert "\x1b" not in isolet.run("doctor").text


def test_the_folder_and_its_disk_are_looked_at(isolet: Isolet, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    assert results(isolet, "--data-dir", str(data))["data directory"][0] == "warning"
    data.chmod(0o700)
    assert results(isolet, "--data-dir", str(data))["data directory"][0] == "ok"
    # A file system without any room.
    assert results(isolet, "--data-dir", "/proc/data")["disk"][0] == "failed"
    if os.getuid() != 0:
        assert results(isolet, "--data-dir", "/data-of-isolet")["data directory"][0] == "failed"
