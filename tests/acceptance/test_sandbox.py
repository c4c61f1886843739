"""The claims of docs/threat-model.md about the sandbox, tried from inside by a program in workerd's place."""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import replace

from isolet.runtime.config import SOCKET_NAME
from isolet.runtime.pid_files import PidFiles
from isolet.runtime.process import Child, ChildSpec, listen
from isolet.runtime.sandbox import Sandbox
from isolet.toolchain import find
from tests.support.kapso import Kapso
from tests.support.limits import instances
from tests.support.server import Server
from tests.support.waiting import wait_until

_SOURCE = Path(__file__).parents[1] / "support" / "intruder.c"
_TIMEOUT_S = 60.0


class Attempts(Struct, frozen=True, kw_only=True):
    """What the program said: the error number of each attempt (0: it succeeded), and lines of its status."""

    results: Mapping[str, int]
    status: Mapping[str, str]


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> Attempts:
    folder = tmp_path_factory.mktemp("intruder")
    program = folder / "intruder"
    subprocess.run(["gcc", "-O1", "-static", "-o", str(program), str(_SOURCE)], check=True, timeout=60)
    secret = folder / "data"
    secret.mkdir()
    # The environment of the server holds keys, and an abstract socket of the host listens.
    with socket.socket(socket.AF_UNIX) as abstract:
        # Another run of the tests may have it for some seconds.
        wait_until(lambda: _binds(abstract, "\0isolet-test"), what="the end of another run's")
        abstract.listen()
        lines = asyncio.run(_run(folder, program, [str(secret), f"/proc/{os.getpid()}/environ"]))
    assert lines[-1] == "end"
    pairs = [line.rsplit(" ", 1) for line in lines[:-1] if not line.startswith("status ")]
    status = [line.removeprefix("status ").split(":\t", 1) for line in lines if line.startswith("status ")]
    return Attempts(results={name: int(value) for name, value in pairs}, status=dict(status))


def _binds(abstract: socket.socket, name: str) -> bool:
    try:
        abstract.bind(name)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            raise
        return False
    return True


async def _run(folder: Path, program: Path, arguments: list[str]) -> list[str]:
    """The program as an instance is run, with its own arguments in the place of workerd's."""

    class Swapped(Sandbox):
        def command(self, **values: object):  # type: ignore[no-untyped-def]
            return super().command(**{**values, "arguments": arguments})  # type: ignore[arg-type]

    egress = folder / "egress"
    egress.mkdir()
    printed: list[str] = []
    with listen(egress / "socket"), listen(folder / "listener") as listener:
        spec = ChildSpec(
            name="intruder", config=b"config", listeners={SOCKET_NAME: listener}, folders={"/egress": egress}
        )
        sandbox = Swapped(replace(find(), workerd=program), enabled=True)
        child = Child(spec, sandbox, PidFiles(folder / "pids"), on_line=lambda line: printed.append(line.decode()))
        async with asyncio.timeout(_TIMEOUT_S):
            assert await asyncio.shield(child.exited) == 0, child.stderr_tail
    return printed


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        ("read /etc/passwd", errno.ENOENT),
        ("read /root", errno.ENOENT),
        ("read /home", errno.ENOENT),
        ("read /tmp", errno.ENOENT),
        ("read the data directory", errno.ENOENT),
        ("read /sys", errno.ENOENT),
        ("read memory of the machine", errno.ENOENT),
        ("read a process of the host", errno.ENOENT),
        ("write to /", errno.EROFS),
        ("write to a bound folder", errno.EROFS),
        ("change the program", errno.EROFS),
        ("write to shared memory", errno.EROFS),
        ("write to a kernel setting", errno.EROFS),
        ("unlink a socket", errno.EROFS),
        ("connect to 127.0.0.1", errno.EAFNOSUPPORT),
        ("connect to ::1", errno.EAFNOSUPPORT),
        ("connect to an abstract socket", errno.ECONNREFUSED),
        ("raw socket", errno.EAFNOSUPPORT),
        ("packet socket", errno.EAFNOSUPPORT),
        ("netlink socket", errno.EAFNOSUPPORT),
        ("vsock", errno.EAFNOSUPPORT),
        ("fork", errno.EPERM),
        ("clone3", errno.ENOSYS),
        ("new namespaces", errno.EPERM),
        ("mount", errno.EPERM),
        ("unmount", errno.EPERM),
        ("pivot_root", errno.EPERM),
        ("chroot", errno.EPERM),
        ("ptrace", errno.EPERM),
        ("keyctl", errno.EPERM),
        ("bpf", errno.EPERM),
        ("io_uring", errno.EPERM),
        ("perf events", errno.EPERM),
        ("userfaultfd", errno.EPERM),
        ("setuid", errno.EINVAL),
        ("sethostname", errno.EPERM),
    ],
)
def test_the_sandbox_stops(attempts: Attempts, attempt: str, expected: int) -> None:
    assert errno.errorcode.get(attempts.results[attempt], "it succeeded") == errno.errorcode[expected]


def test_the_sandbox_gives_no_environment_no_files_and_no_neighbours(attempts: Attempts) -> None:
    assert attempts.results["environment"] == 0
    assert attempts.results["processes of others"] == 0
    assert [name for name in attempts.results if name.startswith("open file")] == []


def test_the_sandbox_takes_every_right(attempts: Attempts) -> None:
    capabilities = {name: int(value, 16) for name, value in attempts.status.items() if name.startswith("Cap")}
    assert capabilities == dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0)
    assert attempts.status["NoNewPrivs"] == "1"
    assert attempts.status["Seccomp"] == "2"
    assert set(attempts.status["Uid"].split()) == {"65534"}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the second system call table exists there only")
def test_a_function_has_no_way_to_files_processes_or_the_environment(kapso: Kapso) -> None:
    function_id = kapso.deployed("""export default { async fetch(request, env) {
        const found = {};
        for (const name of ["node:fs", "node:child_process", "node:os", "node:net", "node:worker_threads"]) {
            try { found[name] = Object.keys(await import(name)).length; } catch (error) { found[name] = "absent"; }
        }
        let passwd;
        try { passwd = (await import("node:fs")).readFileSync("/etc/passwd", "utf8"); }
        catch (error) { passwd = "absent"; }
        const process = (await import("node:process")).default;
        return Response.json({ found, passwd, environment: Object.keys(process.env), names: Object.keys(env),
            gc: typeof globalThis.gc, pid: process.pid });
    } }""")
    seen = kapso.invoke(function_id).json()
    assert seen["passwd"] == "absent"
    assert seen["environment"] == []
    assert "PATH" not in seen["names"]
    assert seen["gc"] == "undefined"


def test_the_kernel_bounds_descriptors_memory_and_core_files_of_an_instance(server: Server, kapso: Kapso) -> None:
    before = instances(server)
    kapso.deployed("async function handler() { return new Response('up'); }")
    (pid,) = instances(server) - before
    rows = [line.split("  ") for line in Path(f"/proc/{pid}/limits").read_text().splitlines()]
    hard = {row[0]: [part.strip() for part in row if part.strip()][2] for row in rows[1:]}
    assert hard["Max open files"] == "4096"
    assert hard["Max core file size"] == "0"
    assert 0 < int(hard["Max data size"]) < 4 << 30
