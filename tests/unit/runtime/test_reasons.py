"""Which addresses count as refused when a failed connection is explained."""

from __future__ import annotations

import ipaddress

import pytest

from isolet.runtime.egress import denied_networks
from isolet.runtime.reasons import is_refused


def _refused(address: str, *allowed: str) -> bool:
    return is_refused(
        ipaddress.ip_address(address),
        [ipaddress.ip_network(network) for network in allowed],
        [ipaddress.ip_network(network) for network in denied_networks(allowed)],
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:10.0.0.1", "64:ff9b::1", "224.0.0.1", "168.63.129.16"])
def test_addresses_that_lead_inside_are_refused(address: str) -> None:
    assert _refused(address)


@pytest.mark.parametrize("first", [*range(1, 0x20), *range(0x40, 0x100)])
def test_only_addresses_that_are_given_out_are_public(first: int) -> None:
    """Networks of their own use others, as meshes do, and routers for what they make of IPv4."""
    for rest in ("00::1", "0f::ffff", "ff:ffff::1:2"):
        assert _refused(f"{first:x}{rest}")


def test_an_allowed_address_opens_none_beside_it_that_is_the_machines_own() -> None:
    own = [ipaddress.ip_network("93.184.216.0/24"), ipaddress.ip_network("2600:1f18::5/128")]
    kept = {"93.184.216.0/24", "2600:1f18::5/128"}
    assert kept <= set(denied_networks(["93.184.216.34/32"], own=own))
    assert kept - set(denied_networks(["93.184.0.0/16"], own=own)) == {"93.184.216.0/24"}


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1", "::ffff:1.1.1.1"])
def test_public_addresses_are_not_refused(address: str) -> None:
    assert not _refused(address)


def test_an_allowed_network_opens_its_addresses_alone() -> None:
    assert not _refused("10.1.2.3", "10.0.0.0/8")
    assert _refused("192.168.0.1", "10.0.0.0/8")
    assert not _refused("198.18.0.1", "198.18.0.0/24")
    assert _refused("198.19.0.1", "198.18.0.0/24")
    assert _refused("64:ff9b::a00:1", "64:ff9b::a01:203/128")


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "fd20:ce::254", "192.0.0.192"]
)
def test_a_metadata_service_is_opened_by_its_own_address_only(address: str) -> None:
    assert _refused(address, "169.254.0.0/16", "fd00::/8", "100.64.0.0/10", "0.0.0.0/0", "::/0")
    assert not _refused(address, address)
