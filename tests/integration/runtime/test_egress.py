import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from isolet.errors import PlatformError
from isolet.ids import ProjectId
from isolet.runtime.config import DENIED_NETWORKS
from isolet.runtime.egress import denied_networks
from isolet.runtime.instance import Instance
from isolet.runtime.pool import Pool
from isolet.runtime.sandbox import Sandbox
from isolet.toolchain import Toolchain
from tests.support.outside import Outside, outside
from tests.support.programs import script
from tests.support.runtime import Lines, Runtime, a_spec, acquire, fetch

FETCHES = """
export default async (request) => {
  const target = new URL(request.url).searchParams.get("url");
  try {
    const reply = await fetch(target, { redirect: "manual" });
    return Response.json({ status: reply.status, text: await reply.text() });
  } catch (error) {
    return Response.json({ error: String(error) });
  }
};
"""


@pytest.fixture
async def web() -> AsyncIterator[Outside]:
    async with outside() as listening:
        yield listening


async def an_instance(pool: Pool) -> Instance:
    spec = a_spec(FETCHES)
    return await acquire(pool, spec)


async def ask(instance: Instance, url: str) -> dict[str, object]:
    """What the function saw of a fetch."""
    async with asyncio.timeout(60):
        status, body = await fetch(instance, f"/?url={url}")
    assert status == 200
    return dict(json.loads(body))


@asynccontextmanager
async def leaving(runtime: Runtime, *allowed: str, **values: Any) -> AsyncIterator[Pool]:
    """Instances whose projects may reach `allowed`, too."""
    async with runtime.pool(Lines(), egresses=runtime.egresses(*allowed, **values)) as pool:
        yield pool


def egress_processes(runtime: Runtime) -> list[psutil.Process]:
    """Every workerd that is some project's way out, below bubblewrap where there is one."""
    found = []
    for file in (runtime.folder / "pids").iterdir():
        outer = psutil.Process(int(file.name))
        for process in [outer, *outer.children(recursive=True)]:
            if process.name() == "workerd" and any(part.startswith("--socket-fd=gate=") for part in process.cmdline()):
                found.append(process)
    return found


def egress_process(runtime: Runtime) -> psutil.Process:
    (process,) = egress_processes(runtime)
    return process


async def test_an_address_of_this_machine_is_refused_by_name(runtime: Runtime, web: Outside) -> None:
    async with leaving(runtime) as pool:
        seen = await ask(await an_instance(pool), web.url)
    host = web.url.removeprefix("http://")
    assert seen == {
        "status": 403,
        "text": f"cannot fetch {host}: the address is refused, functions may reach public addresses only\n",
    }
    assert web.requests == []


@pytest.mark.parametrize(
    "address",
    [
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "[fe80::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "198.18.0.1",
        "2130706433",
    ],
)
async def test_no_spelling_of_an_inner_address_gets_through(runtime: Runtime, web: Outside, address: str) -> None:
    port = web.url.rpartition(":")[2]
    async with leaving(runtime) as pool:
        seen = await ask(await an_instance(pool), f"http://{address}:{port}/")
    assert seen["status"] == 403
    assert "the address is refused, functions may reach public addresses only" in str(seen["text"])
    assert web.requests == []


async def test_a_network_that_the_operator_allows_is_reached(runtime: Runtime, web: Outside) -> None:
    async with leaving(runtime, "127.0.0.1/32") as pool:
        seen = await ask(await an_instance(pool), web.url + "/path%3Fq=1")
    assert seen == {"status": 200, "text": "outside"}
    assert web.requests == ["GET /path?q=1 HTTP/1.1"]


async def test_allowing_one_address_allows_no_other(runtime: Runtime, web: Outside) -> None:
    port = web.url.rpartition(":")[2]
    async with leaving(runtime, "127.0.0.1/32") as pool:
        seen = await ask(await an_instance(pool), f"http://127.0.0.2:{port}/")
    assert seen["status"] == 403


async def test_a_redirect_is_not_followed_behind_the_filter(runtime: Runtime, web: Outside) -> None:
    web.reply = b"HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    async with leaving(runtime, "127.0.0.1/32") as pool:
        seen = await ask(await an_instance(pool), web.url)
    assert (seen["status"], len(web.requests)) == (302, 1)


async def test_a_name_that_does_not_resolve_is_told(runtime: Runtime) -> None:
    async with leaving(runtime) as pool:
        seen = await ask(await an_instance(pool), "http://no-such-host.invalid/")
    assert str(seen["text"]).startswith("cannot fetch no-such-host.invalid: the name is not known")


async def test_nobody_listening_is_told_apart_from_a_refusal(runtime: Runtime, web: Outside) -> None:
    async with leaving(runtime, "127.0.0.0/8") as pool:
        seen = await ask(await an_instance(pool), "http://127.0.0.1:1/")
    assert seen["status"] == 502
    assert str(seen["text"]).startswith("cannot fetch 127.0.0.1:1: ")
    assert "refused, functions" not in str(seen["text"])


async def test_a_killed_way_out_comes_back_and_calls_wait_for_it(runtime: Runtime, web: Outside) -> None:
    async with leaving(runtime, "127.0.0.1/32") as pool:
        instance = await an_instance(pool)
        for _ in range(2):
            assert await ask(instance, web.url) == {"status": 200, "text": "outside"}
            way_out = egress_process(runtime)
            with capture_logs() as logs:
                os.kill(way_out.pid, signal.SIGKILL)
                way_out.wait(60)
                seen = await ask(instance, web.url)
                if "error" in seen:
                    # The connection that the instance kept to the old process was lost; the next one is new.
                    seen = await ask(instance, web.url)
            assert seen == {"status": 200, "text": "outside"}
            assert ("egress process ended; it starts again when it is needed", -signal.SIGKILL) in [
                (entry["event"], entry.get("status")) for entry in logs
            ]


async def test_a_project_that_sends_nothing_has_no_process(runtime: Runtime, web: Outside) -> None:
    async with leaving(runtime, "127.0.0.1/32", idle_timeout_s=0.2) as pool:
        instance = await an_instance(pool)
        assert egress_processes(runtime) == []
        await ask(instance, web.url)
        process = egress_process(runtime)
        assert len(list((runtime.folder / "egress").iterdir())) == 1
        pool.retire_project(instance.spec.project_id)
        async with asyncio.timeout(20):
            while process.is_running():
                await asyncio.sleep(0.02)
        assert list((runtime.folder / "egress").iterdir()) == []


async def test_each_project_has_a_process_of_its_own(runtime: Runtime, web: Outside) -> None:
    async with leaving(runtime, "127.0.0.1/32") as pool:
        for name in ("a", "b"):
            instance = await acquire(pool, a_spec(FETCHES, project_id=ProjectId(name)))
            assert await ask(instance, web.url) == {"status": 200, "text": "outside"}
        first, second = egress_processes(runtime)
        assert first.pid != second.pid


async def test_closing_leaves_neither_process_nor_socket(runtime: Runtime, web: Outside) -> None:
    async with leaving(runtime, "127.0.0.1/32") as pool:
        await ask(await an_instance(pool), web.url)
        process = egress_process(runtime)
    assert not psutil.pid_exists(process.pid)
    assert list((runtime.folder / "egress").iterdir()) == list((runtime.folder / "inside").iterdir()) == []
    assert list((runtime.folder / "pids").iterdir()) == []


async def test_a_way_out_that_does_not_come_up_is_told(runtime: Runtime, toolchain: Toolchain, tmp_path: Path) -> None:
    broken = script(tmp_path / "workerd", "raise SystemExit('no way out')")
    sandbox = Sandbox(replace(toolchain, workerd=broken), enabled=False)
    egresses = replace(runtime, sandbox=sandbox).egresses()
    with pytest.raises(PlatformError, match=r"^cannot start the egress process: no way out$"):
        await egresses.check()
    await egresses.close()


@pytest.mark.parametrize(
    ("allowed", "opened"),
    [
        ([], set()),
        (["10.0.0.0/8"], set()),
        (["198.18.0.0/15"], {"198.18.0.0/15"}),
        (["198.0.0.0/8"], {"198.18.0.0/15", "198.51.100.0/24"}),
        (["198.18.5.0/24"], set()),
        (["::/0"], {network for network in DENIED_NETWORKS if ":" in network}),
        (["169.254.0.0/16"], set()),
        (["169.254.169.254/32"], {"169.254.169.254/32"}),
    ],
)
def test_only_a_range_that_the_operator_allows_is_not_denied(allowed: list[str], opened: set[str]) -> None:
    assert set(denied_networks([])) - set(denied_networks(allowed)) == opened
