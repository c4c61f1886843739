"""Whose request it is: the address, scheme and host of a client, which only proxies that the operator trusts may tell.

What anyone else says about itself is dropped, and functions are told what is known.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from msgspec import Struct

from isolet.errors import RequestError
from isolet.wire.hosts import is_host

Headers = list[tuple[bytes, bytes]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Under this name an ASGI scope holds the headers that tell a function who calls it.
TOLD = "isolet.told"
_FOR, _PROTO, _HOST = b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"
# What proxies and platforms call a client's address, and the scheme, host and place that it came by.
_CLAIMS = (
    *(_FOR, _PROTO, _HOST),
    *(b"x-forwarded-port", b"x-forwarded-scheme", b"x-forwarded-ssl", b"x-forwarded-protocol"),
    *(b"x-forwarded-server", b"x-forwarded", b"forwarded-for", b"forwarded", b"x-original-forwarded-for"),
    *(b"x-forwarded-by", b"x-forwarded-client-ip", b"x-forwarded-for-ip", b"forwarded-for-ip", b"forwarded-proto"),
    *(b"x-real-ip", b"x-real-port", b"x-client-ip", b"x-client-port", b"client-ip", b"x-cluster-client-ip"),
    *(b"real-ip", b"http-client-ip", b"x-clientip", b"x-true-client-ip", b"x-connecting-ip", b"x-source-ip"),
    *(b"x-remote-ip", b"x-remote-addr", b"remote-addr", b"x-originating-ip", b"x-proxyuser-ip"),
    *(b"x-remote-host", b"remote-host", b"x-remote-port", b"remote-port", b"x-originating-host", b"x-peer-ip"),
    *(b"true-client-ip", b"true-client-port", b"cf-connecting-ip", b"cf-connecting-ipv6", b"cf-pseudo-ipv4"),
    *(b"cf-visitor", b"cf-ipcountry", b"cf-ipcity", b"cf-ipcontinent", b"cf-iplongitude", b"cf-iplatitude"),
    *(b"cf-region", b"cf-region-code", b"cf-metro-code", b"cf-postal-code", b"cf-timezone", b"cf-worker"),
    *(b"cf-ipregion", b"cf-connecting-port", b"cf-ew-via"),
    *(b"fastly-client-ip", b"fastly-ssl", b"fly-client-ip", b"fly-forwarded-proto", b"do-connecting-ip"),
    *(b"fly-forwarded-port", b"fly-forwarded-ssl", b"fly-region", b"fastly-client-port", b"x-sucuri-clientip"),
    *(b"x-appengine-user-ip", b"x-azure-clientip", b"x-azure-socketip", b"x-nf-client-connection-ip"),
    *(b"x-appengine-country", b"x-appengine-region", b"x-appengine-city", b"x-appengine-citylatlong", b"x-nf-geo"),
    *(b"x-vercel-forwarded-for", b"x-vercel-proxied-for", b"x-envoy-external-address", b"incap-client-ip"),
    *(b"x-vercel-ip-country", b"x-vercel-ip-country-region", b"x-vercel-ip-city", b"x-vercel-ip-continent"),
    *(b"x-vercel-ip-latitude", b"x-vercel-ip-longitude", b"x-vercel-ip-timezone", b"x-vercel-ip-postal-code"),
    *(b"cloudfront-viewer-address", b"cloudfront-viewer-country", b"cloudfront-forwarded-proto"),
    *(b"cloudfront-viewer-city", b"cloudfront-viewer-country-region", b"cloudfront-viewer-time-zone"),
    *(b"cloudfront-viewer-latitude", b"cloudfront-viewer-longitude", b"cloudfront-viewer-postal-code"),
    *(b"proxy-client-ip", b"wl-proxy-client-ip", b"ali-cdn-real-ip", b"cdn-src-ip", b"x-cdn-src-ip"),
    *(b"x-scheme", b"x-url-scheme", b"front-end-https", b"x-arr-ssl", b"x-original-host", b"x-host"),
    *(b"x-real-host", b"x-original-proto", b"x-original-remote-addr", b"x-bluecoat-via", b"x-gateway-host"),
    *(b"x-forwarded-prefix", b"x-forwarded-path", b"x-forwarded-uri", b"x-original-url", b"x-rewrite-url"),
    *(b"x-original-uri", b"x-forwarded-method", b"x-forwarded-request-uri"),
)


def _spelled(names: Iterable[bytes]) -> Iterator[bytes]:
    """With an underscore in the place of any hyphen, too: what reads headers as variables takes both for one name."""
    for name in names:
        for joints in product(b"-_", repeat=name.count(b"-")):
            parts = name.split(b"-")
            yield parts[0] + b"".join(b"%c%b" % pair for pair in zip(joints, parts[1:], strict=True))


CLAIMS = frozenset(_spelled(_CLAIMS))
# Some proxies name that of a WebSocket.
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
# What stands left of so many addresses is the client's own, who may write thousands of trusted ones there.
_HOPS_MAX = 32
_WITH_PORT = re.compile(r"(?:\[([^\]]+)\]|([0-9.]+))(?::[0-9]{1,5})?")


class Caller(Struct, frozen=True, kw_only=True):
    """`address` is None where there is none, as on a unix socket. `told` are the headers that a function gets of it.

    `host` is what a proxy says that the client called; None where none says it.
    """

    address: str | None
    scheme: str
    told: Headers
    host: bytes | None = None


class Proxies:
    """The proxies of these networks may say for whom they ask."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks: list[Network] = [ipaddress.ip_network(network) for network in networks]

    def trusts(self, address: str | None) -> bool:
        if address is None or not self._networks:
            return False
        parsed = ipaddress.ip_address(address)
        return any(parsed.version == network.version and parsed in network for network in self._networks)

    def caller(self, proxy: str, claims: Headers, scheme: str) -> Caller:
        """The client of a request that came from a trusted proxy. Raises RequestError for a host that is none."""
        hops = _words(claims, _FOR)
        client, place = proxy, len(hops)
        # From the right: each proxy added whom it was asked by, and what stands left of a stranger is the stranger's.
        for index in reversed(range(max(len(hops) - _HOPS_MAX, 0), len(hops))):
            if (address := plain_address(hops[index])) is None:
                break
            client, place = address, index
            if not self.trusts(address):
                break
        scheme = _SCHEMES.get(_of_hop(_words(claims, _PROTO), place, len(hops)).lower(), scheme)
        host = _of_hop(_words(claims, _HOST), place, len(hops)).encode("latin-1")
        if host and not is_host(host):
            raise RequestError("X-Forwarded-Host is no host")
        told = [*told_of(client), (_PROTO, scheme.encode()), *([(_HOST, host)] if host else [])]
        return Caller(address=client, scheme=scheme, told=told, host=host or None)


def _of_hop(words: Sequence[str], place: int, hops: int) -> str:
    """A list as long as that of the addresses has one for each hop; else the nearest proxy's counts."""
    return words[place] if len(words) == hops and place < hops else (words or [""])[-1]


def told_of(address: str | None) -> Headers:
    """What functions are told of a client's address."""
    if address is None:
        return []
    return [(name, address.encode()) for name in (b"cf-connecting-ip", b"x-real-ip", _FOR)]


def plain_address(text: str) -> str | None:
    """An address in its usual spelling, without a port; IPv4 written as IPv6 is IPv4. None for what is no address."""
    found = _WITH_PORT.fullmatch(text)
    try:
        parsed = ipaddress.ip_address((found[1] or found[2]) if found else text)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.IPv6Address(parsed.packed))
    return str(parsed)


def _words(claims: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    """The parts of a list that may stand in several headers."""
    text = ",".join(value.decode("latin-1") for name, value in claims if name == wanted)
    return [word.strip() for word in text.split(",") if word.strip()]


def address_of(transport: asyncio.BaseTransport, side: str) -> tuple[str, int] | None:
    """Address and port of an end of the connection; None on a unix socket."""
    name = transport.get_extra_info(side)
    return (str(name[0]).partition("%")[0], int(name[1])) if isinstance(name, tuple | list) else None
