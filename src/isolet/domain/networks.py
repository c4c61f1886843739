"""Which addresses are the world's, which lead back inside. The egress process holds connections to the same rules."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Refused even when the operator opened the network around them: they hand out a machine's credentials.
# Azure's is a public address, which leads from its machines to their host.
METADATA = (
    *("169.254.169.254/32", "169.254.170.2/32", "169.254.170.23/32", "169.254.42.42/32", "169.254.0.23/32"),
    *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
    *("fd00:ec2::254/128", "fd00:ec2::23/128", "fd20:ce::254/128", "fd00:42::42/128"),
)
# What Python's own tables count as global, and what holds an IPv4 address inside.
_INSIDE = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "2002::/16", "2001::/32", "198.18.0.0/15")))
_UNICAST_V6 = ipaddress.ip_network("2000::/3")
_METADATA = tuple(map(ipaddress.ip_network, METADATA))


def is_metadata(address: Address) -> bool:
    return any(address in network for network in _METADATA)


def is_public(address: Address) -> bool:
    """Whether anybody's function may reach it."""
    inside = any(address in network for network in _INSIDE)
    if address.version == 6 and address not in _UNICAST_V6:
        return False
    return address.is_global and not address.is_multicast and not inside


def is_below(network: Network, other: Network) -> bool:
    """Whether all of a network lies in another."""
    if isinstance(network, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return network.subnet_of(other)
    if isinstance(network, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return network.subnet_of(other)
    return False
