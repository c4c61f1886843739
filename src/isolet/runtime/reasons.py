"""Says why an address could not be reached: workerd refuses it at connect time, but does not tell a worker that it did.

This decides nothing: the egress process asks after the fact, to put the reason in words.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from isolet.wire import heads

_TIMEOUT_S = 5.0
_HEAD_MAX_BYTES = 16_384

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Reasons:
    """A small HTTP server on a unix socket: `GET /?host=NAME` answers `{"refused", "text"}`, or null."""

    def __init__(self, path: Path, *, allowed: Sequence[str], denied: Sequence[str]) -> None:
        self.path = path
        self._allowed = [ipaddress.ip_network(network) for network in allowed]
        self._denied = [ipaddress.ip_network(network) for network in denied]
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        if self._server is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, self.path, limit=_HEAD_MAX_BYTES)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                target = head.split(b" ", 2)[1].decode("latin-1")
                (host,) = parse_qs(urlsplit(target).query)["host"]
                body = json.dumps(await self._reason(host)).encode()
                told = [(b"connection", b"close"), (b"content-length", b"%d" % len(body))]
                writer.write(heads.reply(200, heads.lines(told)) + body)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, LookupError, ValueError):
            return
        finally:
            writer.close()

    async def _reason(self, host: str) -> dict[str, Any] | None:
        host = host.removeprefix("[").removesuffix("]")
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:
            return {"refused": False, "text": "the name is not known"}
        addresses = [ipaddress.ip_address(str(where[0]).partition("%")[0]) for *_, where in found]
        refused = [address for address in addresses if is_refused(address, self._allowed, self._denied)]
        if len(refused) < len(addresses):
            return None
        leads = "" if str(refused[0]) == host else f"it leads to {refused[0]}, "
        return {"refused": True, "text": f"{leads}the address is refused, functions may reach public addresses only"}


def is_refused(address: Address, allowed: Sequence[Network], denied: Sequence[Network]) -> bool:
    """As workerd decides: the narrower rule wins, `public` is the widest, and a tie refuses."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    opened = max((network.prefixlen for network in allowed if address in network), default=-1)
    closed = max((network.prefixlen for network in denied if address in network), default=-1)
    return closed >= opened if max(opened, closed) >= 0 else not address.is_global or address.is_multicast
