"""What a project's egress process asks the host: how many connections it may have open, and why an address could not be
reached. workerd refuses addresses at connect time, but does not tell a worker that it did; the answer decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from isolet.domain.networks import Address, Network

# Of one project at once; who comes then is told no reason.
_LOOKUPS_MAX = 4


class Reasons:
    """`GET /reason?host=NAME` answers `{"refused", "text"}`, or null; `GET /limit` a number."""

    def __init__(
        self, *, allowed: Callable[[], Sequence[str]], denied: Callable[[], Sequence[str]], limit: Callable[[], int]
    ) -> None:
        self._allowed = allowed
        self._denied = denied
        self._limit = limit
        self._looking = 0

    async def answer(self, target: str) -> Any:
        """Raises LookupError or ValueError for a question that makes no sense."""
        parts = urlsplit(target)
        if parts.path == "/limit":
            return self._limit()
        (host,) = parse_qs(parts.query)["host"]
        return await self._reason(host)

    async def _reason(self, host: str) -> dict[str, Any] | None:
        host = host.removeprefix("[").removesuffix("]")
        try:
            addresses = _literal(host) or await self._look_up(host)
        except TimeoutError:
            return None
        except OSError:
            return {"refused": False, "text": "the name is not known"}
        allowed = [ipaddress.ip_network(network) for network in self._allowed()]
        denied = [ipaddress.ip_network(network) for network in self._denied()]
        refused = [address for address in addresses if is_refused(address, allowed, denied)]
        if len(refused) < len(addresses):
            return None
        leads = "" if str(refused[0]) == host else f"it leads to {refused[0]}, "
        return {"refused": True, "text": f"{leads}the address is refused, functions may reach public addresses only"}

    async def _look_up(self, host: str) -> list[Address]:
        """The addresses of a name. Raises OSError, TimeoutError when too many look-ups are under way.

        In a thread of this look-up alone: a name server that does not answer keeps nobody else's waiting.
        """
        if self._looking >= _LOOKUPS_MAX:
            raise TimeoutError
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Address]] = loop.create_future()

        def tell(result: list[Address] | OSError) -> None:
            self._looking -= 1
            if found.done():
                return
            if isinstance(result, OSError):
                found.set_exception(result)
            else:
                found.set_result(result)

        self._looking += 1
        threading.Thread(target=_resolve, args=(host, loop, tell), name="look-up", daemon=True).start()
        return await found


def _literal(host: str) -> list[Address]:
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        return []


def _resolve(host: str, loop: asyncio.AbstractEventLoop, tell: Callable[[list[Address] | OSError], None]) -> None:
    result: list[Address] | OSError
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        result = [ipaddress.ip_address(str(where[0]).partition("%")[0]) for *_, where in entries]
    except UnicodeError:
        result = OSError("no name")
    except OSError as exc:
        result = exc
    # The loop has ended when the server stopped meanwhile.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(tell, result)


def is_refused(address: Address, allowed: Sequence[Network], denied: Sequence[Network]) -> bool:
    """As workerd decides: the narrower rule wins, `public` is the widest, and a tie refuses."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    opened = max((network.prefixlen for network in allowed if address in network), default=-1)
    closed = max((network.prefixlen for network in denied if address in network), default=-1)
    return closed >= opened if max(opened, closed) >= 0 else not address.is_global or address.is_multicast
