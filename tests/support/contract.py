"""Every operation of the contract, as the resources of a client have them."""

from __future__ import annotations

from typing import cast

from isolet.client.resources import Resources
from isolet.contract.operations import AnyOperation, Caller, Resource, Sync


def resources() -> dict[str, Resource[Sync]]:
    """By the name that a client gives them. Nothing can be called."""
    members = vars(Resources[Sync](cast(Caller, None))).items()
    return {name: member for name, member in members if isinstance(member, Resource)}


def operations() -> dict[str, AnyOperation]:
    """By `resource.method`."""
    return {
        f"{resource}.{name}": operation
        for resource, found in resources().items()
        for name, operation in found.operations().items()
    }
