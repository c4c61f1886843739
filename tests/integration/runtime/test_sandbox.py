import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from isolet.errors import SettingsError
from isolet.runtime.instance import Instance
from isolet.runtime.sandbox import Sandbox
from isolet.toolchain import Toolchain
from tests.support.programs import script
from tests.support.runtime import Lines, Runtime, a_spec, acquire, fetch

HELLO = "export default () => new Response('hello');"


@pytest.fixture
async def instance(runtime: Runtime, lines: Lines) -> AsyncIterator[Instance]:
    spec = a_spec(HELLO)
    async with runtime.pool(lines) as pool:
        yield await acquire(pool, spec)


def _proc(instance: Instance, name: str) -> Path:
    return Path(f"/proc/{instance.pid}/{name}")


def _status(instance: Instance) -> dict[str, str]:
    pairs = (line.partition(":") for line in _proc(instance, "status").read_text().splitlines())
    return {name: value.strip() for name, _, value in pairs}


@pytest.mark.parametrize("kind", ["net", "mnt", "pid", "ipc", "uts", "user"])
async def test_an_instance_has_namespaces_of_its_own(instance: Instance, kind: str) -> None:
    assert os.readlink(_proc(instance, f"ns/{kind}")) != os.readlink(f"/proc/self/ns/{kind}")


async def test_an_instance_has_no_network(instance: Instance) -> None:
    devices = [line.split(":")[0].strip() for line in _proc(instance, "net/dev").read_text().splitlines()[2:]]
    routes = _proc(instance, "net/route").read_text().splitlines()[1:]
    assert (devices, routes) == (["lo"], [])


async def test_an_instance_cannot_write_to_any_file_of_the_host(instance: Instance) -> None:
    mounts = [line.split() for line in _proc(instance, "mountinfo").read_text().splitlines()]
    writable = {mount[4] for mount in mounts if "ro" not in mount[5].split(",")}
    # What is left is its own, in memory: devices and its process list.
    assert all(path == "/proc" or path == "/dev" or path.startswith("/dev/") for path in writable), writable
    assert any(mount[4] == "/" for mount in mounts)


async def test_an_instance_sees_only_what_was_bound_for_it(instance: Instance) -> None:
    seen = set(os.listdir(_proc(instance, "root")))
    assert {"workerd", "egress", "storage", "proc", "dev"} <= seen
    assert seen <= {"workerd", "egress", "storage", "proc", "dev", "lib", "lib64", "usr"}
    assert not _proc(instance, "root/etc").exists()
    assert not _proc(instance, "root/tmp").exists()


async def test_an_instance_has_no_rights(instance: Instance) -> None:
    status = _status(instance)
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["NSpid"].split()[-1] == "1"


async def test_an_instance_without_a_sandbox_works(runtime: Runtime, lines: Lines, toolchain: Toolchain) -> None:
    spec = a_spec(HELLO)
    bare = Sandbox(toolchain, enabled=False)
    bare.check()
    async with replace(runtime, sandbox=bare).pool(lines) as pool:
        instance = await acquire(pool, spec)
        assert await fetch(instance) == (200, b"hello")
        assert os.readlink(_proc(instance, "ns/net")) == os.readlink("/proc/self/ns/net")


def test_a_machine_that_allows_namespaces_passes_the_check(sandbox: Sandbox) -> None:
    sandbox.check()
    assert sandbox.path(Path("/host/folder"), "/inside") == "/inside"


def test_a_machine_that_forbids_namespaces_is_told_with_the_way_out(toolchain: Toolchain, tmp_path: Path) -> None:
    failing = script(tmp_path / "bwrap", "import sys\nsys.exit('bwrap: No permissions to create new namespace')\n")
    with pytest.raises(SettingsError) as told:
        Sandbox(replace(toolchain, bubblewrap=failing), enabled=True).check()
    assert told.value.message == (
        "cannot make a sandbox: bwrap: No permissions to create new namespace. Allow user namespaces on this machine, "
        "or start with --sandbox=off to run functions without one"
    )
