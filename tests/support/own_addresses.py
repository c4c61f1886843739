"""A machine of its own, with public addresses: run in a new network namespace, it says what a function gets of it.

`python -m tests.support.own_addresses FOLDER [ALLOWED]` prints JSON: the status of a request to each address, by the
egress process, to a service that listens on all of them; `later` is one that the machine got while that process ran.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from isolet.domain.networks import Network
from isolet.ids import ProjectId
from isolet.runtime.addresses import Addresses, own_networks
from isolet.runtime.config import ConfigBuilder
from isolet.runtime.egress import Egresses
from isolet.runtime.pid_files import PidFiles
from isolet.runtime.sandbox import Sandbox
from isolet.toolchain import find
from isolet.wire.channel import Connection
from tests.support.runtime import Runtime

FIRST = ["93.184.216.34", "[2600:1f18::5]", "[::ffff:93.184.216.34]"]
LATER = ["93.184.216.35", "[2600:1f18::6]"]
_TIMEOUT_S = 30.0


def add(address: str) -> None:
    text = address.strip("[]")
    family, length = ("-6", "128") if ":" in text else ("-4", "32")
    options = ["nodad"] if family == "-6" else []
    subprocess.run(["ip", family, "addr", "add", f"{text}/{length}", "dev", "lo", *options], check=True, timeout=10)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def status(egresses: Egresses, host: str, port: int) -> int:
    """What a request to an address ends with; 0 for a connection that broke off."""
    async with asyncio.timeout(_TIMEOUT_S), egresses.use(ProjectId("p")) as egress:
        connection: Connection = await egress.channel.connect(fresh=True)
        try:
            connection.begin(f"GET http://{host}:{port}/ HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            await connection.head()
            return connection.status
        except ConnectionError:
            return 0
        finally:
            egress.channel.release(connection)


def _told(networks: Iterable[Network]) -> set[str]:
    return {str(network.network_address) for network in networks}


async def main(folder: Path, allowed: list[str]) -> None:
    toolchain = find()
    runtime = Runtime(
        folder=folder,
        configs=ConfigBuilder(toolchain.workerd_schema),
        sandbox=Sandbox(toolchain, enabled=True),
        pid_files=PidFiles(folder / "pids"),
    )
    # The kernel makes the routes to new addresses of IPv6 some time after it has taken the addresses.
    async with asyncio.timeout(_TIMEOUT_S):
        while not _told(own_networks()) >= {"93.184.216.34", "2600:1f18::5"}:
            await asyncio.sleep(0.01)
    addresses = Addresses()
    addresses.start()
    egresses = runtime.egresses(*allowed, addresses=addresses)
    servers = [await asyncio.start_server(answer, "0.0.0.0", 0)]
    port = servers[0].sockets[0].getsockname()[1]
    servers.append(await asyncio.start_server(answer, "::", port))
    told = {host: await status(egresses, host, port) for host in ["127.0.0.1", "[::1]", *FIRST]}
    for address in LATER:
        add(address)
    async with asyncio.timeout(_TIMEOUT_S):
        while not _told(addresses.current) >= {"93.184.216.35", "2600:1f18::6"}:
            await asyncio.sleep(0.01)
        # The process that runs at that moment is ended, and the next one knows.
        for address in LATER:
            while (found := await status(egresses, address, port)) == 0:
                pass
            told[address] = found
    await egresses.close()
    addresses.close()
    for server in servers:
        server.close()
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
    for first in FIRST[:2]:
        add(first)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
