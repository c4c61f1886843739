"""Which names a request to this server may ask for, where a page of somebody else's must not reach it.

A page can give its own name the address of this server; then its requests name that host, and come from that origin. A
name that only this machine, its operator or an address can stand for is none of those.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from msgspec import Struct

from isolet.domain.public_routes import plain_host

_LOCAL = "localhost"


class OwnHosts(Struct, frozen=True, kw_only=True):
    """`names` are those that the operator set, in lower case and without ports."""

    names: frozenset[str]

    def has_host(self, value: bytes) -> bool:
        """Whether a `Host` header names this server, or an address."""
        return self._is_own(plain_host(value))

    def has_origin(self, origin: str, listed: Collection[str] = ()) -> bool:
        """Whether an `Origin` header is that of a page of this server, or one of those listed."""
        if origin in listed and origin != "*":
            return True
        try:
            parts = urlsplit(origin)
            host = parts.hostname or ""
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and self._is_own(f"[{host}]" if ":" in host else host)

    def _is_own(self, host: str) -> bool:
        if host in self.names or host == _LOCAL or host.endswith(f".{_LOCAL}"):
            return True
        try:
            ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True
